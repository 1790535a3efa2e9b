"""What the steps of a phase take on this machine, alone and in a run: from real steps of it, or at a part of the peak."""

from components.planning.machine import Machine
from components.recipe import TrainPhase
from components.recipe.fields import Strict

UTILISATION = 0.5
"""The part of this machine's peak that is assumed where no step of the recipe was measured."""
START_SECONDS = 20.0
"""Ray Train before and after its work."""
SERVICES_CORES = 0.45
"""Of this machine, lost to Ray, Prefect, MLflow and the models served beside a loop that keeps all cores busy: what the
plans of three recipes lacked (docs/performance.md)."""


class StepCost(Strict):
    """What real steps of a phase took on this machine."""

    step_seconds: float
    """Of one optimizer step that has the machine to itself."""
    first_seconds: float
    """By how much the first is longer: allocation, compilation."""
    checkpoint_seconds: float
    """How long a checkpoint keeps the loop waiting."""
    process_bytes: int
    """Of one worker, before it has a model."""
    peak_bytes: int
    """Of one worker, at its busiest."""
    growth_bytes: float
    """By which that grows while steps become e times as many, as the heap fills up with blocks of other sizes."""
    steps: int
    """That were tried."""


def cores(phase: TrainPhase, machine: Machine) -> int:
    """Cores that a phase keeps busy."""
    return min(machine.cores, phase.most_workers * phase.threads)


def rate(phase: TrainPhase, machine: Machine, utilisation: float) -> float:
    """FLOP/s of a phase that has the machine to itself."""
    return machine.flops * cores(phase, machine) / machine.threads * utilisation


def sharing(phase: TrainPhase, machine: Machine) -> float:
    """How much longer steps take in a run, which shares the machine with the services, where they need every core."""
    left = machine.cores - SERVICES_CORES if cores(phase, machine) == machine.cores > 1 else machine.cores
    return machine.cores / left


def loop_seconds(phase: TrainPhase, machine: Machine, steps: int, alone: float, cost: StepCost | None) -> float:
    """Seconds from the first of `steps` to the last in a run; one of them takes `alone` by itself."""
    stepping = steps * alone * sharing(phase, machine)
    if cost is None:
        return stepping
    stepping += cost.first_seconds
    return stepping + stepping // phase.checkpoint_seconds * cost.checkpoint_seconds
