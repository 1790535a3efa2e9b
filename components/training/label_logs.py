"""The log-probabilities of labels, chunk by chunk, for losses that are no sum over tokens.

As in `components.training.losses`, logits are never held whole; what their gradient is weighed by is known only in backward,
which computes them again.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from components.training.batch import IGNORED
from components.training.linear import linear, weight_gradient
from components.training.losses import cached_rows, logit_chunks, plain_head, precise, with_head


class _LabelLogs(torch.autograd.Function):
    """The log-probability of each label (n,); backward computes the logits of a chunk again, as it needs them."""

    @staticmethod
    def forward(ctx, hidden, weight, bias, labels):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(hidden, weight, bias, labels)
        kind = hidden.device.type
        ctx.precision = {"dtype": torch.get_autocast_dtype(kind), "enabled": torch.is_autocast_enabled(kind)}
        logs = precise(hidden.new_empty(len(labels)))
        for part in logit_chunks(hidden, weight):
            logits = linear(hidden[part], weight, bias)
            for few in cached_rows(logits):
                right = logits[few].gather(1, labels[part][few, None])[:, 0]
                logs[part][few] = precise(right) - precise(logits[few]).logsumexp(-1)
        return logs

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        hidden, weight, bias, labels = ctx.saved_tensors
        for_hidden, for_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        for_bias = None if bias is None else torch.zeros_like(bias)
        with torch.autocast(hidden.device.type, **ctx.precision):  # which forward had, and backward has not by itself
            for part in logit_chunks(hidden, weight):
                logits = linear(hidden[part], weight, bias)
                for few in cached_rows(logits):
                    found = torch.softmax(logits[few], -1, dtype=gradient.dtype).neg_()
                    wanted = labels[part][few, None]
                    found.scatter_add_(1, wanted, found.new_ones((1, 1)).expand_as(wanted))
                    logits[few] = found.mul_(gradient[part][few, None])
                for_hidden[part] = linear(logits, weight.t())
                for_weight += weight_gradient(logits, hidden[part])
                if for_bias is not None:
                    for_bias += logits.sum(0)
        return for_hidden, for_weight, for_bias, None


def label_logs(model: nn.Module, labels: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """The log-probability of each of `labels` (rows, time) under `model`, (rows, time) in nats; 0 where it is IGNORED."""
    counted = labels != IGNORED
    if (head := plain_head(model)) is None:
        logits = model(**inputs).logits
        losses = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none")
        return -losses.view_as(labels)

    def logs_of(hidden: torch.Tensor) -> torch.Tensor:
        found = _LabelLogs.apply(hidden[counted], head.weight, head.bias, labels[counted])
        return found.new_zeros(labels.shape).masked_scatter(counted, found)

    logs: torch.Tensor = with_head(model, head, logs_of, inputs).logits
    return logs
