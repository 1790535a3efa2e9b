"""Plans: published figures, sums over phases, and estimates near to what the loop takes."""

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from components.errors import UnknownName
from components.flops import training_flops
from components.models import family
from components.planning.accelerators import ThisMachine, accelerators
from components.planning.architecture import shapes
from components.planning.budget import Data
from components.planning.compute import attention_flops, bytes_per_token
from components.planning.machine import Machine, measure
from components.planning.memory import activations
from components.planning.phases import CONNECTED_BYTES
from components.planning.plan import plan
from components.planning.timing import SERVICES_CORES, START_SECONDS, StepCost
from components.recipe.file import read_recipe, validated
from components.training.model import frozen
from flows.recipes import shipped_recipes

MACHINE = Machine(cores=2, memory_bytes=8 * 2**30, threads=1, flops=100e9)
SHARING = MACHINE.cores / (MACHINE.cores - SERVICES_CORES)
"""How much longer a step takes in a run that needs both cores."""
SOURCES = Data({"novels": 1_000_000, "pairs": 50_000}, {"pairs": (500,) * 100})


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


def test_plan_of_8b_has_the_published_parameters():
    recipe = make_recipe(PRETRAIN, size="8b", prepare={"vocab_size": 128_256, "context": 8192})
    planned = plan(recipe, MACHINE, SOURCES)
    assert planned.parameters == planned.active_parameters == 8_030_261_248
    assert planned.memory_bytes > 2 * 16 * planned.parameters
    assert not planned.fits
    assert "accelerators" in planned.phases[0].change


def test_more_workers_than_cores_do_not_fit():
    planned = plan(make_recipe({**PRETRAIN, "num_workers": 3}), MACHINE, SOURCES)
    assert not planned.fits
    assert planned.phases[0].change == "3 workers of one core each, and there are 2: take num_workers = 2"


def test_plan_sums_its_phases():
    table = accelerators().model_copy(update={"machine": ThisMachine(price_per_hour=2.0), "currency": "EUR"})
    planned = plan(make_recipe(PRETRAIN, FINETUNE), MACHINE, SOURCES, table=table)
    first, second = planned.phases
    assert first.tokens == math.ceil(500_000 / 4096) * 4096
    assert second.steps == math.ceil(2 * 100 / second.batch_size)
    assert planned.tokens == first.tokens + second.tokens
    assert planned.flops == 6 * planned.parameters * planned.tokens
    assert planned.seconds == first.seconds + second.seconds
    assert first.seconds > START_SECONDS
    assert planned.money.amount == pytest.approx(planned.seconds / 1800, abs=1e-4)
    assert planned.money.currency == "EUR"
    assert planned.accelerators[0].money == pytest.approx(sum(p.accelerators[0].money for p in planned.phases))
    assert any("bytes per token" in line for line in planned.assumptions)


COST = StepCost(
    step_seconds=0.5,
    first_seconds=2.0,
    checkpoint_seconds=1.0,
    process_bytes=300_000_000,
    peak_bytes=900_000_000,
    growth_bytes=1e7,
    steps=8,
)


