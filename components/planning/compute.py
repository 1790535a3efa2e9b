"""FLOPs and tokens of training a decoder-only transformer, as formulas."""

from math import log2

from components.flops import causal_attention_flops, training_flops
from components.planning.architecture import Architecture


def partial_flops(frozen: int, trained: int, tokens: float) -> float:
    """4ND for frozen weights, which want no gradient of their own, and 6ND for those that are trained, as an adapter's."""
    return 4.0 * frozen * tokens + training_flops(trained, tokens)


def attention_flops(shapes: Architecture, tokens: float, context: int) -> float:
    """Products of attention itself, of which a causal mask needs half."""
    return causal_attention_flops(shapes.layers, shapes.attention, context, tokens)


def bytes_per_token(vocab_size: int) -> float:
    """Bytes of English in a token of a byte-level BPE: 1 for bare bytes, 2.8 measured at 2,048; 4.5 is assumed the most."""
    return min(4.5, 1 + 0.6 * log2(max(1.0, vocab_size / 256)))
