"""Data parallelism: the whole model in every worker, the gradients summed over them."""

from collections.abc import Sequence

from torch import nn

from components.recipe import TrainPhase
from components.training.adapters import trained
from components.training.checkpoint import Checkpoint
from components.training.flat import FlatModel
from components.training.group import Group
from components.training.model import put_weights
from components.training.objectives.base import Loss
from components.training.optimizers import make_optimizer
from components.training.parallel.base import Parallel, Sums, sums_of
from components.training.pieces import Part


class Replicated(Parallel):
    """One flat vector holds all gradients and sums, so that one sum over the workers moves everything."""

    def __init__(self, phase: TrainPhase, model: nn.Module, metrics: Sequence[str], group: Group) -> None:
        super().__init__(phase, model, metrics, group)
        self.flat = FlatModel(model, num_sums=3 + len(metrics), group=group)
        self.optimizer = make_optimizer(phase, self.flat, model)

    def begin(self) -> None:
        """Zero the vector."""
        self.flat.reduced.zero_()

    def take(self, found: Loss, num_tokens: int) -> None:
        """Add the sums to the tail of the vector."""
        self.flat.sums.add_(self.numbers(found, num_tokens))

    def mean(self) -> Sums:
        """Add up over the workers, and divide by the number of targets."""
        self.add_up()
        sums = sums_of(self.flat.sums.tolist())
        self.flat.gradients.div_(max(1, sums.num_targets))
        return sums

    def add_up(self) -> None:
        """Sum the vector over the workers."""
        self.flat.summed.add()

    def norm(self) -> float:
        """The norm of the vector."""
        return float(self.flat.gradients.norm())

    def scale(self, factor: float) -> None:
        """Multiply the vector."""
        self.flat.gradients.mul_(factor)

    def part(self) -> Part:
        """All of it."""
        model = {name: parameter.detach() for name, parameter in trained(self.model).items()}
        return Part({"model": model, "optimizer": self.flat.moments()})

    def restore(self, found: Checkpoint | None, updates: int) -> None:
        """Rank 0's vectors go to all."""
        if found is not None:
            put_weights(self.model, found.tensors("model"), str(found.folder))
            saved = found.tensors("optimizer")
            for name, moment in self.flat.moments().items():
                moment.copy_(saved[name])
        self.group.share(self.flat.values, self.flat.exp_avg, self.flat.exp_avg_sq)
        for state in self.optimizer.state.values():
            state["step"].fill_(updates)
