"""The cross-entropy of a language model, chunk by chunk, so that the logits are never held whole.

The head of the model (its last linear layer) is made to give the loss in place of the logits, while it runs: everything
before it, and whatever gathers sharded weights around it, is as always. The gradients of the hidden states and of the
head's weight are computed in the forward pass, from the probabilities that are at hand there; the idea is that of the
fused kernels of Liger (Hsu et al. 2024), here with plain products.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from components.training.batch import IGNORED
from components.training.linear import linear, weight_gradient

ELEMENTS = 2**23
"""Logits that are held at once: 32 MiB in fp32, and as many probabilities."""


class _LinearCrossEntropy(torch.autograd.Function):
    """The summed cross-entropy of labels (n,) under softmax(hidden weight^T), and how many were the likeliest."""

    @staticmethod
    def forward(ctx, hidden, weight, labels):  # type: ignore[no-untyped-def]
        for_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        total, correct = hidden.new_zeros(()), labels.new_zeros(())
        rows = max(1, ELEMENTS // len(weight))
        for start in range(0, len(hidden), rows):
            here, wanted = hidden[start : start + rows], labels[start : start + rows, None]
            logits = linear(here, weight).float()
            top, likeliest = logits.max(-1, keepdim=True)
            found = torch.softmax(logits, -1)
            # The likeliest token's probability is no less than one over the vocabulary: its logarithm is exact.
            total += (top - found.gather(1, likeliest).log() - logits.gather(1, wanted)).sum()
            correct += (likeliest == wanted).sum()
            found.scatter_add_(1, wanted, found.new_full((1, 1), -1.0).expand_as(wanted))
            if for_hidden is not None:
                for_hidden[start : start + rows] = linear(found, weight.t())
            if for_weight is not None:
                for_weight += weight_gradient(found, here)
        ctx.save_for_backward(for_hidden, for_weight)
        ctx.mark_non_differentiable(correct)
        return total, correct

    @staticmethod
    def backward(ctx, gradient, _):  # type: ignore[no-untyped-def]
        return *(None if part is None else part * gradient for part in ctx.saved_tensors), None


def summed_cross_entropy(
    model: nn.Module, labels: torch.Tensor, **inputs: Any
) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """The loss of `labels` (rows, time), summed in nats; how many were the likeliest; and what `model` gave beside.

    Positions whose label is IGNORED cost nothing in the head. A head that is no linear layer without bias, or whose
    logits the model goes on to change, gives them whole.
    """
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    counted = labels != IGNORED
    if not _is_plain(head, model):
        found = model(**inputs)
        logits = found.logits
        loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        return loss, (logits.detach().argmax(-1) == labels).sum(), found

    correct: list[torch.Tensor] = []

    def loss_of(hidden: torch.Tensor) -> torch.Tensor:
        summed, right = _LinearCrossEntropy.apply(hidden[counted], head.weight, labels[counted])
        correct.append(right)
        return summed

    head.forward = loss_of
    try:
        found = model(**inputs)
    finally:
        del head.forward
    return found.logits, correct[0], found


def _is_plain(head: Any, model: nn.Module) -> bool:
    config: Any = getattr(model, "config", None)
    changed = ("final_logit_softcapping", "logit_scale", "logits_scaling")
    return (
        isinstance(head, nn.Linear) and head.bias is None and not any(getattr(config, name, None) for name in changed)
    )
