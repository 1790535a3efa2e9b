"""What training took beside what the plan had said, for the run's record and for people."""

from typing import Any

from components.ledger import runs, work
from flows.passage import Passage

COMPARED = {"seconds": "loop_seconds", "memory_bytes": "memory_bytes", "tokens": "tokens", "flops": "flops"}
"""What is compared -> its name in the plan of a phase and in the facts of a step."""


def keep_costs(run: Passage, phase: str, identity: str) -> None:
    """Put the actual figures of a phase beside the planned ones in the record of `run`, where it was planned."""
    row = work.step(run.ledger, identity)
    planned = next((p for p in run.outcome.get("plan", {}).get("phases", []) if p["name"] == phase), None)
    if planned is None or row is None or not row.facts:
        return
    run.outcome.setdefault("costs", []).append(beside(planned, row.facts))
    runs.note(run.ledger, run.id, run.outcome)


def beside(planned: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """{"phase", "measured", "estimated", "actual", "off"}: `off` is estimate over actual, less 1; what is unknown is left out."""
    estimated = {name: planned[key] for name, key in COMPARED.items()}
    actual = {name: facts[key] for name, key in COMPARED.items() if facts.get(key)}
    off = {name: round(estimated[name] / value - 1, 4) for name, value in actual.items()}
    return {
        "phase": planned["name"],
        "measured": planned["measured"],
        "estimated": estimated,
        "actual": actual,
        "off": off,
    }
