"""Hyperparameters by rule: the papers' own values, what stays, and what is recorded."""

import pytest

from components.hyperparameters import Dials, advice, advised
from components.models import family
from components.planning.words import markdown
from components.recipe import Recipe, TrainPhase
from components.recipe.file import validated

PHASE = {"name": "pretrain", "tokens": 2_000_000}


def recipe(*phases, **changed):
    source = {"name": "novels", "path": "x", "licence": "CC0-1.0", "origin": "written here"}
    gate = {"rules": [{"metric": "bits_per_byte", "max": 3.0}]}
    return validated(
        {"name": "ruled", "size": "2m", "sources": [source], "train": list(phases), "gate": gate, **changed}, "test"
    )


def test_deepseeks_own_models_get_their_batch_and_rate():
    """DeepSeek LLM, table 2: 7B has 2304 sequences and 4.2e-4, 67B has 4608 and 3.2e-4, on 2T tokens of 4096 each."""
    for layers, width, batch, rate in ((30, 4096, 2304, 4.2e-4), (95, 8192, 4608, 3.2e-4)):
        dials = Dials(12 * layers * width**2, 12 * layers * width**2, layers * width, 2 * 10**12, 4096)
        found = advised(dials)
        assert found["batch_size"].value == pytest.approx(batch, rel=0.5)  # a power of two
        assert found["learning_rate"].value == pytest.approx(rate, rel=0.1)


def test_weight_decay_of_llama_2_is_what_its_paper_took():
    """Llama 2 7B: 2T tokens, batches of 4M, a rate of 3e-4 and a weight decay of 0.1 (Touvron et al. 2023)."""
    dials = Dials(6_500_000_000, 6_738_000_000, 32 * 4096, 2 * 10**12, 4096)
    decay = advised(dials, batch_size=1024, learning_rate=3e-4)["weight_decay"].value
    assert decay == pytest.approx(0.1, rel=0.4)


def test_the_dials_are_the_models_own():
    """The reference: the module's parameters, counted; norms are what the formula leaves out."""
    phase = {"tokens": 10**9, "batch_size": 8, "learning_rate": 1e-3}
    for name, size in (("llama", "2m"), ("llama", "8b"), ("qwen", "7b"), ("mistral", "7b")):
        shape = family(name).fields(size)["vocab_size"], 256
        counted = family(name).parameters(size)
        found = advice(phase, name, size, *shape)["weight_decay"].value
        ratio = 1.084 * (10**9 / counted) ** -0.527
        assert found == pytest.approx(8 * 256 / (1e-3 * 10**9 * min(1, ratio)), rel=0.01)


def test_what_a_phase_leaves_out_is_filled_in_and_recorded():
    (phase,) = recipe(PHASE).train
    found = advice(PHASE, "llama", "2m", 2048, 256)
    assert all(getattr(phase, name) == rule.value for name, rule in found.items())
    assert phase.batch_size != TrainPhase.model_fields["batch_size"].default
    again = Recipe.model_validate(recipe(PHASE).model_dump(mode="json"))
    assert again == recipe(PHASE)


def test_what_the_recipe_gives_stays():
    (phase,) = recipe({**PHASE, "learning_rate": 1e-4, "weight_decay": 0.0, "batch_size": 3, "schedule": "wsd"}).train
    assert (phase.learning_rate, phase.weight_decay, phase.batch_size, phase.schedule) == (1e-4, 0.0, 3, "wsd")


@pytest.mark.parametrize("changed", [{"tokens": None, "epochs": 2}, {"objective": "masked_lm"}])
def test_other_phases_have_the_defaults(changed):
    (phase,) = recipe({**PHASE, **changed}).train
    assert phase.batch_size == TrainPhase.model_fields["batch_size"].default
    assert phase.learning_rate == TrainPhase.model_fields["learning_rate"].default


def test_the_size_moves_them_and_the_plan_shows_them():
    from components.planning.budget import Data
    from components.planning.machine import Machine
    from components.planning.plan import plan

    small, large = recipe(PHASE), recipe(PHASE, size="60m")
    assert small.train[0].learning_rate > large.train[0].learning_rate
    machine = Machine(cores=2, memory_bytes=8 * 2**30, threads=1, flops=100e9)
    told = plan(recipe({**PHASE, "batch_size": 4}), machine, Data({"novels": 1_000_000}))
    shown = {h.name: h for h in told.phases[0].hyperparameters}
    assert (shown["batch_size"].value, shown["batch_size"].rule) == (4, small.train[0].batch_size)
    assert "DeepSeek LLM" in markdown(told)
