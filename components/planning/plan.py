"""The plan of a recipe: what each phase takes and what it costs on this machine."""

import math

from components.models import family
from components.planning.compute import (
    activation_bytes,
    attention_flops,
    bytes_per_token,
    state_bytes,
    training_flops,
    utilisation,
)
from components.planning.machine import Machine
from components.recipe import Recipe, Strict, TrainPhase

PROCESS_BYTES = 450 * 2**20
"""What a worker holds before it has a model: Python, torch, transformers, Ray."""
START_SECONDS = 20.0
"""Ray Train before and after its work, per phase."""
STEP_SECONDS_PER_PARAMETER = 1.5e-8
"""What a step takes beside its products: optimizer, all-reduce, copies. An estimate from one run of 2m (977 steps)."""


class Money(Strict):
    """An amount in a currency."""

    amount: float
    currency: str


class PhasePlan(Strict):
    """What one phase takes."""

    name: str
    tokens: int
    steps: int
    flops: float
    memory_bytes: int
    seconds: float


class Plan(Strict):
    """What a recipe takes: sums over its phases, and for memory the largest."""

    parameters: int
    active_parameters: int
    """Parameters that work on each token; all of them, as no family here has experts."""
    tokens: int
    flops: float
    memory_bytes: int
    """At the busiest moment, over all workers."""
    seconds: float
    money: Money
    phases: tuple[PhasePlan, ...]
    machine: Machine
    assumptions: tuple[str, ...]


def plan(
    recipe: Recipe,
    machine: Machine,
    source_bytes: dict[str, int],
    source_lines: dict[str, int] | None = None,
    price_per_hour: float = 0.0,
    currency: str = "USD",
) -> Plan:
    """What `recipe` would take on `machine`; runs nothing.

    `source_bytes` holds the size of every source by name, from which phases with `epochs` estimate their tokens;
    `source_lines` the lines of those that are JSON lines, which are the samples of a phase that trains on them.
    Raises UnknownName for a family or size that does not exist.
    """
    parameters = family(recipe.family).parameters(recipe.size, recipe.prepare.vocab_size)
    phases = tuple(
        _phase(phase, recipe, machine, parameters, source_bytes, source_lines or {}) for phase in recipe.train
    )
    seconds = sum(phase.seconds for phase in phases)
    return Plan(
        parameters=parameters,
        active_parameters=parameters,
        tokens=sum(phase.tokens for phase in phases),
        flops=sum(phase.flops for phase in phases),
        memory_bytes=max(phase.memory_bytes for phase in phases),
        seconds=seconds,
        money=Money(amount=round(seconds / 3600 * price_per_hour, 4), currency=currency),
        phases=phases,
        machine=machine,
        assumptions=_assumptions(recipe),
    )


def _phase(
    phase: TrainPhase,
    recipe: Recipe,
    machine: Machine,
    parameters: int,
    source_bytes: dict[str, int],
    source_lines: dict[str, int],
) -> PhasePlan:
    fields, context = family(recipe.family).fields(recipe.size), recipe.prepare.context
    workers = max(1, phase.num_workers)
    per_step = phase.batch_size * context
    wanted = _tokens(phase, recipe, source_bytes)
    steps, tokens = max(1, math.ceil(wanted / per_step)), max(1, math.ceil(wanted / per_step)) * per_step
    lines = source_lines.get(phase.data.removeprefix("source:"))
    if lines and phase.epochs:  # one chat is one sample, padded in its batch and not packed
        steps, tokens = math.ceil(phase.epochs * lines / phase.batch_size), math.ceil(wanted)
    flops = training_flops(parameters, tokens)
    busy = min(machine.cores, workers * phase.threads) / machine.threads
    rate = machine.flops * busy * utilisation(fields)
    activations = activation_bytes(fields, recipe.prepare.vocab_size, math.ceil(phase.batch_size / workers) * context)
    return PhasePlan(
        name=phase.name,
        tokens=tokens,
        steps=steps,
        flops=flops,
        memory_bytes=workers * (PROCESS_BYTES + state_bytes(parameters) + activations),
        seconds=(flops + attention_flops(fields, tokens, context)) / rate
        + steps * parameters * STEP_SECONDS_PER_PARAMETER
        + (START_SECONDS if phase.num_workers else 0),
    )


def _tokens(phase: TrainPhase, recipe: Recipe, source_bytes: dict[str, int]) -> float:
    """The token budget of a phase, or its epochs over what its sources hold."""
    if phase.tokens is not None:
        return phase.tokens
    assert phase.epochs is not None
    if phase.data == "corpus":
        size = sum(source_bytes[source.name] for source in recipe.with_role("documents")) * (1 - recipe.curate.held_out)
    else:
        size = source_bytes[phase.data.removeprefix("source:")]
    return phase.epochs * size / bytes_per_token(recipe.prepare.vocab_size)


def _assumptions(recipe: Recipe) -> tuple[str, ...]:
    share = utilisation(family(recipe.family).fields(recipe.size))
    assumed = [
        f"Training reaches {share:.0%} of the measured peak of matrix products (fitted to small models on CPU cores).",
        f"Each step takes {STEP_SECONDS_PER_PARAMETER * 1e9:.0f} ns per parameter beside its products (an estimate).",
        f"A phase on Ray Train takes {START_SECONDS:.0f} s to start and end.",
        "Memory: fp32 weights, gradients and AdamW moments in every worker, and the activations of its share.",
    ]
    if any(phase.epochs is not None for phase in recipe.train):
        each = bytes_per_token(recipe.prepare.vocab_size)
        assumed.append(f"Epochs: {each:.1f} bytes per token, and curation drops nothing but the held-out documents.")
    return tuple(assumed)
