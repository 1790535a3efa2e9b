"""A plan in words: a line for a log, a page of Markdown for a person."""

from collections.abc import Sequence

from components.planning.memory import Memory
from components.planning.phases import PhasePlan
from components.planning.placing import Placement
from components.planning.plan import Plan, Totals

HOUR = 3600.0
KINDS = ("weights", "gradients", "optimizer", "activations", "process")


def summary(plan: Plan) -> str:
    """One line: parameters, tokens, FLOPs, memory and time."""
    return (
        f"{count(plan.parameters)} parameters, {count(plan.tokens)} tokens, {plan.flops:.2g} FLOPs, "
        f"{plan.memory_bytes / 2**30:.1f} GiB of memory, about {duration(plan.seconds)} of training on {plan.machine.cores} cores "
        f"({plan.machine.flops / 1e9:.0f} GFLOP/s measured)"
    )


def markdown(plan: Plan) -> str:
    """The whole plan: totals, what each phase takes here, the accelerators, full against LoRA, and what was assumed."""
    active = f" ({plan.active_parameters:,} active)" if plan.active_parameters != plan.parameters else ""
    cost = (
        f"{plan.money.amount:,.2f} {plan.money.currency}" if plan.money.amount else "no price is set for this machine"
    )
    parts = [
        summary(plan),
        f"Parameters: {plan.parameters:,}{active}. FLOPs: {plan.flops:.4g}, and attention {plan.attention_flops:.3g}. "
        f"Here: {plan.energy_kwh:,.3g} kWh; {cost}.",
        "\n".join(_here(plan)),
        *(f"{phase.name} does not fit here: {phase.change}." for phase in plan.phases if phase.change),
        *("\n".join(_by_rule(phase)) for phase in plan.phases if phase.hyperparameters),
        "\n".join(_elsewhere(plan)),
        *("\n".join(_compared(phase, plan.money.currency)) for phase in plan.phases if phase.instead),
        "Assumed:\n" + "\n".join(f"- {line}" for line in plan.assumptions),
    ]
    return "\n\n".join(parts) + "\n"


def _here(plan: Plan) -> list[str]:
    """A row for each phase on this machine, with one worker's memory by kind."""
    rows = [
        (
            phase.name,
            f"{phase.batch_size}",
            f"{phase.learning_rate:.2g}",
            f"{phase.tokens:,}",
            f"{phase.steps:,}",
            f"{phase.flops + phase.attention_flops:.3g}",
            *_kinds(phase.memory),
            f"{phase.memory_bytes / 2**30:.2f}",
            f"{duration(phase.seconds)}{'' if phase.measured else ' (formula)'}",
        )
        for phase in plan.phases
    ]
    titles = ("phase", "batch", "rate", "tokens", "steps", "FLOPs", *KINDS, "all workers (GiB)", "time")
    return table(titles, rows)


def _by_rule(phase: PhasePlan) -> list[str]:
    """The hyperparameters of a phase beside what published rules give for its size and tokens."""
    rows = [(h.name, _value(h.value), _value(h.rule), h.source) for h in phase.hyperparameters]
    return table((phase.name, "recipe", "by rule", "the rule"), rows)


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _elsewhere(plan: Plan) -> list[str]:
    titles = ("accelerator", "fits on one", "devices", "hours", "device hours", "kWh", plan.money.currency, "or")
    return table(titles, [_row(each, each.change) for each in plan.accelerators])


def _compared(phase: PhasePlan, currency: str) -> list[str]:
    """Full against LoRA, accelerator by accelerator."""
    titles = (f"{phase.name} on", "trains", "devices", *KINDS, "device hours", currency)
    rows = []
    for each in (one for pair in zip(phase.accelerators, phase.instead, strict=True) for one in pair):
        what = "all weights" if each.adapter_rank is None else f"LoRA, rank {each.adapter_rank}"
        number = str(each.devices or "none")
        money = f"{each.money:,.2f}"
        rows.append((each.accelerator, what, number, *_kinds(each.memory), f"{each.device_hours:,.3g}", money))
    return table(titles, rows)


def _row(each: Totals | Placement, last: str) -> tuple[str, ...]:
    hours = "none" if each.hours is None else f"{each.hours:,.3g}"
    fits = "yes" if each.fits else "no"
    cost = (f"{each.device_hours:,.3g}", f"{each.energy_kwh:,.3g}", f"{each.money:,.2f}")
    return (each.accelerator, fits, str(each.devices or "none"), hours, *cost, last)


def _kinds(held: Memory) -> tuple[str, ...]:
    return tuple(f"{getattr(held, kind) / 2**30:.2f}" for kind in KINDS)


def table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A Markdown table whose columns are aligned, so that it reads well in a terminal too."""
    widths = [max(len(cell) for cell in column) for column in zip(titles, *rows, strict=True)]
    lines = [titles, tuple("-" * width for width in widths), *rows]
    return [f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines]


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:,.1f} h"


def count(number: float) -> str:
    """A number for people, in three digits."""
    for size, sign in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{sign}"
    return f"{number:g}"
