"""BERT: an encoder that reads both sides of a token (Devlin et al. 2019); mini is Turc et al.'s (2019) of that name.

There is no dropout: it would draw from a global generator, and what is trained here depends on seed and sample alone.
"""

from typing import TYPE_CHECKING, Any

from components.models.base import ModelFamily

if TYPE_CHECKING:
    from torch import nn


def _shape(hidden: int, layers: int, heads: int, vocab_size: int, context: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "vocab_size": vocab_size,
        "max_position_embeddings": context,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


SIZES: dict[str, dict[str, Any]] = {
    "debug": _shape(32, 2, 2, vocab_size=2048, context=256),
    "mini": _shape(256, 4, 4, vocab_size=4096, context=512),
    "minilm": _shape(384, 6, 12, vocab_size=30_522, context=512),
    "base": _shape(768, 12, 12, vocab_size=30_522, context=512),
    "large": _shape(1024, 24, 16, vocab_size=30_522, context=512),
}
"""Published: BERT base and large (uncased), and MiniLM of six layers (Wang et al. 2020)."""


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A BertForMaskedLM with these configuration fields and fp32 weights."""
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(BertConfig(**fields))


FAMILY = ModelFamily(
    name="bert",
    architectures=("BertForMaskedLM", "BertModel"),
    sizes=SIZES,
    construct=construct,
    objectives=("masked_lm",),
    endpoints=("embeddings",),
    engine="encoder",
    processor="wordpiece",
    evaluation="masked_lm",
    pipeline="fill-mask",
)
