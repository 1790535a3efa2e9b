"""Steps in the ledger: declared, claimed by one process at a time, finished once."""

from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from components.errors import LeaseLost
from components.ledger.database import Ledger, now
from components.ledger.owners import holds
from components.ledger.tables import ArtifactRow, ProgressRow, RunRow, SourceRow, StepRow, WaiterRow

STEP_LEASE = 30.0
"""Seconds after which a silent owner on another machine counts as dead."""


def declare(ledger: Ledger, row: StepRow) -> StepRow:
    """The step of that identity; added where it is new. Where a source has moved, its new path is kept."""
    with ledger.transaction() as session:
        known = session.get(StepRow, row.identity)
        if known is None:
            session.add(row)
            return row
        if (
            known.status != "finished"
        ):  # what is no part of the identity may have changed: places, and where the code lies
            known.inputs, known.config, known.verb = row.inputs, row.config, row.verb
        return known


def step(ledger: Ledger, identity: str) -> StepRow | None:
    """The step of that identity."""
    with ledger.reading() as session:
        return session.get(StepRow, identity)


def claim(ledger: Ledger, identity: str, owner: str, run: str | None) -> StepRow | None:
    """Make `owner` the one who works on a step; None while another does. A finished step is returned as it is."""
    with ledger.transaction() as session:
        row = session.get_one(StepRow, identity)
        if row.status == "finished":
            return row
        if row.owner != owner and holds(row.owner, row.lease):
            return None
        row.owner, row.lease, row.status, row.run = owner, now() + STEP_LEASE, "running", run
        row.started, row.finished, row.error = now(), None, None
        session.execute(delete(ProgressRow).where(ProgressRow.identity == identity))
        return row


def beat(ledger: Ledger, identity: str, owner: str) -> None:
    """Renew a claim; raises LeaseLost when another process has taken over."""
    with ledger.transaction() as session:
        renewed = (
            update(StepRow).where(StepRow.identity == identity, StepRow.owner == owner).values(lease=now() + STEP_LEASE)
        )
        if not session.execute(renewed).rowcount:  # type: ignore[attr-defined]
            raise LeaseLost(f"Step {identity[:8]} was taken over by another process.")


def finish(ledger: Ledger, identity: str, owner: str, artifact: ArtifactRow, facts: dict[str, Any]) -> None:
    """Record what came out; from here on the step is never done again."""
    with ledger.transaction() as session:
        row = _owned(session, identity, owner)
        session.merge(artifact)
        session.flush()
        row.status, row.artifact, row.facts = "finished", artifact.digest, facts
        row.owner, row.finished = None, now()


def fail(ledger: Ledger, identity: str, owner: str, error: dict[str, Any]) -> bool:
    """Record why a step did not come to an end; the next claim tries again. False where the claim was lost."""
    with ledger.transaction() as session:
        row = session.get_one(StepRow, identity)
        ours = row.owner == owner
        if ours:
            row.status, row.error, row.owner, row.finished = "failed", error, None, now()
        return ours


def forget(ledger: Ledger, identity: str, artifact: str) -> None:
    """Make a finished step undone again, because its artifact is gone or damaged."""
    with ledger.transaction() as session:
        row = session.get_one(StepRow, identity)
        if row.status == "finished" and row.artifact == artifact:
            row.status, row.artifact, row.owner = "declared", None, None


def forget_artifact(ledger: Ledger, artifact: str) -> None:
    """Make every step undone again whose artifact has been found damaged."""
    with ledger.transaction() as session:
        made = select(StepRow).where(StepRow.artifact == artifact, StepRow.status == "finished")
        for row in session.scalars(made):
            row.status, row.artifact, row.owner = "declared", None, None


def next_attempt(ledger: Ledger, identity: str, after: int) -> int:
    """Raise a step's attempt number from `after` to the next; of two who ask at once, one raises it for both."""
    with ledger.transaction() as session:
        row = session.get_one(StepRow, identity)
        if row.attempt == after:
            row.attempt = after + 1
            if row.status == "failed":  # that was the attempt before
                row.status, row.error = "declared", None
        return row.attempt


def submitted(ledger: Ledger, identity: str, submission: str) -> None:
    """Record the job that works on a step."""
    with ledger.transaction() as session:
        session.get_one(StepRow, identity).submission = submission


def add_progress(ledger: Ledger, identity: str, row: dict[str, Any]) -> None:
    """Keep one report of a step at work."""
    with ledger.transaction() as session:
        session.add(ProgressRow(identity=identity, at=now(), row=row))


def progress_after(ledger: Ledger, identity: str, last: int) -> list[ProgressRow]:
    """The reports after the one numbered `last`, oldest first."""
    with ledger.reading() as session:
        newer = (
            select(ProgressRow).where(ProgressRow.identity == identity, ProgressRow.id > last).order_by(ProgressRow.id)
        )
        return list(session.scalars(newer))


def wait_for(ledger: Ledger, identity: str, run: str) -> None:
    """Say that `run` wants this step."""
    with ledger.transaction() as session:
        session.merge(WaiterRow(identity=identity, run=run))


def stop_waiting(ledger: Ledger, run: str) -> list[str]:
    """Drop `run` from every step it waits for; the submissions of those that nobody alive wants any more."""
    with ledger.transaction() as session:
        wanted = list(session.scalars(select(WaiterRow.identity).where(WaiterRow.run == run)))
        session.execute(delete(WaiterRow).where(WaiterRow.run == run))
        orphans = []
        for identity in wanted:
            others = select(RunRow).join(WaiterRow, WaiterRow.run == RunRow.id).where(WaiterRow.identity == identity)
            if any(other.lease > now() for other in session.scalars(others)):
                continue
            row = session.get_one(StepRow, identity)
            if row.status != "finished" and row.submission:
                orphans.append(row.submission)
        return orphans


def got(ledger: Ledger, identity: str, run: str) -> None:
    """Say that `run` has what it wanted of this step."""
    with ledger.transaction() as session:
        session.execute(delete(WaiterRow).where(WaiterRow.identity == identity, WaiterRow.run == run))


def add_source(ledger: Ledger, source: SourceRow) -> None:
    """Keep a source as it was found, once for each content, licence and origin; the newest path counts."""
    with ledger.transaction() as session:
        known = session.scalars(
            select(SourceRow).where(
                SourceRow.digest == source.digest,
                SourceRow.name == source.name,
                SourceRow.licence == source.licence,
                SourceRow.origin == source.origin,
            )
        ).first()
        if known is None:
            session.add(source)
        else:
            known.path = source.path


def _owned(session: Session, identity: str, owner: str) -> StepRow:
    row = session.get_one(StepRow, identity)
    if row.owner != owner:
        raise LeaseLost(f"Step {identity[:8]} was taken over by another process.")
    return row


def annotate(ledger: Ledger, identity: str, **facts: Any) -> None:
    """Add facts to a step that were learned after its end, such as the id of its MLflow run."""
    with ledger.transaction() as session:
        row = session.get_one(StepRow, identity)
        row.facts = {**(row.facts or {}), **facts}
