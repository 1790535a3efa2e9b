"""Mixtral: Mistral's blocks with experts, two of eight for each token (Jiang et al. 2024, "Mixtral of Experts").

The router learns to balance its experts by `router_aux_loss_coef`, and to keep its logits small by `router_z_loss_coef`
(Zoph et al. 2022, "ST-MoE", whose weights these are): objectives that predict the next token read both off the
configuration, so they hold for any model with experts.
"""

from typing import TYPE_CHECKING, Any

from components.models.base import ModelFamily, published, small

if TYPE_CHECKING:
    from torch import nn

_EXPERTS = {
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "router_aux_loss_coef": 0.01,
    "router_z_loss_coef": 0.001,
    "rms_norm_eps": 1e-5,
    "sliding_window": None,
}
_PUBLISHED = {
    **_EXPERTS,
    "vocab_size": 32_000,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
}

_FEW_TOKENS = {**_EXPERTS, "router_aux_loss_coef": 0.1}
"""For runs that are over before a weak pull has balanced anything: averaged over six layers, 0.017 for each."""

SIZES: dict[str, dict[str, Any]] = {
    "debug": {**small(hidden=32, layers=2, heads=2, kv_heads=1, mlp=48), **_FEW_TOKENS},
    "8x2m": {**small(hidden=160, layers=6, heads=5, kv_heads=1, mlp=448), **_FEW_TOKENS},
    "8x5m": {**small(hidden=256, layers=6, heads=4, kv_heads=2, mlp=640, vocab_size=4096, context=512), **_FEW_TOKENS},
    "8x7b": published(4096, 32, 32, 8, 14_336, _PUBLISHED, max_position_embeddings=32_768),
    "8x22b": published(6144, 56, 48, 8, 16_384, _PUBLISHED, max_position_embeddings=65_536),
}
"""Published: Mixtral 8x7B and 8x22B. As with those, the name is that of the dense model whose MLP became eight."""


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A MixtralForCausalLM with these configuration fields and fp32 weights."""
    from transformers import MixtralConfig, MixtralForCausalLM

    return MixtralForCausalLM(MixtralConfig(**fields))


FAMILY = ModelFamily(
    name="mixtral",
    architectures=("MixtralForCausalLM",),
    sizes=SIZES,
    construct=construct,
    objectives=("causal_lm", "sft"),
    endpoints=("completions", "chat/completions"),
)
