"""Qwen2.5: Llama's blocks with biases on queries, keys and values (Yang et al. 2024, "Qwen2.5 Technical Report")."""

from typing import TYPE_CHECKING, Any

from components.models.base import ModelFamily, published, small

if TYPE_CHECKING:
    from torch import nn

_SMALL = {
    "vocab_size": 151_936,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": True,
    "rms_norm_eps": 1e-6,
    "bos_token_id": 151_643,
    "eos_token_id": 151_643,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
}
_LARGE = {**_SMALL, "vocab_size": 152_064, "max_position_embeddings": 131_072, "tie_word_embeddings": False}
_LARGE_NORM = {**_LARGE, "rms_norm_eps": 1e-5}

SIZES: dict[str, dict[str, Any]] = {
    "debug": small(hidden=32, layers=2, heads=2, kv_heads=1, mlp=96),
    "0.5b": published(896, 24, 14, 2, 4864, _SMALL),
    "1.5b": published(1536, 28, 12, 2, 8960, _SMALL, max_position_embeddings=131_072),
    "3b": published(2048, 36, 16, 2, 11_008, _SMALL),
    "7b": published(3584, 28, 28, 4, 18_944, _LARGE),
    "14b": published(5120, 48, 40, 8, 13_824, _LARGE_NORM),
    "32b": published(5120, 64, 40, 8, 27_648, _LARGE_NORM),
    "72b": published(8192, 80, 64, 8, 29_568, _LARGE_NORM),
}
"""Published: the base models of Qwen2.5."""


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A Qwen2ForCausalLM with these configuration fields and fp32 weights."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(Qwen2Config(**fields))


FAMILY = ModelFamily(
    name="qwen",
    architectures=("Qwen2ForCausalLM",),
    sizes=SIZES,
    construct=construct,
    objectives=("causal_lm", "sft"),
    endpoints=("completions", "chat/completions"),
)
