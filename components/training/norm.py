"""Root-mean-square norms (Zhang and Sennrich 2019) in one function that keeps nothing but its input.

transformers' layers are six operators, each of which reads and writes the activations, and half of them are kept for
backward; under autocast each linear layer that follows casts the same output again. The layers stay those of the
architecture, with their weights and names: only what computes them is another.
"""

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.functional import rms_norm


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


@cache
def _fused(kind: type[nn.Module]) -> type[nn.Module]:
    """A norm like `kind`, computed so. Not in shards: there it stays as it is."""

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        if type(self.weight) not in (torch.Tensor, nn.Parameter):
            plain: torch.Tensor = kind.forward(self, x)
            return plain
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        if device == "cuda":  # where torch has a kernel for it
            return rms_norm(x, self.weight.shape, self.weight, self.variance_epsilon).to(dtype)
        found: torch.Tensor = _RmsNorm.apply(x, self.weight, self.variance_epsilon, dtype)
        return found

    return type(kind.__name__, (kind,), {"forward": forward})


def use_fused_norms(model: nn.Module) -> None:
    """Let the layers of `model` that are such norms by what they give be computed so."""
    for module in model.modules():
        if _is_rms_norm(module):
            module.__class__ = _fused(type(module))  # type: ignore[arg-type]


def _is_rms_norm(module: Any) -> bool:
    """Whether `module`, a layer of any architecture, gives what _RmsNorm does; Gemma's, for one, adds 1 to its weight."""
    weight, eps = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
    if not isinstance(weight, nn.Parameter) or weight.ndim != 1 or eps is None or len(list(module.parameters())) > 1:
        return False
    with torch.no_grad():
        probe = torch.linspace(-1, 2, len(weight), device=weight.device, dtype=weight.dtype)
        return torch.allclose(module(probe), _RmsNorm.apply(probe, weight, eps, probe.dtype), atol=1e-5)
