"""The plan of a recipe: what its phases take, here and on accelerators, and what they cost."""

from collections.abc import Mapping

from components.flops import SampleFlops
from components.planning.accelerators import Accelerators, accelerators
from components.planning.architecture import Architecture, architecture, folder_architecture
from components.planning.assumptions import assumptions
from components.planning.budget import Data
from components.planning.machine import Machine
from components.planning.phases import PhasePlan, phase_plan, step_seconds
from components.planning.timing import UTILISATION, StepCost, cores
from components.recipe import Recipe, TrainPhase
from components.recipe.fields import Strict


class Money(Strict):
    """An amount in a currency."""

    amount: float
    currency: str


class Totals(Strict):
    """All phases, one after the other, on one kind of accelerator."""

    accelerator: str
    fits: bool
    """Every phase on one device."""
    devices: int | None
    """As many as the largest phase needs; None where one does not fit on any number."""
    hours: float | None
    device_hours: float
    energy_kwh: float
    money: float
    change: str


class Plan(Strict):
    """What a recipe takes: sums over its phases, and for memory the largest."""

    parameters: int
    active_parameters: int
    """Parameters that work on each token: of experts only those that it is sent to."""
    tokens: int
    flops: float
    """Products with the weights, as published figures count them: 6ND, 4ND for weights that are frozen; where a
    phase learns from pictures, those of its networks as they were counted."""
    attention_flops: float
    """What attention adds under a causal mask; times are computed from both."""
    memory_bytes: int
    """At the busiest moment, over all workers."""
    seconds: float
    energy_kwh: float
    money: Money
    fits: bool
    """Into this machine's memory."""
    phases: tuple[PhasePlan, ...]
    accelerators: tuple[Totals, ...]
    machine: Machine
    assumptions: tuple[str, ...]


def plan(
    recipe: Recipe,
    machine: Machine,
    data: Data,
    *,
    table: Accelerators | None = None,
    measured: Mapping[str, StepCost] | None = None,
    counted: Mapping[str, SampleFlops] | None = None,
) -> Plan:
    """What `recipe` would take on `machine` and on the accelerators of `table`; runs nothing.

    `measured` is what real steps of a phase took, by its name, and `counted` the FLOPs of one of its samples; the others
    go by formulas. Raises UnknownName for a
    family or size that does not exist, InputError for a folder that holds no model.
    """
    table, measured, counted = table or accelerators(), measured or {}, counted or {}
    models = architectures(recipe, data)
    utilisation = _utilisation(recipe, machine, data, models, measured, counted)

    def planned(phase: TrainPhase) -> PhasePlan:
        cost, flops = measured.get(phase.name), counted.get(phase.name)
        return phase_plan(phase, recipe, machine, models[phase.name], data, table, cost, flops, utilisation)

    phases = tuple(map(planned, recipe.train))
    seconds, last = sum(phase.seconds for phase in phases), models[recipe.train[-1].name]
    busy = sum(cores(phase, machine) * made.seconds for phase, made in zip(recipe.train, phases, strict=True))
    return Plan(
        parameters=last.parameters,
        active_parameters=last.active_parameters,
        tokens=sum(phase.tokens for phase in phases),
        flops=sum(phase.flops for phase in phases),
        attention_flops=sum(phase.attention_flops for phase in phases),
        memory_bytes=max(phase.memory_bytes for phase in phases),
        seconds=seconds,
        energy_kwh=table.machine.watts_per_core * busy / 3.6e6,
        money=Money(amount=round(seconds / 3600 * table.machine.price_per_hour, 4), currency=table.currency),
        fits=not any(phase.change for phase in phases),
        phases=phases,
        accelerators=tuple(_totals(number, phases) for number in range(len(table.accelerators))),
        machine=machine,
        assumptions=assumptions(recipe, machine, phases, table, data, utilisation),
    )


def architectures(recipe: Recipe, data: Data) -> dict[str, Architecture]:
    """The model of every phase, and what the phase freezes of it: of the recipe's family and size, or as large as the base."""

    def read(freeze: tuple[str, ...]) -> Architecture:
        if recipe.size is None:
            assert data.base is not None, "a recipe without a size has a base"
            return folder_architecture(data.base, freeze)
        vocab_size = data.corpus_vocab_size or recipe.prepare.vocab_size
        return architecture(recipe.family, recipe.size, vocab_size, freeze)

    found = {freeze: read(freeze) for freeze in {phase.freeze for phase in recipe.train}}
    return {phase.name: found[phase.freeze] for phase in recipe.train}


def _totals(number: int, phases: tuple[PhasePlan, ...]) -> Totals:
    """The phases on the accelerator that is `number` in the table."""
    on = [phase.accelerators[number] for phase in phases]
    needed = [each.devices for each in on]
    devices = None if None in needed else max(each for each in needed if each)
    device_hours = sum(each.device_hours for each in on)
    return Totals(
        accelerator=on[0].accelerator,
        fits=all(each.fits for each in on),
        devices=devices,
        hours=device_hours / devices if devices else None,
        device_hours=device_hours,
        energy_kwh=sum(each.energy_kwh for each in on),
        money=sum(each.money for each in on),
        change="; ".join(f"{phase.name}: {each.change}" for phase, each in zip(phases, on, strict=True) if each.change),
    )


def _utilisation(
    recipe: Recipe,
    machine: Machine,
    data: Data,
    models: Mapping[str, Architecture],
    measured: Mapping[str, StepCost],
    counted: Mapping[str, SampleFlops],
) -> float:
    """The part of this machine's peak that is assumed of phases that were not tried: what another of the recipe reached."""
    for phase in recipe.train:
        if cost := measured.get(phase.name):
            at_peak = step_seconds(phase, recipe, models[phase.name], machine, data, counted.get(phase.name), 1.0)
            return at_peak / cost.step_seconds
    return UTILISATION
