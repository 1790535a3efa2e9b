"""The fast kernels of training: the same values and gradients as the plain ones, and no logits held whole."""

import copy
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModel, GemmaConfig, LlamaConfig, LlamaForCausalLM, Qwen3Config, T5Config

from components.errors import TrainingError
from components.training import flex, losses
from components.training.arithmetic import exact_arithmetic
from components.training.attention import causal_blocks, use_causal_blocks
from components.training.batch import IGNORED
from components.training.config import Job
from components.training.group import Group
from components.training.kernels import compile_layers
from components.training.linear import OneDnnLinear, linear, use_onednn
from components.training.loop import Loop
from components.training.losses import summed_cross_entropy
from components.training.norm import use_fused_norms

ISOLATED = torch.cat([torch.arange(150), torch.arange(50), torch.arange(100)]).expand(2, -1)
"""Positions of rows with three documents each, over more than two blocks."""


def llama(dtype=torch.float32, vocab_size=301):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        intermediate_size=96,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).to(dtype)


def batch():
    torch.manual_seed(1)
    ids = torch.randint(0, 301, (2, 300))
    labels = torch.randint(0, 301, (2, 300))
    labels[:, 100:140] = IGNORED
    return ids, labels


def gradients_of(model, loss):
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("positions", [None, ISOLATED], ids=["whole rows", "isolated documents"])
def test_loss_and_gradients_are_those_of_the_plain_model_in_float64(positions):
    ids, labels = batch()
    fast, plain = llama(), llama(torch.float64)
    use_onednn(fast)
    use_causal_blocks(fast)
    use_fused_norms(fast)
    inputs = {"input_ids": ids, "position_ids": positions, "use_cache": False}
    loss, correct, _ = summed_cross_entropy(fast, labels, **inputs)
    logits = plain(**inputs).logits
    expected = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert int(correct) == int((logits.argmax(-1) == labels).sum())
    found, reference = gradients_of(fast, loss), gradients_of(plain, expected)
    for name, gradient in found.items():
        assert (gradient - reference[name]).norm() <= 2e-6 * reference[name].norm(), name
    assert fast(**inputs).logits.shape == (2, 300, 301)


@pytest.mark.parametrize("whole", [False, True], ids=["in chunks", "whole logits"])
def test_z_loss_is_in_the_gradient_and_not_in_the_value(whole):
    """Against the formula of Chowdhery et al. 2022 in float64."""
    ids, labels = batch()
    model, plain = llama(), llama(torch.float64)
    if whole:
        model.config.logit_scale = 1.0  # as of a model that changes its logits further: they are not taken in chunks
    loss, _, _ = summed_cross_entropy(model, labels, z_loss=0.1, input_ids=ids, use_cache=False)
    logits = plain(input_ids=ids, use_cache=False).logits
    expected = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    squares = logits.logsumexp(-1).square()[labels != IGNORED].sum()
    found, reference = gradients_of(model, loss), gradients_of(plain, expected + 0.1 * squares)
    for name, gradient in found.items():
        assert (gradient - reference[name]).norm() <= 4e-6 * reference[name].norm(), name


def test_in_bf16_the_loss_is_summed_in_fp32():
    ids, labels = batch()
    model = llama()
    with torch.autocast("cpu", torch.bfloat16):
        loss, correct, _ = summed_cross_entropy(model, labels, input_ids=ids, use_cache=False)
        logits = model(input_ids=ids, use_cache=False).logits
    expected = cross_entropy(logits.double().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    first = torch.tensor(logits.detach().float().numpy().argmax(-1))  # of equal logits, which bf16 often has, the first
    assert int(correct) == int((first == labels).sum())


@pytest.mark.parametrize("config", [LlamaConfig, Qwen3Config, T5Config, GemmaConfig])
def test_norms_give_what_the_architecture_says(config):
    """Gemma's, which add 1 to their weight, are left alone."""
    small = {"num_hidden_layers": 1, "num_layers": 1, "d_kv": 12, "head_dim": 12, "num_attention_heads": 4}
    torch.manual_seed(0)
    plain = AutoModel.from_config(
        config(vocab_size=50, hidden_size=48, intermediate_size=96, num_key_value_heads=2, **small)
    ).eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    fast = copy.deepcopy(plain)
    use_fused_norms(fast)
    changed = [module for module in fast.modules() if "_fused" in type(module).forward.__qualname__]
    assert bool(changed) == (config is not GemmaConfig)
    ids = torch.arange(40).view(2, 20)
    found, expected = (
        model(input_ids=ids, **({"decoder_input_ids": ids} if config is T5Config else {})).last_hidden_state
        for model in (fast, plain)
    )
    found, expected = gradients_of(fast, found.square().sum()), gradients_of(plain, expected.square().sum())
    for name, gradient in expected.items():
        assert (gradient is None) == (found[name] is None), name
        assert gradient is None or (gradient - found[name]).norm() <= 1e-5 * gradient.norm() + 1e-6, name


def test_documents_in_a_row_are_as_alone():
    ids, _ = batch()
    model = llama()
    use_causal_blocks(model)
    together = model(input_ids=ids, position_ids=ISOLATED, use_cache=False).logits[:, 150:200]
    alone = llama()(input_ids=ids[:, 150:200], use_cache=False).logits
    assert (together - alone).abs().max() < 1e-5


def test_in_bf16_alike_keys_give_queries_their_gradient():
    """Keys with much in common, as at the start of training: what rounding adds to each weight is not to add up."""
    torch.manual_seed(0)
    common = 4 * torch.randn(1, 2, 1, 64)
    q, k, v = torch.randn(2, 6, 256, 64), common + 0.2 * torch.randn(2, 2, 256, 64), torch.randn(2, 2, 256, 64)
    wanted = torch.randn(2, 256, 6, 64)

    def gradient(dtype):
        queries = (q / 16).to(dtype).requires_grad_()
        decoder = torch.nn.Module()
        found, _ = causal_blocks(decoder, queries, k.to(dtype), v.to(dtype), None)
        (found * wanted.to(dtype)).sum().backward()
        return queries.grad.double()

    exact = gradient(torch.float64)
    assert (gradient(torch.bfloat16) - exact).norm() < 0.1 * exact.norm()


def test_what_is_not_causal_is_left_to_torch():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 9, 8) for _ in range(3))
    encoder = torch.nn.Module()
    encoder.is_causal = False
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    assert torch.allclose(causal_blocks(encoder, q, k, v, None)[0], expected, atol=1e-6)
    ahead = torch.ones(2, 1, 9, 9, dtype=torch.bool)
    decoder = torch.nn.Module()
    assert torch.allclose(causal_blocks(decoder, q, k, v, ahead)[0], expected, atol=1e-6)


