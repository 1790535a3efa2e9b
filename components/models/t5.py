"""T5: an encoder that reads and a decoder that writes (Raffel et al. 2020), with embeddings shared by both and the head.

There is no dropout: it would draw from a global generator, and what is trained here depends on seed and sample alone.
"""

from typing import TYPE_CHECKING, Any

from components.models.base import ModelFamily

if TYPE_CHECKING:
    import torch
    from torch import nn


def _shape(
    hidden: int, layers: int, heads: int, head: int, mlp: int, vocab_size: int = 32_128, context: int = 512
) -> dict[str, Any]:
    """So many layers in the encoder, and as many in the decoder."""
    return {
        "d_model": hidden,
        "num_layers": layers,
        "num_decoder_layers": layers,
        "num_heads": heads,
        "d_kv": head,
        "d_ff": mlp,
        "vocab_size": vocab_size,
        "max_position_embeddings": context,  # positions are relative: what the model was trained on, no limit of its own
        "dropout_rate": 0.0,
        "tie_word_embeddings": True,
    }


SIZES: dict[str, dict[str, Any]] = {
    "debug": _shape(32, 2, 2, 16, 64, vocab_size=2048, context=256),
    "tiny": _shape(128, 3, 4, 32, 512, vocab_size=2048),
    "mini": _shape(256, 4, 4, 64, 1024, vocab_size=2048),
    "small": _shape(512, 6, 8, 64, 2048),
    "base": _shape(768, 12, 12, 64, 3072),
    "large": _shape(1024, 24, 16, 64, 4096),
}
"""Published: small, base and large of the first release."""


def construct(fields: dict[str, Any]) -> "nn.Module":
    """A T5ForConditionalGeneration with these configuration fields and fp32 weights; it begins to write after the padding."""
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(T5Config(**{"decoder_start_token_id": fields.get("pad_token_id", 0), **fields}))


def outputs(model: "nn.Module", batch: Any) -> "torch.Tensor":
    """The logits of what is read, written again."""
    found: torch.Tensor = model(input_ids=batch.input_ids, decoder_input_ids=batch.input_ids).logits
    return found


FAMILY = ModelFamily(
    name="t5",
    architectures=("T5ForConditionalGeneration",),
    sizes=SIZES,
    construct=construct,
    objectives=("span_corruption",),
    endpoints=("completions",),
    engine="seq2seq",
    outputs=outputs,
    processor="sentinels",
    evaluation="span_corruption",
    pipeline="text-generation",  # transformers 5 has none for text to text; this one generates with any model
)
