"""The cross-entropy of a language model, chunk by chunk, so that the logits are never held whole.

The head of the model (its last linear layer) is made to give the loss in place of the logits, while it runs: everything
before it, and whatever gathers sharded weights around it, is as always. The gradients of the hidden states and of the
head's weight are computed in the forward pass, from the probabilities that are at hand there; the idea is that of the
fused kernels of Liger (Hsu et al. 2024), here with plain products.
"""

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from components.training.batch import IGNORED
from components.training.linear import linear, weight_gradient

ELEMENTS = {"cpu": 2**24, "cuda": 2**28}
"""Logits that are held at once: 64 MiB in fp32; on a GPU, whose products need more rows to be fast, 512 MiB in bf16."""
CACHED = 2**19
"""Logits that become probabilities at once, on a CPU: few enough to stay in a core's cache."""


class _LinearCrossEntropy(torch.autograd.Function):
    """The summed cross-entropy of labels (n,) under softmax(hidden weight^T + bias), and how many were the likeliest.

    The gradient is that of the loss with z_loss times the squared logarithm of softmax's normaliser beside it.
    """

    @staticmethod
    def forward(ctx, hidden, weight, bias, labels, z_loss, take):  # type: ignore[no-untyped-def]
        for_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for_weight, for_bias = None, torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        total, correct = precise(hidden.new_zeros(())), labels.new_zeros(())
        for part in logit_chunks(hidden, weight):
            here = hidden[part]
            logits = linear(here, weight, bias)
            for few in cached_rows(logits):
                loss, right = take(logits[few], labels[part][few, None], z_loss)
                total, correct = total + loss, correct + right
            if for_hidden is not None:
                for_hidden[part] = linear(logits, weight.t())
            if ctx.needs_input_grad[1]:
                found = weight_gradient(logits, here)
                for_weight = found.to(weight.dtype) if for_weight is None else for_weight.add_(found)
            if for_bias is not None:
                for_bias += logits.sum(0)
        ctx.save_for_backward(for_hidden, for_weight, for_bias)
        ctx.mark_non_differentiable(correct)
        return total, correct

    @staticmethod
    def backward(ctx, gradient, _):  # type: ignore[no-untyped-def]
        if gradient == 1:  # as of a sum: a pass over all gradients less
            return *ctx.saved_tensors, None, None, None
        return *(None if part is None else part * gradient for part in ctx.saved_tensors), None, None, None


def _take(logits: torch.Tensor, wanted: torch.Tensor, z_loss: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The summed loss of labels `wanted` (n, 1) and how many are the likeliest; `logits` (n, ...) become its gradient."""
    top, right = logits.amax(-1, keepdim=True), logits.gather(1, wanted)
    likely = (right == top)[:, 0]  # of equal ones the first counts
    correct = (logits[likely].max(-1, keepdim=True).indices == wanted[likely]).sum()
    found = torch.softmax(logits, -1, dtype=precise(top).dtype)
    # The likeliest token's probability is no less than one over the vocabulary: its logarithm is exact.
    normaliser = precise(top) - found.amax(-1, keepdim=True).log()
    loss = (normaliser - precise(right)).sum()
    if z_loss:
        found.mul_(1 + 2 * z_loss * normaliser)
    found.scatter_add_(1, wanted, found.new_full((1, 1), -1.0).expand_as(wanted))
    logits.copy_(found)
    return loss, correct


def _take_on_gpu(logits: torch.Tensor, wanted: torch.Tensor, z_loss: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The same, of operators that a compiler joins into two passes and for which no GPU is waited for."""
    wide = precise(logits)
    normaliser = wide.logsumexp(-1, keepdim=True)
    loss = (normaliser - wide.gather(1, wanted)).sum()
    correct = (logits.argmax(-1, keepdim=True) == wanted).sum()
    found = (wide - normaliser).exp()
    if z_loss:
        found = found * (1 + 2 * z_loss * normaliser)
    places = torch.arange(logits.shape[-1], device=logits.device)
    logits.copy_(torch.where(places == wanted, found - 1, found))
    return loss, correct


@cache
def _compiled() -> Any:
    return torch.compile(_take_on_gpu, dynamic=False)


def _take_for(head: nn.Module, whole: bool) -> Any:
    """What computes the loss of the logits of `head`; compiled only where it has the same number of rows each time."""
    if next(head.parameters()).device.type == "cpu":
        return _take
    return _compiled() if whole and getattr(head, "compiled", False) else _take_on_gpu


def cached_rows(logits: torch.Tensor) -> list[slice]:
    """Rows of `logits` (rows, vocabulary) that stay in a core's cache together, on a CPU."""
    return chunks(len(logits), CACHED // logits.shape[1] if logits.device.type == "cpu" else len(logits))


def logit_chunks(hidden: torch.Tensor, weight: torch.Tensor) -> list[slice]:
    """Rows of `hidden` (rows, width) whose logits are held at once."""
    return chunks(len(hidden), ELEMENTS[hidden.device.type] // len(weight))


def precise(logits: torch.Tensor) -> torch.Tensor:
    """In fp32, or in float64 where the model computes in it."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def chunks(length: int, rows: int) -> list[slice]:
    """Slices of at most `rows` of `length`; one where there is nothing, as gradients of nothing are zeros."""
    rows = max(1, rows)
    return [slice(start, start + rows) for start in range(0, max(1, length), rows)]


def summed_cross_entropy(
    model: nn.Module, labels: torch.Tensor, *, z_loss: float = 0.0, whole: bool = False, **inputs: Any
) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """The loss of `labels` (rows, time), summed in nats; how many were the likeliest; and what `model` gave beside.

    Positions whose label is IGNORED cost nothing in the head. A head that is no linear layer, or whose logits the model
    goes on to change, gives them whole. `z_loss` weighs what keeps logits from growing (Chowdhery et al. 2022, "PaLM",
    section 5); it is part of the gradient, and not of the value, which stays the cross-entropy. `whole` says that no label
    is IGNORED.
    """
    counted = labels != IGNORED
    if (head := plain_head(model)) is None:
        found = model(**inputs)
        logits = found.logits
        loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        if z_loss:
            squares = precise(logits[counted]).logsumexp(-1).square().sum()
            loss = loss + z_loss * (squares - squares.detach())
        return loss, (logits.detach().argmax(-1) == labels).sum(), found

    correct: list[torch.Tensor] = []

    def loss_of(hidden: torch.Tensor) -> torch.Tensor:
        here, wanted = (part.flatten(0, 1) if whole else part[counted] for part in (hidden, labels))
        summed, right = _LinearCrossEntropy.apply(here, head.weight, head.bias, wanted, z_loss, _take_for(head, whole))
        correct.append(right)
        return summed

    found = with_head(model, head, loss_of, inputs)
    return found.logits, correct[0], found


def with_head(model: nn.Module, head: Any, forward: Any, inputs: dict[str, Any]) -> Any:
    """What `model` gives with another `forward` of its head."""
    head.forward = forward
    try:
        return model(**inputs)
    finally:
        del head.forward


def plain_head(model: nn.Module) -> Any:
    """The linear layer whose products are the logits of `model`; None where they are not only that."""
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    config: Any = getattr(model, "config", None)
    changed = ("final_logit_softcapping", "logit_scale", "logits_scaling")
    return head if isinstance(head, nn.Linear) and not any(getattr(config, name, None) for name in changed) else None
