"""How a phase is divided over its workers. The loop and the objectives do not know which way it is."""

from torch import nn

from components.recipe import TrainPhase
from components.training.group import Group
from components.training.objectives.base import Objective
from components.training.parallel.base import Parallel
from components.training.parallel.replicated import Replicated
from components.training.parallel.reproducible import Reproducible


def divided(phase: TrainPhase, model: nn.Module, objective: Objective, group: Group) -> Parallel:
    """`model` divided over the workers of `group` as `phase` says."""
    return _way(phase)(phase, model, objective.metrics, group)


def _way(phase: TrainPhase) -> type[Parallel]:
    if phase.parallel == "fsdp":
        from components.training.parallel.sharded import Sharded  # torch takes seconds to load what it needs

        return Sharded
    return Reproducible if phase.reproducible else Replicated
