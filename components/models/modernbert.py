"""ModernBERT: an encoder with rotary positions, norms before each layer and gated MLPs (Warner et al. 2024).

It learns from far less text than BERT does: a hidden token says nothing itself, and BERT must first find out which
positions are near. The small sizes attend to the whole context in every layer. There is no dropout, as in bert.py.
"""

from typing import TYPE_CHECKING, Any

from components.models.base import ModelFamily

if TYPE_CHECKING:
    from torch import nn


def _shape(hidden: int, layers: int, heads: int, mlp: int, **own: Any) -> dict[str, Any]:
    shape = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": mlp}
    return {**shape, "global_attn_every_n_layers": 1, **own}


_SMALL = {"vocab_size": 2048, "max_position_embeddings": 256, "pad_token_id": None, "eos_token_id": None}
_PUBLISHED = {"vocab_size": 50_368, "max_position_embeddings": 8192, "global_attn_every_n_layers": 3}

SIZES: dict[str, dict[str, Any]] = {
    "debug": _shape(32, 2, 2, 64, **_SMALL),
    "mini": _shape(128, 4, 4, 256, **_SMALL),
    "base": _shape(768, 22, 12, 1152, **_PUBLISHED),
    "large": _shape(1024, 28, 16, 2624, **_PUBLISHED),
}
"""Published: ModernBERT base and large."""


UNSAID = {"bos_token_id": None, "cls_token_id": None, "sep_token_id": None}
"""Tokens of the published tokenizer, which another one does not have."""


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A ModernBertForMaskedLM with these configuration fields and fp32 weights."""
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    return ModernBertForMaskedLM(ModernBertConfig(**{**UNSAID, **fields}))


FAMILY = ModelFamily(
    name="modernbert",
    architectures=("ModernBertForMaskedLM", "ModernBertModel"),
    sizes=SIZES,
    construct=construct,
    objectives=("masked_lm",),
    endpoints=("embeddings",),
    engine="encoder",
    processor="wordpiece",
    evaluation="masked_lm",
    pipeline="fill-mask",
)
