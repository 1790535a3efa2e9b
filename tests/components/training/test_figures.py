"""What is shown while a phase runs."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.digests import folder_content
from components.flops import causal_attention_flops, decoder_token_flops, product_rate
from components.training.loader import Loader
from components.training.model import fresh_model, frozen
from flows.notes import noted


def test_a_line_has_every_figure(configure, samples, run_train):
    _, facts, reports = run_train(configure(), samples)
    last = reports[-1]
    described = samples.json("samples.json")
    assert last["bits_per_byte"] == pytest.approx(
        last["loss"] / math.log(2) * described["num_tokens"] / described["num_bytes"]
    )
    assert 0 < last["flops_utilisation"] < 1.5  # a busy machine may give less to the product than to the training
    assert 0 < last["input_wait"] < 1
    assert last["memory_bytes"] > 50e6
    assert last["tokens_per_second"] == pytest.approx(facts["tokens_per_second"], rel=0.2)
    assert {"loss", "learning_rate", "grad_norm", "tokens"} <= last.keys()
    assert f"{last['bits_per_byte']:.3f} bits/byte" in noted(last)


def test_a_compiled_phase_says_what_compiling_took(configure, samples, run_train):
    _, facts, reports = run_train(configure(tokens=5_000, compile=True), samples)
    assert 0.1 < facts["warm_up_seconds"] < facts["seconds"]
    assert f"{facts['warm_up_seconds']:.0f} s to compile" in noted(reports[-1])
    _, facts, reports = run_train(configure(tokens=5_000), samples, name="eager")
    assert "warm_up_seconds" not in {**facts, **reports[-1]}


@pytest.mark.parametrize("tied", [True, False])
def test_flops_of_a_token_are_those_of_the_products(configure, samples, tied):
    """Against torch's own count, which takes attention without its mask, and norms and embeddings for no work."""
    model, loader = fresh_model(configure(), samples), Loader(samples, batch_size=4, seed=0)
    if not tied:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.set_attn_implementation("eager")  # torch does not count inside of the fused one
    batch = loader.batch(0)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=batch.input_ids, use_cache=False).logits.sum().backward()
    config = model.config
    width = config.num_attention_heads * config.head_dim
    attention = causal_attention_flops(config.num_hidden_layers, width, loader.context, 1)
    ours = decoder_token_flops(model, loader.context) + attention
    assert ours == pytest.approx(counter.get_total_flops() / batch.num_tokens, rel=0.02)


def test_frozen_experts_take_no_more_than_a_token_is_sent_to(configure, samples):
    model = fresh_model(configure().model_copy(update={"family": "mixtral"}), samples)
    before = decoder_token_flops(model, 64)
    experts = frozen(model, ["model.layers.0.mlp.experts"]).model.layers[0].mlp.experts
    chosen = model.config.num_experts_per_tok / model.config.num_local_experts
    saved = 2 * chosen * sum(weight.numel() for weight in experts.parameters())
    assert before - decoder_token_flops(model, 64) == saved


def test_the_peak_is_a_rate():
    assert 1e9 < product_rate(0.05) < 1e14


def test_texts_are_shown_and_change_nothing(configure, samples, run_train, tmp_path):
    """The last one is what plain transformers writes with the exported model."""
    plain, *_ = run_train(configure(tokens=10_000), samples, name="plain")
    out, facts, reports = run_train(configure(tokens=10_000, text_steps=10), samples)
    assert folder_content(out, "export") == folder_content(plain, "export")
    texts = [report for report in reports if "text" in report]
    assert [report["after"] for report in texts] == [10, 20]
    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModelForCausalLM.from_pretrained(out)
    prompt = Loader(samples, batch_size=8, seed=0).samples([0]).input_ids[:, :8]
    written = model.generate(prompt, do_sample=False, max_new_tokens=32, eos_token_id=None)
    assert texts[-1]["text"] == tokenizer.decode(written[0], skip_special_tokens=True)
    page = (tmp_path / "run" / "report.html").read_text()
    assert facts["report"] == str(tmp_path / "run" / "report.html")
    assert page.count("<svg") == 5
    assert "After step 20" in page
    with pytest.raises(ValueError, match="text_steps is for the objective causal_lm"):
        configure(objective="sft", text_steps=10)
