"""What one phase takes on this machine: from real steps of it where there are any, else from formulas."""

import math

from components.flops import SampleFlops
from components.hyperparameters import advice
from components.planning.accelerators import Accelerators
from components.planning.architecture import Architecture
from components.planning.budget import Data, each_caption, length
from components.planning.machine import Machine
from components.planning.memory import Memory, memory
from components.planning.placing import ROOM, Placement, Work, placement
from components.planning.timing import START_SECONDS, UTILISATION, StepCost, loop_seconds, rate
from components.recipe import Recipe, TrainPhase
from components.recipe.fields import Strict

PROCESS_BYTES = 450 * 2**20
"""What a worker is assumed to hold before it has a model (Python, torch, transformers) where it was not measured."""
CONNECTED_BYTES = 40 * 2**20
"""What a worker holds beyond as it is connected to Ray, which a trial is not (docs/performance.md)."""
ADAPTER_RANK = 16
"""Of the adapter that a phase which trains all weights is compared with."""


class Hyperparameter(Strict):
    """One that published rules know, as the recipe has it and as the rule would have it."""

    name: str
    value: float | str
    rule: float | str
    source: str


class PhasePlan(Strict):
    """What one phase takes on this machine, and where else it would fit."""

    name: str
    batch_size: int
    learning_rate: float
    hyperparameters: tuple[Hyperparameter, ...]
    """Those that a rule holds for; none where the phase is not pretraining with a token budget."""
    trained_parameters: int
    tokens: int
    steps: int
    flops: float
    attention_flops: float
    memory: Memory
    """Of one worker."""
    memory_bytes: int
    """Over all workers."""
    loop_seconds: float
    """From the first step to the last."""
    seconds: float
    measured: bool
    """Whether time and memory come from real steps of this very phase, or from formulas."""
    change: str
    """What to change as it does not fit into this machine's cores or memory; empty where it does."""
    accelerators: tuple[Placement, ...]
    instead: tuple[Placement, ...]
    """For a phase that starts from weights: an adapter in place of all weights, or all weights in place of an adapter."""


def work_of(
    phase: TrainPhase, recipe: Recipe, shapes: Architecture, tokens: float, counted: SampleFlops | None = None
) -> Work:
    """What `phase` computes; `counted` is what a sample of it takes, where that was counted."""
    if shapes.patches:  # what is read of a sample is its image; the caption is little beside it
        tokens = tokens / each_caption(recipe) * shapes.patches
        counted = counted and SampleFlops(*(flops / shapes.patches for flops in counted))
    return Work(
        shapes,
        tokens,
        recipe.prepare.context,
        phase.precision,
        adapter_rank(phase),
        phase.activation_checkpointing,
        counted if shapes.patches else None,
    )


def adapter_rank(phase: TrainPhase) -> int | None:
    """The rank of the phase's adapter; None where it trains all weights."""
    return phase.adapter.rank if phase.adapter else None


def phase_plan(
    phase: TrainPhase,
    recipe: Recipe,
    machine: Machine,
    shapes: Architecture,
    data: Data,
    table: Accelerators,
    cost: StepCost | None,
    counted: SampleFlops | None,
    utilisation: float,
) -> PhasePlan:
    """The plan of one phase, whose model has these `shapes`; at that `utilisation` where it has no `cost`."""
    steps, tokens = length(phase, recipe, data)
    work, workers = work_of(phase, recipe, shapes, tokens, counted), phase.most_workers
    held = memory_here(phase, work, cost, steps)
    alone = cost.step_seconds if cost else work.flops / steps / rate(phase, machine, utilisation)
    loop = loop_seconds(phase, machine, steps, alone, cost)
    based = phase.init != "random"
    other = work.with_rank(ADAPTER_RANK if work.adapter_rank is None else None)
    return PhasePlan(
        name=phase.name,
        batch_size=phase.batch_size,
        learning_rate=phase.learning_rate,
        hyperparameters=hyperparameters(phase, recipe),
        trained_parameters=work.trained,
        tokens=tokens,
        steps=steps,
        flops=work.weight_flops,
        attention_flops=work.attention_flops,
        memory=held,
        memory_bytes=workers * held.total,
        loop_seconds=loop,
        seconds=loop + (START_SECONDS if phase.num_workers else 0),
        measured=cost is not None,
        change=_change(phase, work, workers * held.total, machine),
        accelerators=tuple(placement(name, table, work, based) for name in table.accelerators),
        instead=tuple(placement(name, table, other, based) for name in table.accelerators) if based else (),
    )


