"""What an objective is: a batch in, a summed loss and summed metrics out."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from components.training.loader import IGNORED, Batch


@dataclass(frozen=True)
class Loss:
    """Sums over the counted targets of a batch. Sums, because they add up over workers, and means do not."""

    loss_sum: torch.Tensor
    """A scalar with a gradient."""
    num_targets: int
    metric_sums: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    """One thing that a model can be trained for. Files beside this one hold one each, called `OBJECTIVE`."""

    kind: str
    """The kind of samples that it learns from."""
    loss: Callable[[nn.Module, Batch], Loss]
    metrics: tuple[str, ...] = ()
    """Names of the metrics whose sums `loss` gives; they are shown as means over the targets."""


def next_token_loss(model: nn.Module, batch: Batch) -> tuple[Loss, torch.Tensor]:
    """Cross-entropy of each label that counts, summed, and the logits (batch, time, vocabulary).

    Padding stands on the right, where a causal model's earlier positions cannot see it: no attention mask is needed,
    which keeps attention on its fast path.
    """
    logits = model(input_ids=batch.input_ids, use_cache=False).logits
    loss = cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return Loss(loss, int((batch.labels != IGNORED).sum())), logits
