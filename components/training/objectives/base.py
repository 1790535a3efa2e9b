"""What an objective is: a batch in, a summed loss and summed metrics out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from components.artifacts import Samples
from components.recipe import TrainPhase
from components.training.batch import IGNORED, Batch
from components.training.group import Group
from components.training.losses import summed_cross_entropy
from components.training.router import has_experts, router_loss


@dataclass(frozen=True)
class Loss:
    """Sums over the counted targets of a batch. Sums, because they add up over workers, and means do not."""

    loss_sum: torch.Tensor
    """A scalar with a gradient."""
    num_targets: int
    metric_sums: dict[str, torch.Tensor] = field(default_factory=dict)

    def detached(self) -> "Loss":
        """The same numbers without a gradient."""
        return Loss(
            self.loss_sum.detach(), self.num_targets, {name: m.detach() for name, m in self.metric_sums.items()}
        )

    def __add__(self, other: "Loss") -> "Loss":
        """The loss of two batches with the same metrics."""
        metrics = {name: m + other.metric_sums[name] for name, m in self.metric_sums.items()}
        return Loss(self.loss_sum + other.loss_sum, self.num_targets + other.num_targets, metrics)


def _no_settings(phase: TrainPhase, samples: Samples) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Objective:
    """One thing that a model can be trained for. Files beside this one hold one each, called `OBJECTIVE`.

    What is random in it (masks, noise, times) is drawn by `components.training.draws` from the seed and the global
    index of each sample: so order, restarts and the number of workers cannot change it.
    """

    kind: str
    """The kind of samples that it learns from."""
    loss: Callable[..., Loss]
    """loss(model, batch), or loss(model, batch, reference) where it needs a reference."""
    metrics: tuple[str, ...] = ()
    """Names of the metrics whose sums `loss` gives; they are shown as means over the targets."""
    needs_reference: bool = False
    """Whether `loss` compares with the model that the phase started from, which is kept frozen for it."""
    settings: Callable[[TrainPhase, Samples], dict[str, Any]] = _no_settings
    """Keyword arguments of `loss` (and `accumulate`) for a phase; raises TrainingError where the samples do not do."""
    accumulate: Callable[..., Iterator[Loss]] | None = None
    """For a loss that couples the samples of a batch, in place of `backward` below; same arguments, no reference."""

    def of(self, phase: TrainPhase, samples: Samples) -> "Objective":
        """This objective with the settings of `phase`. Raises TrainingError."""
        given = self.settings(phase, samples)
        if not given:
            return self
        accumulate = partial(self.accumulate, **given) if self.accumulate else None
        return replace(self, loss=partial(self.loss, **given), accumulate=accumulate, settings=_no_settings)

    def backward(
        self, model: nn.Module, micro_batches: Sequence[Batch], group: Group, reference: nn.Module | None = None
    ) -> Iterator[Loss]:
        """Add the gradient of one micro-batch after the other to the parameters' `grad`; yields its sums after each.

        The parts of all workers add up to the gradient of the whole batch's summed loss. `micro_batches` are held one
        at a time. Every worker of `group` must go through this, for the same batch, also one without any.
        """
        if self.accumulate:
            yield from self.accumulate(model, micro_batches, group)
            return
        beside = (reference,) if self.needs_reference else ()
        for batch in micro_batches:
            found = self.loss(model, batch, *beside)
            found.loss_sum.backward()
            yield found.detached()


def z_loss_of(phase: TrainPhase, samples: Samples) -> dict[str, Any]:
    """The phase's z_loss, for `Objective.settings`."""
    return {"z_loss": phase.z_loss}


def next_token_loss(
    model: nn.Module, batch: Batch, z_loss: float = 0.0, *, whole: bool = False
) -> tuple[Loss, torch.Tensor]:
    """Cross-entropy of each label that counts, summed, and how many of them were the likeliest token.

    `whole` says that every label counts: then nobody has to look, for which a GPU would have to be waited for.

    Padding stands on the right, where a causal model's earlier positions cannot see it: no attention mask is needed,
    which keeps attention on its fast path. Positions that start anew in a row keep attention from crossing there. What
    samples hold beside text goes to the model by its name.

    The losses of a model's routers are part of the gradient, each micro-batch's with the weight of its targets, and
    not of the value: what is shown stays the cross-entropy, which a dense model can be compared by. So is z-loss.
    """
    routed = has_experts(getattr(model, "config", None))
    asked = {"output_router_logits": True} if routed else {}
    inputs = {
        "input_ids": batch.input_ids,
        "position_ids": batch.position_ids,
        "use_cache": False,
        **batch.tensors,
        **asked,
    }
    loss, correct, found = summed_cross_entropy(model, batch.labels, z_loss=z_loss, whole=whole, **inputs)
    num_targets = batch.labels.numel() if whole else int((batch.labels != IGNORED).sum())
    if routed:
        router = router_loss(model.config, found.router_logits, batch.attention_mask.bool().flatten())
        loss = loss + num_targets * (router - router.detach())
    return Loss(loss, num_targets), correct
