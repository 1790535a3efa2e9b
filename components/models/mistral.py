"""Mistral: Llama's blocks without its scaled RoPE (Jiang et al. 2023, "Mistral 7B"; Mistral Large 2, July 2024)."""

from typing import TYPE_CHECKING, Any

from components.models.base import ModelFamily, published, small

if TYPE_CHECKING:
    from torch import nn

_SHARED = {
    "vocab_size": 32_768,
    "head_dim": 128,
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-5,
    "sliding_window": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
}

SIZES: dict[str, dict[str, Any]] = {
    "debug": {**small(hidden=32, layers=2, heads=2, kv_heads=1, mlp=96), "sliding_window": None},
    "7b": published(4096, 32, 32, 8, 14_336, _SHARED, max_position_embeddings=32_768),
    "123b": published(12_288, 88, 96, 8, 28_672, _SHARED, max_position_embeddings=131_072),
}
"""Published: Mistral 7B v0.3, and Mistral Large 2 as 123b."""


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A MistralForCausalLM with these configuration fields and fp32 weights."""
    from transformers import MistralConfig, MistralForCausalLM

    return MistralForCausalLM(MistralConfig(**fields))


FAMILY = ModelFamily(
    name="mistral",
    architectures=("MistralForCausalLM",),
    sizes=SIZES,
    construct=construct,
    objectives=("causal_lm", "sft"),
    endpoints=("completions", "chat/completions"),
)
