"""FLOPs of learning from pictures: published figures, and what is frozen."""

import pytest
import torch

from components.models import family
from components.recipe.file import read_recipe
from components.training.counted import counted_flops, sample_flops
from flows.recipes import shipped_recipes

PROFILED = {"vit-b-32": 14.78e9, "vit-l-14": 175.33e9}
"""FLOPs of embedding one picture and one text of 77 tokens: OpenCLIP's docs/model_profile.csv."""


@pytest.mark.parametrize("size", PROFILED)
def test_clip_takes_three_times_what_is_published_for_embedding(size):
    (phase,) = read_recipe(shipped_recipes()["clip"]).train
    with torch.device("meta"):
        model = family("clip").build(size)
    assert sum(sample_flops(model, phase, 224, 77)) == pytest.approx(3 * PROFILED[size], rel=0.01)


def test_networks_that_a_phase_freezes_or_leaves_alone_take_little():
    """By hand: a matrix of the transformer takes 6 operations for a weight and a place that it reads."""
    recipe = read_recipe(shipped_recipes()["sd3"])
    with torch.device("meta"):
        model = family("sd3").build(recipe.size, image_size=32, context=recipe.prepare.context)
    patches = (model.config.transformer["sample_size"] // model.config.transformer["patch_size"]) ** 2
    by_hand = 0
    for name, weight in model.transformer.named_parameters():
        once, of_text = "norm" in name or "time_text" in name, "context" in name or "add_" in name
        places = 1 if once else recipe.prepare.context if of_text else patches
        by_hand += 6 * weight.numel() * places if weight.ndim > 1 else 0
    found = counted_flops(recipe)
    assert by_hand < found["flow"].weights < 1.3 * by_hand
    assert 0 < found["autoencode"].weights < found["flow"].weights
