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
    made: type[Parallel] = Reproducible if phase.reproducible else Replicated
    return made(phase, model, objective.metrics, group)
