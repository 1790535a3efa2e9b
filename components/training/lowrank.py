"""Adapted linear layers in one function: W x and the adapter's B A x, added where the product lies.

peft's layer is four operators and as many copies of the output; the products with a small rank are bound by memory, so
that copies are what they cost. The layers stay peft's, with their weights and names: only what computes them is another.
"""

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from components.training.linear import product, weight_gradient


class _LowRank(torch.autograd.Function):
    """x W^T + b + s (x A^T) B^T, of a frozen W and b."""

    @staticmethod
    def forward(ctx, x, weight, bias, down, up, scale):  # type: ignore[no-untyped-def]
        inner = x.flatten(0, -2) @ down.t()
        out = product(x, weight, bias)
        out.view(-1, out.shape[-1]).addmm_(inner, up.t(), alpha=scale)
        ctx.save_for_backward(x, weight, down, up, inner)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x, weight, down, up, inner = ctx.saved_tensors
        gradient = gradient.contiguous()
        flat = gradient.flatten(0, -2)
        through = (flat @ up).mul_(ctx.scale)
        for_x = None
        if ctx.needs_input_grad[0]:
            for_x = product(gradient, weight.t())
            for_x.view(-1, for_x.shape[-1]).addmm_(through, down)
        for_down = weight_gradient(through, x.flatten(0, -2))
        for_up = weight_gradient(flat, inner).mul_(ctx.scale)
        return for_x, None, None, for_down, for_up, None


class FusedLora(LoraLinear):
    """peft's adapted linear layer with one adapter that is trained, computed so."""

    def forward(self, x: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        """As peft's; (..., inputs) gives (..., outputs)."""
        (name,) = self.active_adapters
        base, down, up = self.base_layer, self.lora_A[name].weight, self.lora_B[name].weight
        plain = x.device.type == "cpu" and {x.dtype, base.weight.dtype, down.dtype} == {torch.float32} and x.ndim > 1
        if not plain or torch.is_autocast_enabled("cpu"):
            found: torch.Tensor = super().forward(x, *args, **kwargs)
            return found
        fused: torch.Tensor = _LowRank.apply(x, base.weight, base.bias, down, up, self.scaling[name])
        return fused


def use_fused_adapters(model: nn.Module) -> None:
    """Let the adapted layers of `model` be computed so, where torch was built with oneDNN."""
    if not torch.backends.mkldnn.is_available():
        return
    for module in model.modules():
        if type(module) is LoraLinear and isinstance(module.base_layer, nn.Linear):
            module.__class__ = FusedLora
