"""Llama: RoPE, RMSNorm, SwiGLU, grouped-query attention (Dubey et al. 2024, "The Llama 3 Herd of Models").

The small sizes tie the output projection to the embedding, which at these widths is a large part of a model.
"""

from typing import TYPE_CHECKING, Any

from components.models.base import ModelFamily

if TYPE_CHECKING:
    from torch import nn


def _small(hidden: int, layers: int, heads: int, kv_heads: int, mlp: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": mlp,
        "vocab_size": 2048,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "bos_token_id": None,
        "eos_token_id": None,
    }


_LLAMA_3_1 = {
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 128_000,
    "eos_token_id": 128_001,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}

SIZES: dict[str, dict[str, Any]] = {
    "debug": _small(hidden=32, layers=2, heads=2, kv_heads=1, mlp=96),
    "0.5m": _small(hidden=96, layers=3, heads=3, kv_heads=1, mlp=256),
    "2m": _small(hidden=160, layers=6, heads=5, kv_heads=1, mlp=448),
    "8b": {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14_336,
        **_LLAMA_3_1,
    },
}


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A LlamaForCausalLM with these configuration fields and fp32 weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**fields))


FAMILY = ModelFamily(
    name="llama",
    sizes=SIZES,
    construct=construct,
    objectives=("causal_lm", "sft", "dpo"),
    endpoints=("completions", "chat/completions"),
)
