"""Runs in the ledger: opened, entered by one flow process at a time, ended with an outcome."""

import secrets
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from components.errors import LeaseLost
from components.ledger.database import Ledger, now
from components.ledger.tables import ActRow, RunRow, RunStepRow, StepRow

RUN_LEASE = 15.0
"""Seconds after which a run whose process is silent counts as left alone."""
LIVE = ("submitted", "running", "waiting")


def open_run(
    ledger: Ledger,
    name: str,
    recipe: dict[str, Any],
    recipe_digest: str,
    *,
    by: str,
    door: str,
    flow_run: str | None = None,
) -> RunRow:
    """The run to follow for a recipe: a living one of the same recipe where the command asks, else a new one.

    A flow run that was started from elsewhere (the UI, a schedule) has its own run, found again by `flow_run`.
    """
    with ledger.transaction() as session:
        known = select(RunRow).order_by(RunRow.created.desc())
        if flow_run:
            known = known.where(RunRow.flow_run == flow_run)
        else:
            known = known.where(RunRow.recipe_digest == recipe_digest, RunRow.status.in_(LIVE))
        if row := session.scalars(known).first():
            return row
        row = RunRow(
            id=f"{name}-{secrets.token_hex(4)}",
            name=name,
            recipe=recipe,
            recipe_digest=recipe_digest,
            started_by=by,
            door=door,
            flow_run=flow_run,
            status="submitted",
            attempt=0,
            lease=0.0,
            created=now(),
        )
        session.add(row)
        return row


def run(ledger: Ledger, run_id: str) -> RunRow | None:
    """The run of that id."""
    with ledger.reading() as session:
        return session.get(RunRow, run_id)


def bound(ledger: Ledger, run_id: str, flow_run: str) -> None:
    """Record the Prefect flow run that carries a run out."""
    with ledger.transaction() as session:
        session.get_one(RunRow, run_id).flow_run = flow_run


def enter(ledger: Ledger, run_id: str, resolved: dict[str, Any], commit: str | None, dirty: bool | None) -> RunRow:
    """Take a run over, in a new attempt; the process of any earlier attempt loses it. What was resolved first stays."""
    with ledger.transaction() as session:
        row = session.get_one(RunRow, run_id)
        if row.status == "cancelled":
            raise LeaseLost(f"Run {run_id} was cancelled.")
        row.attempt += 1
        row.status, row.lease, row.error, row.finished = "running", now() + RUN_LEASE, None, None
        if row.resolved is None:
            row.resolved, row.git_commit, row.git_dirty = resolved, commit, dirty
        return row


def renew(ledger: Ledger, run_id: str, attempt: int) -> None:
    """Say that this attempt is still at work; raises LeaseLost when another has entered or the run has ended."""
    with ledger.transaction() as session:
        row = session.get_one(RunRow, run_id)
        if row.attempt != attempt or row.status not in LIVE:
            raise LeaseLost(f"Run {run_id} goes on in another process, or was ended.")
        row.lease = now() + RUN_LEASE


