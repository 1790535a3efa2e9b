"""A few real steps on made-up samples, for what learns from text and for what learns from pictures."""

import pytest

from components.planning.timing import StepCost
from components.training.made_up import can_be_made_up
from components.training.probe import Probe, probe

PHASES = {
    "llama": {"objective": "causal_lm"},
    "clip": {"objective": "contrastive"},
    "classifier": {"objective": "classification", "init": "parts"},
    "reader": {"objective": "extraction", "init": "parts"},
    "llava": {"objective": "visual_sft", "init": "parts", "freeze": ("model.vision_tower",)},
    "sd3": {"objective": "rectified_flow", "freeze": ("text_encoder", "image_encoder", "vae"), "init": "parts"},
}


@pytest.mark.parametrize("name", PHASES)
def test_steps_are_tried_without_any_data(name, configure, tmp_path):
    config = configure(**PHASES[name], epochs=1, batch_size=4).model_copy(update={"family": name})
    assert can_be_made_up(config)
    what = Probe(config=config, context=32, vocab_size=300, image_size=32, seconds=0.2)
    cost = StepCost.model_validate(probe(what, tmp_path))
    assert cost.step_seconds > 0
    assert cost.peak_bytes > cost.process_bytes > 0
    assert list(tmp_path.iterdir()) == []