def test_layers_keep_their_names_and_can_be_frozen():
    model = llama()
    names = list(model.state_dict())
    use_onednn(model)
    assert list(model.state_dict()) == names
    assert isinstance(model.model.layers[0].mlp.up_proj, OneDnnLinear)
    x, weight = torch.randn(5, 7, requires_grad=True), torch.randn(3, 7)
    bias = torch.randn(3, requires_grad=True)
    linear(x, weight, bias).square().sum().backward()
    expected = torch.nn.functional.linear(x.detach(), weight, bias.detach())
    assert torch.allclose(x.grad, 2 * expected @ weight, rtol=1e-5, atol=1e-5)
    assert torch.allclose(bias.grad, 2 * expected.sum(0), rtol=1e-5)


@pytest.mark.slow
def test_compiled_layers_give_the_same(configure, samples, tmp_path):
    """Weights after some steps, up to rounding, under the same names; and again the same bits."""
    ends = []
    for number, compiled in enumerate((False, True, True)):
        config = configure(tokens=8 * 64 * 4, compile=compiled)
        with exact_arithmetic(1):
            loop = Loop(Job(config, samples, None, tmp_path / str(number)), Group(0, 1))
            loop.run()
        ends.append({name: parameter.detach().clone() for name, parameter in loop.model.named_parameters()})
    eager, compiled, again = ends
    for name, weight in eager.items():
        assert torch.allclose(weight, compiled[name], atol=1e-5), name
        assert torch.equal(compiled[name], again[name]), name


def test_compilation_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(TrainingError, match="no-such-compiler"):
        compile_layers(llama())


MEMORY = """
import sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
from components.training.losses import summed_cross_entropy
from components.training.peak import peak_memory
config = LlamaConfig(vocab_size=49152, hidden_size=64, num_hidden_layers=1, num_attention_heads=2,
                     intermediate_size=128, tie_word_embeddings=True)
model, ids = LlamaForCausalLM(config), torch.randint(0, 49152, (2, 2048))
before = peak_memory()
if sys.argv[1] == "ours":
    loss = summed_cross_entropy(model, ids, input_ids=ids, use_cache=False)[0]
else:
    loss = model(input_ids=ids, labels=ids, shift_labels=ids, use_cache=False).loss
loss.backward()
print(peak_memory() - before)
"""


def test_logits_are_never_held_whole():
    """Two rows of 2,048 over 49,152 tokens are 800 MB of logits; transformers' own loss holds them more than once."""
    ours, plain = (
        int(subprocess.run([sys.executable, "-c", MEMORY, way], capture_output=True, text=True, check=True).stdout)
        for way in ("ours", "plain")
    )
    assert plain > 800e6
    assert ours < plain / 2
    assert ours < 400e6


@pytest.mark.parametrize("positions", [None, ISOLATED], ids=["whole rows", "isolated documents"])
@pytest.mark.parametrize("heads", [4, 6], ids=["a power of two", "another number of heads"])
def test_attention_of_compiled_layers_on_a_gpu_is_that_of_the_architecture(heads, positions, monkeypatch):
    """Its functions, on a CPU and in fp32: what a GPU computes of them is in test_gpu.py."""
    half = {"is_autocast_enabled": lambda kind: True, "get_autocast_dtype": lambda kind: torch.float32}
    monkeypatch.setattr(flex, "torch", SimpleNamespace(**half, device=torch.device))
    config = {"hidden_size": 16 * heads, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": heads}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=301, num_key_value_heads=2, **config))
    ids, _ = batch()
    inputs = {"input_ids": ids, "position_ids": positions, "use_cache": False}
    with torch.no_grad():
        expected = model(**inputs).logits
        flex.use_flex_attention(model)
        found = model(**inputs).logits
    assert model.config._attn_implementation == flex.NAME
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
def test_the_loss_by_a_gpus_operators_is_that_by_a_cpus(z_loss):
    torch.manual_seed(0)
    logits, wanted = torch.randn(50, 301), torch.randint(0, 301, (50, 1))
    here, there = logits.clone(), logits.clone()
    (loss, correct), (found, right) = losses._take(here, wanted, z_loss), losses._take_on_gpu(there, wanted, z_loss)
    assert found.item() == pytest.approx(loss.item(), rel=1e-6)
    assert int(right) == int(correct)
    assert torch.allclose(there, here, atol=1e-6)
    assert not torch.allclose(there, logits)