def hyperparameters(phase: TrainPhase, recipe: Recipe) -> tuple[Hyperparameter, ...]:
    """What published rules say of the phase, beside what the recipe does."""
    found = advice(phase.model_dump(), recipe.family, recipe.size, recipe.prepare.vocab_size, recipe.prepare.context)
    return tuple(
        Hyperparameter(name=name, value=getattr(phase, name), rule=rule.value, source=rule.source)
        for name, rule in found.items()
    )


def memory_here(phase: TrainPhase, work: Work, cost: StepCost | None = None, steps: int = 1) -> Memory:
    """Memory of one worker after so many steps: the state by its size, the rest as it was measured, or by formula."""
    share = math.ceil(phase.batch_size * phase.tensor_parallel / phase.most_workers)
    samples = min(share, getattr(phase, "micro_batch_size", None) or share)
    held = memory(
        work.shapes,
        samples * work.context,
        process=PROCESS_BYTES,
        precision=work.precision,
        adapter_rank=work.adapter_rank,
        checkpointing=work.checkpointing,
        devices=phase.most_workers if phase.parallel == "fsdp" else 1,
    )
    if cost is None:
        return held
    grown = round(cost.growth_bytes * max(0.0, math.log(steps / cost.steps)))
    rest = max(0, cost.peak_bytes + grown - cost.process_bytes - held.weights - held.gradients - held.optimizer)
    process = cost.process_bytes + (CONNECTED_BYTES if phase.num_workers else 0)
    return held.model_copy(update={"activations": rest, "process": process})


def step_seconds(
    phase: TrainPhase,
    recipe: Recipe,
    shapes: Architecture,
    machine: Machine,
    data: Data,
    counted: SampleFlops | None = None,
    utilisation: float = UTILISATION,
) -> float:
    """Seconds of one optimizer step that has the machine to itself, by formula."""
    steps, tokens = length(phase, recipe, data)
    read = phase.batch_size * each_caption(recipe) if shapes.patches else tokens / steps
    return work_of(phase, recipe, shapes, read, counted).flops / rate(phase, machine, utilisation)


def _change(phase: TrainPhase, work: Work, needed: int, machine: Machine) -> str:
    """What to change where a phase does not fit into this machine."""
    fewest = phase.worker_range[0]
    if fewest > machine.cores:
        return f"{fewest} workers of one core each, and there are {machine.cores}: take num_workers = {machine.cores}"
    if needed <= ROOM * machine.memory_bytes:
        return ""
    words = f"{needed / 2**30:.1f} GiB of {machine.memory_bytes / 2**30:.1f}: "
    one = phase.model_copy(update={"num_workers": 0, "batch_size": 1})
    choices = {
        "batch_size = 1 and num_workers = 0": work,
        "batch_size = 1, num_workers = 0 and activation_checkpointing = true": work._replace(checkpointing=True),
    }
    if phase.init != "random" and work.adapter_rank is None:
        choices["batch_size = 1, num_workers = 0 and an adapter"] = work.with_rank(ADAPTER_RANK)
    for change, changed in choices.items():
        if memory_here(one, changed).total <= ROOM * machine.memory_bytes:
            return f"{words}{change} makes it fit"
    return f"{words}take one of the accelerators, or a smaller size"
