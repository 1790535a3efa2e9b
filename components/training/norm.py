"""Root-mean-square norms (Zhang and Sennrich 2019) in one function that keeps nothing but its input.

transformers' layers are six operators, each of which reads and writes the activations, and half of them are kept for
backward; under autocast each linear layer that follows casts the same output again. The layers stay those of the
architecture, with their weights and names: only what computes them is another.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn


class _RmsNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension, in fp32 or wider, given as `dtype`."""

    @staticmethod
    def forward(ctx, x, weight, eps, dtype):  # type: ignore[no-untyped-def]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        squares = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_()
        scale = squares.div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (wide * scale).mul_(weight).to(dtype)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x, weight, scale = ctx.saved_tensors
        gradient, normed = gradient.to(scale.dtype), x * scale
        both = gradient * normed
        for_weight = both.flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        along = torch.mv(both.flatten(0, -2), weight).view_as(scale).div_(x.shape[-1])
        for_x = (gradient * weight).addcmul_(normed, along, value=-1).mul_(scale)
        return for_x.to(x.dtype), for_weight, None, None


def _normed(module: Any, plain: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """What `module` makes of x (..., width); `plain` is its own forward, for weights that lie in several workers."""
    if type(module.weight) not in (torch.Tensor, nn.Parameter):
        return plain(x)
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    found: torch.Tensor = _RmsNorm.apply(x, module.weight, module.variance_epsilon, dtype)
    return found


def use_fused_norms(model: nn.Module) -> None:
    """Let the layers of `model` that are such norms by what they give be computed so."""
    for module in model.modules():
        if _is_rms_norm(module):
            module.forward = partial(_normed, module, module.forward)


def _is_rms_norm(module: Any) -> bool:
    """Whether `module`, a layer of any architecture, gives what _RmsNorm does; Gemma's, for one, adds 1 to its weight."""
    weight, eps = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
    if not isinstance(weight, nn.Parameter) or weight.ndim != 1 or eps is None or len(list(module.parameters())) > 1:
        return False
    with torch.no_grad():
        probe = torch.linspace(-1, 2, len(weight), device=weight.device, dtype=weight.dtype)
        return torch.allclose(module(probe), _RmsNorm.apply(probe, weight, eps, probe.dtype), atol=1e-5)