def test_real_steps_take_the_place_of_formulas():
    phase = {**PRETRAIN, "checkpoint_seconds": 10.0}
    (planned,) = plan(make_recipe(phase), MACHINE, SOURCES, measured={"pretrain": COST}).phases
    stepping = 2.0 + 0.5 * SHARING * planned.steps
    assert planned.loop_seconds == pytest.approx(stepping + stepping // 10)
    (alone,) = plan(make_recipe({**phase, "num_workers": 1}), MACHINE, SOURCES, measured={"pretrain": COST}).phases
    stepping = 2.0 + 0.5 * alone.steps
    assert alone.loop_seconds == pytest.approx(stepping + stepping // 10)
    grown = 900_000_000 + CONNECTED_BYTES + round(1e7 * math.log(planned.steps / 8))
    assert planned.memory.total == grown
    assert planned.memory.process == 300_000_000 + CONNECTED_BYTES
    assert planned.memory_bytes == 2 * grown
    assert planned.measured


def test_a_phase_that_was_not_tried_goes_as_one_that_was():
    """Twice as slow a step of pretraining makes fine-tuning twice as long."""
    formal = plan(make_recipe(PRETRAIN, FINETUNE), MACHINE, SOURCES)
    ends = []
    for seconds in (0.5, 1.0):
        cost = COST.model_copy(update={"step_seconds": seconds})
        made = plan(make_recipe(PRETRAIN, FINETUNE), MACHINE, SOURCES, measured={"pretrain": cost})
        assert [phase.measured for phase in made.phases] == [True, False]
        assert any("as pretrain" in line for line in made.assumptions)
        ends.append(made.phases[1].loop_seconds)
    assert ends[1] == pytest.approx(2 * ends[0])
    by_formula = formal.phases[0].loop_seconds / formal.phases[0].steps / SHARING
    assert ends[0] == pytest.approx(formal.phases[1].loop_seconds * 0.5 / by_formula)


def test_the_tokens_of_a_prepared_corpus_count():
    planned = plan(
        make_recipe({**PRETRAIN, "tokens": None, "epochs": 3}), MACHINE, SOURCES._replace(corpus_tokens=100_000)
    )
    assert planned.tokens == math.ceil(300_000 / 4096) * 4096


def test_workers_beyond_the_cores_do_not_make_it_faster():
    two, four = (plan(make_recipe({**PRETRAIN, "num_workers": n}), MACHINE, SOURCES) for n in (2, 4))
    one = plan(make_recipe({**PRETRAIN, "num_workers": 1}), MACHINE, SOURCES)
    assert two.seconds == four.seconds
    assert one.phases[0].loop_seconds == pytest.approx(2 * two.phases[0].loop_seconds / SHARING)


def test_chats_are_counted_as_samples():
    """A hundred of about 500 bytes, none of which is cut, and as many tokens as their text has."""
    planned = plan(make_recipe(PRETRAIN, {**FINETUNE, "batch_size": 8}), MACHINE, SOURCES)
    assert planned.phases[1].steps == 25
    wide = make_recipe(PRETRAIN, {**FINETUNE, "batch_size": 8}, prepare={"context": 1024})
    assert plan(wide, MACHINE, SOURCES).phases[1].tokens == pytest.approx(200 * 500 / bytes_per_token(2048), rel=0.05)


def test_of_documents_with_labels_only_the_beginning_counts():
    recipe = read_recipe(shipped_recipes()["spam"])
    epochs, batch = recipe.train[0].epochs, recipe.train[0].batch_size
    mails = Data({"ham": 2_000_000, "spam": 2_000_000}, source_files={"ham": 500, "spam": 500})
    (before,) = plan(recipe, MACHINE, mails).phases
    assert before.steps == math.ceil(epochs * 1000 * (1 - recipe.curate.held_out) / batch)
    assert before.tokens == before.steps * batch * recipe.prepare.context, "a mail is longer than what is read of it"
    (phase,) = plan(recipe, MACHINE, Data({}, corpus_tokens=90_000, corpus_documents=1000)).phases
    assert phase.steps == math.ceil(epochs * 1000 / batch)
    assert phase.tokens == phase.steps * batch * 90


def test_pictures_to_draw_are_learnt_once_more_without_words():
    recipe = read_recipe(shipped_recipes()["sd3"])
    kept = 4000 * (1 - recipe.images.held_out) * (1 - recipe.images.held_out_styles / 2)
    for planned, phase in zip(plan(recipe, MACHINE, Data({}, num_images=4000)).phases, recipe.train, strict=True):
        assert planned.steps == math.ceil(phase.epochs * kept * 1.1 / phase.batch_size)


def test_attention_flops_are_half_of_those_of_all_scores():
    """The reference: torch's own counter over a forward pass in eager attention, times 3 for the backward."""
    from torch.utils.flop_counter import FlopCounterMode

    model = LlamaForCausalLM(LlamaConfig(**family("llama").fields("debug"), attn_implementation="eager"))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.zeros(1, 64, dtype=torch.long))
    weights = training_flops(sum(p.numel() for p in model.parameters() if p.ndim == 2), 64)
    expected = weights + 2 * attention_flops(shapes(model), 64, 64)
    assert 3 * counter.get_total_flops() == pytest.approx(expected, rel=0.01)


def test_activations_are_near_what_autograd_keeps():
    """The reference: the storages that autograd saves for a batch (its buffers during backward come on top)."""
    kept = {}

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
    assert 0.6 < saved / activations(shapes(model), 512, False, False, 512) < 1.2


def test_an_adapter_has_the_parameters_that_peft_gives_it():
    from peft import LoraConfig, get_peft_model

    model = family("qwen").build("debug")
    counted = shapes(model).adapter_parameters(8)
    adapted = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert counted == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def test_what_a_phase_freezes_is_not_trained():
    """The reference: the gradients that are asked for of the model itself."""
    recipe = read_recipe(shipped_recipes()["llava"])
    planned = plan(recipe, MACHINE, Data({}, num_images=4000)).phases
    for phase, found in zip(recipe.train, planned, strict=True):
        model = frozen(family("llava").on_meta(recipe.size, recipe.prepare.vocab_size), phase.freeze)
        learns = sum(p.numel() for p in model.parameters() if p.requires_grad)
        still = sum(p.numel() for p in model.parameters()) - learns
        assert 0 < found.trained_parameters == learns
        assert found.flops == (6 * learns + 4 * still) * found.tokens
        assert found.memory.optimizer == 8 * learns


def test_of_frozen_experts_those_count_that_work_on_a_token():
    """Two of eight do, and each of their weights takes 4 operations in place of 6."""
    phase = {**PRETRAIN, "freeze": ["model.layers.0.mlp.experts"]}
    (whole,) = plan(make_recipe(PRETRAIN, family="mixtral", size="debug"), MACHINE, SOURCES).phases
    (partly,) = plan(make_recipe(phase, family="mixtral", size="debug"), MACHINE, SOURCES).phases
    model = family("mixtral").on_meta("debug", 2048)
    experts = sum(p.numel() for p in model.model.layers[0].mlp.experts.parameters())
    assert partly.trained_parameters == whole.trained_parameters - experts
    chosen = model.config.num_experts_per_tok / model.config.num_local_experts
    assert whole.flops - partly.flops == 2 * chosen * experts * partly.tokens


def test_measured_machine_is_plausible():
    machine = measure()
    assert machine.cores >= 1
    assert machine.memory_bytes > 2**28
    assert 1e8 < machine.flops < 1e14


def test_unknown_size_is_named():
    with pytest.raises(UnknownName, match=r"'3m'.*Known: debug"):
        plan(make_recipe(PRETRAIN, size="3m"), MACHINE, SOURCES)