def leave(
    ledger: Ledger,
    run_id: str,
    attempt: int | None,
    status: str,
    outcome: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    """Record how an attempt ended: completed, refused, failed, or waiting for a decision.

    A run that waits keeps its lease until its process has really suspended. Raises LeaseLost when another attempt has
    taken over; `attempt` is None for one who ends a run from outside.
    """
    with ledger.transaction() as session:
        row = session.get_one(RunRow, run_id)
        if attempt is not None and (row.attempt != attempt or row.status not in LIVE):
            raise LeaseLost(f"Run {run_id} goes on in another process, or was ended.")
        row.status, row.lease, row.error = status, now() + RUN_LEASE if status == "waiting" else 0.0, error
        row.outcome = {**(row.outcome or {}), **(outcome or {})}
        row.finished = None if status in LIVE else now()
        if status not in LIVE:
            _settle(session, run_id)


def met(
    ledger: Ledger, run_id: str, name: str, identity: str, status: str, seconds: float, budget: float | None
) -> None:
    """Record how a run met a step. A step that an earlier attempt of the same run executed stays executed."""
    with ledger.transaction() as session:
        row = session.get(RunStepRow, (run_id, name))
        if row is None:
            position = session.scalar(select(func.count()).select_from(RunStepRow).where(RunStepRow.run == run_id)) or 0
            row = RunStepRow(
                run=run_id,
                name=name,
                position=position,
                identity=identity,
                status=status,
                seconds=seconds,
                budget=budget,
            )
            session.add(row)
        if row.identity == identity and row.status == "executed" and status == "skipped":
            return
        work = session.get(StepRow, identity)
        if status == "skipped" and work is not None and work.run == run_id:
            status, seconds = "executed", (work.facts or {}).get("seconds", seconds)
        row.identity, row.status, row.seconds, row.budget = identity, status, seconds, budget


def acted(ledger: Ledger, run_id: str, name: str, changed: bool, seconds: float) -> None:
    """Record a reconciliation; a change made in any attempt of the run stays a change."""
    with ledger.transaction() as session:
        row = session.get(ActRow, (run_id, name))
        if row is None:
            position = session.scalar(select(func.count()).select_from(ActRow).where(ActRow.run == run_id)) or 0
            session.add(ActRow(run=run_id, name=name, position=position, changed=changed, seconds=seconds))
        elif changed:
            row.changed, row.seconds = True, seconds


def steps_of(ledger: Ledger, run_id: str) -> list[RunStepRow]:
    """The steps of a run, in order."""
    with ledger.reading() as session:
        return list(session.scalars(select(RunStepRow).where(RunStepRow.run == run_id).order_by(RunStepRow.position)))


def acts_of(ledger: Ledger, run_id: str) -> list[ActRow]:
    """The reconciliations of a run, in order."""
    with ledger.reading() as session:
        return list(session.scalars(select(ActRow).where(ActRow.run == run_id).order_by(ActRow.position)))


def all_runs(ledger: Ledger, limit: int = 50) -> list[RunRow]:
    """The newest runs first."""
    with ledger.reading() as session:
        return list(session.scalars(select(RunRow).order_by(RunRow.created.desc()).limit(limit)))


def resumed(ledger: Ledger, run_id: str, attempt: int) -> None:
    """Say that a run which waited goes on in this attempt."""
    with ledger.transaction() as session:
        row = session.get_one(RunRow, run_id)
        if row.attempt != attempt:
            raise LeaseLost(f"Run {run_id} goes on in another process.")
        row.status, row.lease = "running", now() + RUN_LEASE


def note(ledger: Ledger, run_id: str, outcome: dict[str, Any]) -> None:
    """Keep what is known of the outcome so far."""
    with ledger.transaction() as session:
        row = session.get_one(RunRow, run_id)
        row.outcome = {**(row.outcome or {}), **outcome}


def by_flow_run(ledger: Ledger, flow_run: str) -> RunRow | None:
    """The run that a Prefect flow run carries out."""
    with ledger.reading() as session:
        return session.scalars(select(RunRow).where(RunRow.flow_run == flow_run)).first()


def cancelled(ledger: Ledger, run_id: str) -> None:
    """End a run that somebody cancelled; one that has ended stays as it is."""
    with ledger.transaction() as session:
        row = session.get_one(RunRow, run_id)
        if row.status in LIVE:
            row.status, row.lease, row.finished = "cancelled", 0.0, now()
            _settle(session, run_id)


def yielded(ledger: Ledger, run_id: str, attempt: int) -> None:
    """Give up a run's lease without ending the run: the same command, or a resumption, goes on with it."""
    with ledger.transaction() as session:
        row = session.get_one(RunRow, run_id)
        if row.attempt == attempt:
            row.lease = 0.0


def _settle(session: Session, run_id: str) -> None:
    """A run that has ended is no longer in the middle of a step."""
    open_steps = update(RunStepRow).where(RunStepRow.run == run_id, RunStepRow.status == "running")
    session.execute(open_steps.values(status="failed"))
