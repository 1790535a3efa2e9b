"""What the loop needs of a model that is divided over workers in some way."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from components.recipe import TrainPhase
from components.training.batch import Batch
from components.training.checkpoint import Checkpoint
from components.training.group import Group
from components.training.loader import Loader
from components.training.objectives.base import Loss
from components.training.pieces import Part


@dataclass
class Sums:
    """What is summed over the workers beside the gradients."""

    loss: float
    num_targets: int
    num_tokens: int
    metrics: list[float]


class Parallel(ABC):
    """One worker's part of a model, its gradients and its optimizer.

    A step is `begin`, then `take` after each micro-batch's backward pass, then `mean`; every worker makes the same calls.

    Context parallelism (the positions of a row over several workers, Liu et al. 2023, "Ring Attention") is not written yet,
    and would be one more way: a third dimension of the mesh, `micro_batches` that give each worker its positions of the
    same rows (labels are shifted already, so positions need no neighbours), attention that passes keys and values round
    the ring, and sums that add up over that dimension too. Loop, objectives and checkpoints would stay as they are.
    """

    optimizer: torch.optim.Optimizer
    num_parts = 1
    """In how many parts a checkpoint is written, each by a worker of its own: all by rank 0, or one by each."""

    def __init__(self, phase: TrainPhase, model: nn.Module, metrics: Sequence[str], group: Group) -> None:
        self.phase, self.model, self.metrics, self.group = phase, model, metrics, group
        self.data = group
        """The workers that take different samples: all of them, unless a layer is divided over several."""

    def micro_batches(self, loader: Loader, step: int) -> list[Batch]:
        """This worker's part of the batch of `step`, in the pieces in which it goes through the model."""
        place = {"rank": self.data.rank, "world_size": self.data.world_size}
        return loader.micro_batches(step, size=self.phase.micro_batch_size, **place)

    def frozen(self, model: nn.Module) -> nn.Module:
        """A model beside the trained one, divided in the same way."""
        return model

    @abstractmethod
    def begin(self) -> None:
        """Forget gradients and sums of the step before."""

    @abstractmethod
    def take(self, found: Loss, num_tokens: int) -> None:
        """Count the sums of a micro-batch, whose gradient has been added to the parameters' `grad`."""

    @abstractmethod
    def mean(self) -> Sums:
        """The sums over all workers; the parameters' `grad` is now the gradient of the mean loss over all targets."""

    @abstractmethod
    def norm(self) -> float:
        """The length of the whole gradient, the same on every worker."""

    @abstractmethod
    def scale(self, factor: float) -> None:
        """Multiply the gradient."""

    @abstractmethod
    def part(self) -> Part:
        """This worker's part of the weights and moments that a checkpoint has; all of it, where there is one part."""

    @abstractmethod
    def restore(self, found: Checkpoint | None, updates: int) -> None:
        """Bring everyone to the checkpoint `found`, after so many updates; or to rank 0's first weights, without one.

        Where a checkpoint is one part, only rank 0 has it.
        """

    def numbers(self, found: Loss, num_tokens: int) -> torch.Tensor:
        """The sums of a micro-batch, fp32 (3 + metrics,), to be added up; where the loss is, so that no GPU is waited for."""
        zero = torch.zeros((), device=found.loss_sum.device)
        numbers: list[Any] = [
            found.loss_sum,
            found.num_targets,
            num_tokens,
            *(found.metric_sums[name] for name in self.metrics),
        ]
        return torch.stack([(zero + number).float() for number in numbers])


def sums_of(numbers: Sequence[float]) -> Sums:
    """What `Parallel.numbers` wrote, added up."""
    loss, num_targets, num_tokens, *metrics = numbers
    return Sums(loss, int(num_targets), int(num_tokens), metrics)
