"""A plan in words: a line for a log, a page of Markdown for a person."""

from components.planning.plan import Plan

HOUR = 3600.0


def summary(plan: Plan) -> str:
    """One line: parameters, tokens, FLOPs, memory and time."""
    return (
        f"{_count(plan.parameters)} parameters, {_count(plan.tokens)} tokens, {plan.flops:.2g} FLOPs, "
        f"{plan.memory_bytes / 2**30:.1f} GiB of memory, about {duration(plan.seconds)} of training on {plan.machine.cores} cores "
        f"({plan.machine.flops / 1e9:.0f} GFLOP/s measured)"
    )


def markdown(plan: Plan) -> str:
    """The whole plan: totals, a row for each phase, and what was assumed."""
    rows = "\n".join(
        f"| {p.name} | {p.tokens:,} | {p.steps:,} | {p.flops:.3g} | {p.memory_bytes / 2**30:.2f} | {duration(p.seconds)} |"
        for p in plan.phases
    )
    assumed = "\n".join(f"- {line}" for line in plan.assumptions)
    cost = (
        f"{plan.money.amount:,.2f} {plan.money.currency}" if plan.money.amount else "no price is set for this machine"
    )
    return (
        f"{summary(plan)}\n\n| phase | tokens | steps | FLOPs | memory (GiB) | time |\n|---|---|---|---|---|---|\n{rows}\n\n"
        f"Parameters: {plan.parameters:,} ({plan.active_parameters:,} active). Cost: {cost}.\n\nAssumed:\n{assumed}\n"
    )


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"


def _count(number: float) -> str:
    for size, sign in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{sign}"
    return f"{number:g}"
