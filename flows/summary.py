"""How a run ended, as `--json` prints it and the terminal shows it."""

from typing import Any

from components.ledger import Ledger, runs
from components.ledger.database import now
from components.ledger.tables import RunRow


def summary(ledger: Ledger, row: RunRow) -> dict[str, Any]:
    """What `run --json` prints."""
    outcome = row.outcome or {}
    status = {"submitted": "running"}.get(row.status, row.status)
    return {
        "run": row.id,
        "status": status,
        "steps": [
            {
                "name": s.name,
                "identity": s.identity,
                "status": s.status,
                "seconds": round(s.seconds, 2),
                "budget_seconds": s.budget,
            }
            for s in runs.steps_of(ledger, row.id)
        ],
        "acts": [
            {"name": a.name, "changed": a.changed, "seconds": round(a.seconds, 2)} for a in runs.acts_of(ledger, row.id)
        ],
        "model": outcome.get("model"),
        "scores": outcome.get("scores", {}),
        "stderr": outcome.get("stderr", {}),
        "gate": outcome.get("gate", []),
        "decision": outcome.get("decision"),
        "plan": outcome.get("plan"),
        "costs": outcome.get("costs", []),
        "scaling": outcome.get("scaling"),
        "endpoint": outcome.get("endpoint"),
        "example": outcome.get("example"),
        "reports": outcome.get("reports", {}),
        "error": (row.error or {}).get("message"),
        "flow_run": row.flow_run,
        "seconds": max(0.0, round((row.finished or now()) - row.created, 1)),  # a clock may have been put back
    }
