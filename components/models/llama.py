"""Llama: RoPE, RMSNorm, SwiGLU, grouped-query attention (Dubey et al. 2024, "The Llama 3 Herd of Models").

The small sizes tie the output projection to the embedding, which at these widths is a large part of a model.
"""

from typing import TYPE_CHECKING, Any

from components.models.base import ModelFamily, published, small

if TYPE_CHECKING:
    from torch import nn


_NORM = {"rms_norm_eps": 1e-5}
_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_LLAMA_3_1 = {
    **_NORM,
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
    "tie_word_embeddings": False,
    "bos_token_id": 128_000,
    "eos_token_id": 128_001,
    "rope_parameters": _ROPE,
}
_LLAMA_3_2 = {
    **_LLAMA_3_1,
    "tie_word_embeddings": True,
    "rope_parameters": {**_ROPE, "factor": 32.0},
}

SIZES: dict[str, dict[str, Any]] = {
    "debug": {**small(hidden=32, layers=2, heads=4, kv_heads=2, mlp=96), **_NORM},
    "0.04m": {**small(hidden=16, layers=2, heads=2, kv_heads=1, mlp=48), **_NORM},
    "0.06m": {**small(hidden=24, layers=2, heads=2, kv_heads=1, mlp=64), **_NORM},
    "0.09m": {**small(hidden=32, layers=2, heads=2, kv_heads=1, mlp=88), **_NORM},
    "0.15m": {**small(hidden=48, layers=2, heads=2, kv_heads=1, mlp=128), **_NORM},
    "0.3m": {**small(hidden=64, layers=3, heads=2, kv_heads=1, mlp=176), **_NORM},
    "0.5m": {**small(hidden=96, layers=3, heads=3, kv_heads=1, mlp=256), **_NORM},
    "1m": {**small(hidden=128, layers=5, heads=4, kv_heads=1, mlp=352), **_NORM},
    "2m": {**small(hidden=160, layers=6, heads=5, kv_heads=1, mlp=448), **_NORM},
    "3.3m": {
        **small(hidden=160, layers=6, heads=5, kv_heads=1, mlp=896),
        **_NORM,
    },  # as much as works in mixtral's 8x2m
    "5m": {**small(hidden=256, layers=6, heads=4, kv_heads=2, mlp=640, vocab_size=4096, context=512), **_NORM},
    "15m": {**small(hidden=384, layers=6, heads=6, kv_heads=2, mlp=1024, vocab_size=16_384, context=512), **_NORM},
    "60m": {**small(hidden=640, layers=12, heads=10, kv_heads=2, mlp=1728, vocab_size=16_384, context=1024), **_NORM},
    "350m": {
        **small(hidden=1024, layers=24, heads=8, kv_heads=4, mlp=2816, vocab_size=32_768, context=2048),
        **_NORM,
        "tie_word_embeddings": False,
    },
    "1b": published(2048, 16, 32, 8, 8192, _LLAMA_3_2),
    "8b": published(4096, 32, 32, 8, 14_336, _LLAMA_3_1),
    "70b": published(8192, 80, 64, 8, 28_672, _LLAMA_3_1),
    "405b": published(16_384, 126, 128, 8, 53_248, _LLAMA_3_1),
}
"""Published: Llama 3.1 8B, 70B and 405B, and Llama 3.2 1B."""


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A LlamaForCausalLM with these configuration fields and fp32 weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**fields))


FAMILY = ModelFamily(
    name="llama",
    architectures=("LlamaForCausalLM",),
    sizes=SIZES,
    construct=construct,
    objectives=("causal_lm", "sft", "dpo"),
    endpoints=("completions", "chat/completions"),
)
