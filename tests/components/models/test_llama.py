"""Llama's published sizes, and the sizes that ship with Headwater."""

import pytest

from components.models import family


def test_8b_has_the_published_number_of_parameters():
    """Llama 3.1 8B: 8,030,261,248, computed from the published configuration."""
    assert family("llama").parameters("8b") == 8_030_261_248


@pytest.mark.parametrize(("size", "about"), [("debug", 0.1e6), ("0.5m", 0.5e6), ("2m", 2.0e6)])
def test_small_sizes_are_what_their_names_say(size, about):
    assert family("llama").parameters(size, 2048) == pytest.approx(about, rel=0.1)


def test_queries_share_keys_and_values():
    attention = family("llama").build("debug").model.layers[0].self_attn
    assert attention.q_proj.out_features == 2 * attention.k_proj.out_features
