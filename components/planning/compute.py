"""FLOPs, memory and utilisation of training a decoder-only transformer, as formulas."""

from collections.abc import Mapping
from math import log2
from typing import Any

BYTES = 4
"""fp32."""


def training_flops(parameters: int, tokens: float) -> float:
    """6ND: forward and backward products with the weights (Kaplan et al. 2020), as published figures count them."""
    return 6.0 * parameters * tokens


def attention_flops(fields: Mapping[str, Any], tokens: float, context: int) -> float:
    """12 L H T per token: products of attention itself, which 6ND leaves out (Chowdhery et al. 2022, appendix B)."""
    return 12.0 * fields["num_hidden_layers"] * fields["hidden_size"] * context * tokens


def state_bytes(parameters: int) -> int:
    """Weights, gradients and the two moments of AdamW."""
    return 4 * BYTES * parameters


def activation_bytes(fields: Mapping[str, Any], vocab_size: int, tokens: int) -> int:
    """What backward keeps for `tokens` tokens in one pass.

    After Korthikanti et al. 2022 (section 4.1), with attention that keeps no scores and a gated MLP: 10 hidden and 4
    MLP widths a layer, and 4 vocabularies for logits and loss. Within 12% of what was measured for the debug, 0.5m and
    2m sizes.
    """
    layer = 10 * fields["hidden_size"] + 4 * fields["intermediate_size"]
    return BYTES * tokens * int(fields["num_hidden_layers"] * layer + 4 * vocab_size)


def utilisation(fields: Mapping[str, Any]) -> float:
    """The part of the machine's peak that training reaches on CPU cores: narrow layers are ruled by small operations.

    Fitted to the loop on one core, in CPU time: 12% to 19% of the peak at width 32, 34% to 36% at 96, 44% to 47% at
    160. For wider models it is an extrapolation.
    """
    return float(0.75 * fields["hidden_size"] / (fields["hidden_size"] + 105))


def bytes_per_token(vocab_size: int) -> float:
    """Bytes of English in a token of a byte-level BPE: 1 for bare bytes, 2.8 measured at 2,048; 4.5 is assumed the most."""
    return min(4.5, 1 + 0.6 * log2(max(1.0, vocab_size / 256)))
