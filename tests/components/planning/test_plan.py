"""Plans: published figures, sums over phases, and estimates near to what the loop takes."""

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from components.errors import UnknownName
from components.models import family
from components.planning.compute import activation_bytes, attention_flops, bytes_per_token, training_flops
from components.planning.machine import Machine, measure
from components.planning.plan import START_SECONDS, plan
from components.recipe_file import validated

MACHINE = Machine(cores=2, memory_bytes=8 * 2**30, threads=1, flops=100e9)
SOURCES = {"novels": 1_000_000, "pairs": 100_000}


def make_recipe(*phases, size="2m", **changed):
    source = {"path": "x", "licence": "CC0-1.0", "origin": "written here"}
    content = {
        "name": "planned",
        "size": size,
        "sources": [{"name": "novels", **source}, {"name": "pairs", "role": "instructions", **source}],
        "train": list(phases),
        "gate": {"rules": [{"metric": "bits_per_byte", "max": 3.0}]},
        **changed,
    }
    return validated(content, "test")


PRETRAIN = {"name": "pretrain", "tokens": 500_000, "batch_size": 16}
FINETUNE = {"name": "finetune", "epochs": 2, "data": "source:pairs", "num_workers": 0, "objective": "sft"}


def test_flops_of_llama_405b_are_the_published_ones():
    """405B parameters, 15.6T tokens: 3.8e25 (The Llama 3 Herd of Models, table 4)."""
    assert training_flops(405_853_388_800, 15.6e12) == pytest.approx(3.8e25, rel=0.03)


def test_plan_of_8b_has_the_published_parameters():
    recipe = make_recipe(PRETRAIN, size="8b", prepare={"vocab_size": 128_256, "context": 8192})
    planned = plan(recipe, MACHINE, SOURCES)
    assert planned.parameters == planned.active_parameters == 8_030_261_248
    assert planned.memory_bytes > 2 * 16 * planned.parameters


def test_plan_sums_its_phases():
    planned = plan(make_recipe(PRETRAIN, FINETUNE), MACHINE, SOURCES, price_per_hour=2.0, currency="EUR")
    first, second = planned.phases
    assert first.tokens == math.ceil(500_000 / 4096) * 4096
    assert second.tokens == pytest.approx(2 * 100_000 / bytes_per_token(2048), abs=4096)
    assert planned.tokens == first.tokens + second.tokens
    assert planned.flops == 6 * planned.parameters * planned.tokens
    assert planned.seconds == first.seconds + second.seconds
    assert first.seconds > START_SECONDS
    assert planned.money.amount == pytest.approx(planned.seconds / 1800, abs=1e-4)
    assert planned.money.currency == "EUR"
    assert any("bytes per token" in line for line in planned.assumptions)


def test_workers_beyond_the_cores_do_not_make_it_faster():
    two, four = (plan(make_recipe({**PRETRAIN, "num_workers": n}), MACHINE, SOURCES) for n in (2, 4))
    one = plan(make_recipe({**PRETRAIN, "num_workers": 1}), MACHINE, SOURCES)
    assert two.seconds == four.seconds
    assert two.seconds - START_SECONDS < one.seconds - START_SECONDS < 2 * (two.seconds - START_SECONDS)


def test_chats_are_counted_as_samples():
    planned = plan(make_recipe(PRETRAIN, {**FINETUNE, "batch_size": 8}), MACHINE, SOURCES, {"pairs": 100})
    assert planned.phases[1].steps == 25


def test_attention_flops_are_those_of_its_products():
    """The reference: torch's own counter over a forward pass in eager attention, times 3 for the backward."""
    from torch.utils.flop_counter import FlopCounterMode

    fields = family("llama").fields("debug")
    model = LlamaForCausalLM(LlamaConfig(**fields, attn_implementation="eager"))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.zeros(1, 64, dtype=torch.long))
    weights = training_flops(sum(p.numel() for p in model.parameters() if p.ndim == 2), 64)
    expected = weights + attention_flops(fields, 64, 64)
    assert 3 * counter.get_total_flops() == pytest.approx(expected, rel=0.01)


def test_activations_are_near_what_autograd_keeps():
    """The reference: the storages that autograd saves for a batch (its buffers during backward come on top)."""
    fields, kept = family("llama").fields("2m"), {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(0)
    model = family("llama").build("2m")
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    ids = torch.randint(0, 2048, (2, 256))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())
    assert loss.requires_grad
    saved = sum(size for place, size in kept.items() if place not in weights)
    assert 0.6 < saved / activation_bytes(fields, 2048, 512) < 1.2


def test_measured_machine_is_plausible():
    machine = measure()
    assert machine.cores >= 1
    assert machine.memory_bytes > 2**28
    assert 1e8 < machine.flops < 1e14


def test_unknown_size_is_named():
    with pytest.raises(UnknownName, match=r"'3m'.*Known: debug"):
        plan(make_recipe(PRETRAIN, size="3m"), MACHINE, SOURCES)
