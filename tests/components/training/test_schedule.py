"""Learning rates: warm-up, then each schedule's own shape."""

import math
from itertools import pairwise

import pytest

from components.recipe import TrainPhase
from components.training.schedule import learning_rate


def rates(total=1000, **fields):
    phase = TrainPhase(name="p", epochs=1, learning_rate=2.0, warmup=0.1, final_learning_rate=0.25, **fields)
    return [learning_rate(phase, step, total) for step in range(total)]


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
def test_warm_up_rises_to_the_peak_and_no_further(schedule):
    found = rates(schedule=schedule)
    assert found[0] == pytest.approx(2 / 101)
    assert all(a < b for a, b in pairwise(found[:100]))
    assert max(found) == found[100] == 2.0


def test_cosine_is_half_way_in_the_middle_and_ends_at_the_last_rate():
    found = rates()
    assert found[-1] == pytest.approx(0.5)
    assert found[100 + 450] == pytest.approx(0.5 + 1.5 * 0.5, abs=2e-3)


def test_wsd_is_stable_and_then_halves_in_equal_times():
    """MiniCPM's decay is 0.5^(steps / T): here from 1 to 1/4 in 200 steps, so T is 100."""
    found = rates(schedule="wsd", decay=0.2)
    assert set(found[100:800]) == {2.0}
    assert found[899] == pytest.approx(2 * 0.5)
    assert found[999] == pytest.approx(2 * 0.25)
    assert found[849] == pytest.approx(2 * math.sqrt(0.5))


def test_constant_is_the_peak_to_the_end():
    assert set(rates(schedule="constant")[100:]) == {2.0}


def test_a_phase_of_one_step_has_a_rate():
    for schedule in ("cosine", "wsd", "constant"):
        phase = TrainPhase(name="p", epochs=1, learning_rate=2.0, schedule=schedule)
        assert 0 < learning_rate(phase, 0, 1) <= 2.0


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"schedule": "wsd", "warmup": 0.6, "decay": 0.5}, "warmup 0.6 and decay 0.5 are more than all steps"),
        ({"schedule": "wsd", "final_learning_rate": 0.0}, "final_learning_rate must be above 0"),
        ({"batch_size": 8, "micro_batch_size": 9}, "micro_batch_size 9 is more than batch_size 8"),
        ({"isolate_documents": True, "objective": "sft"}, "isolate_documents is for the objective causal_lm, not"),
        ({"z_loss": 1e-4, "objective": "dpo"}, "z_loss is for the objective causal_lm or masked_lm or .*, not for dpo"),
        ({"z_loss": float("nan")}, "z_loss"),
        ({"pack_chats": True}, "pack_chats is for the objective sft, not for causal_lm"),
        ({"optimizer": "sgd"}, "Input should be 'adamw' or 'muon'"),
        ({"beta": 0}, "greater than 0"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(fields, says):
    with pytest.raises(ValueError, match=says):
        TrainPhase(name="p", epochs=1, **fields)
