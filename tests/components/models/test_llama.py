"""Llama's small sizes, which ship with Headwater."""

import pytest

from components.models import family


@pytest.mark.parametrize(
    ("size", "about"), [("debug", 0.1e6), ("0.5m", 0.5e6), ("2m", 2.0e6), ("5m", 5e6), ("15m", 15e6), ("60m", 60e6)]
)
def test_small_sizes_are_what_their_names_say(size, about):
    assert family("llama").parameters(size) == pytest.approx(about, rel=0.1)


def test_15m_is_the_model_of_the_benchmarks():
    """Vocabulary 8,192, width 384, 6 layers, 6 and 2 heads, MLP 1,024, tied: 12.6M (docs/performance.md)."""
    assert family("llama").parameters("15m", 8192) == 12_587_904


def test_queries_share_keys_and_values():
    attention = family("llama").build("debug").model.layers[0].self_attn
    assert attention.q_proj.out_features == 2 * attention.k_proj.out_features
