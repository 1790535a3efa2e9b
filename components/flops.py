"""Floating-point operations: what training needs for a token, and what this machine does in a second."""

import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import nn

SIDE, GPU_SIDE = 1024, 8192
"""Of the squares whose product is the peak of a processor, and of a GPU."""


class SampleFlops(NamedTuple):
    """What one sample, or one token of it, takes in training."""

    weights: float
    """Products with weights."""
    attention: float
    """Products of attention itself."""


def training_flops(parameters: int, tokens: float) -> float:
    """6ND: forward and backward products with the weights (Kaplan et al. 2020), as published figures count them."""
    return 6.0 * parameters * tokens


def causal_attention_flops(layers: int, width: int, context: int, tokens: float) -> float:
    """6 L A T per token: products of attention itself, which 6ND leaves out (Chowdhery et al. 2022, appendix B).

    Half of their 12 L A T, as a causal mask needs half of the scores; A is the `width` of all heads together.
    """
    return 6.0 * layers * width * context * tokens


def decoder_token_flops(model: "nn.Module", context: int) -> float | None:
    """What training a transformers decoder needs for a token of a text of `context`; None for other models.

    An embedding that is not the head as well is only looked up, which takes no product.
    """
    from components.models.base import active_parameters

    config = getattr(model, "config", None)
    heads, layers = (getattr(config, name, None) for name in ("num_attention_heads", "num_hidden_layers"))
    if config is None or not heads or not layers or getattr(config, "is_encoder_decoder", False):
        return None
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    frozen = active_parameters(model, {name for name, weight in model.named_parameters() if not weight.requires_grad})
    weights = training_flops(active_parameters(model), 1) - 2 * frozen - _looked_up(model)
    return weights + causal_attention_flops(layers, width, context, 1)


def _looked_up(model: Any) -> float:
    """What the formula counts for an embedding that is no head."""
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    if head is not None and head.weight is embedding:
        return 0.0
    return float((6 if embedding.requires_grad else 4) * embedding.numel())


def product_rate(seconds: float, device: "torch.device | None" = None, dtype: "torch.dtype | None" = None) -> float:
    """The best rate of a square product within `seconds`, in FLOP/s: fp32 on the threads that torch has now, by default."""
    import torch

    on_gpu = device is not None and device.type == "cuda"
    side = GPU_SIDE if on_gpu else SIDE
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        torch.nn.functional.linear(left, right)
        if on_gpu:
            torch.cuda.synchronize(device)
        best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best
