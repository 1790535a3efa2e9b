"""Published sizes to the digit: figures computed from the published configurations, independently of Headwater."""

import pytest
import torch

from components.models import family
from components.models.base import active_parameters

PUBLISHED = {
    ("llama", "1b"): 1_235_814_400,
    ("llama", "8b"): 8_030_261_248,
    ("llama", "70b"): 70_553_706_496,
    ("llama", "405b"): 405_853_388_800,
    ("mistral", "7b"): 7_248_023_552,
    ("mistral", "123b"): 122_610_069_504,
    ("qwen", "0.5b"): 494_032_768,
    ("qwen", "1.5b"): 1_543_714_304,
    ("qwen", "3b"): 3_085_938_688,
    ("qwen", "7b"): 7_615_616_512,
    ("qwen", "14b"): 14_770_033_664,
    ("qwen", "32b"): 32_763_876_352,
    ("qwen", "72b"): 72_706_203_648,
}


@pytest.mark.parametrize(("name", "size"), PUBLISHED)
def test_published_sizes_have_their_published_parameters(name, size):
    with torch.device("meta"):
        model = family(name).build(size)
    assert sum(p.numel() for p in model.parameters()) == active_parameters(model) == PUBLISHED[name, size]


def test_of_experts_only_those_that_work_on_a_token_are_active():
    """Mixtral 8x7B: 46.7B published; 12,879,925,248 active, computed from the published configuration."""
    from transformers import MixtralConfig, MixtralForCausalLM

    with torch.device("meta"):
        model = MixtralForCausalLM(MixtralConfig(vocab_size=32_000, num_local_experts=8, num_experts_per_tok=2))
    assert sum(p.numel() for p in model.parameters()) == 46_702_792_704
    assert active_parameters(model) == 12_879_925_248
