"""Versions, candidates, decisions and releases: what may serve, and by whose word."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from components.errors import DecisionError, GateRefused
from components.ledger.database import Ledger, now
from components.ledger.tables import CandidateRow, DecisionRow, ReleaseRow, RunRow, VersionRow


def intend(ledger: Ledger, name: str, digest: str, run: str) -> VersionRow:
    """Write down that a model is to be registered, before MLflow hears of it; once for each name and digest."""
    with ledger.transaction() as session:
        row = session.get(VersionRow, (name, digest))
        if row is None:
            row = VersionRow(name=name, digest=digest, run=run, created=now())
            session.add(row)
        return row


def confirm(ledger: Ledger, name: str, digest: str, version: str, copies: dict[str, Any]) -> None:
    """Write down the number that MLflow gave, and what its copies of the files are."""
    with ledger.transaction() as session:
        row = session.get_one(VersionRow, (name, digest))
        row.version, row.copies = version, copies


def propose(ledger: Ledger, candidate: CandidateRow) -> CandidateRow:
    """The candidate, once for each model, evaluation, verdict, baseline and way of approval."""
    with ledger.transaction() as session:
        known = session.scalars(
            select(CandidateRow).where(
                CandidateRow.name == candidate.name,
                CandidateRow.digest == candidate.digest,
                CandidateRow.evaluation == candidate.evaluation,
                CandidateRow.verdict == candidate.verdict,
                CandidateRow.baseline == candidate.baseline,
                CandidateRow.approval == candidate.approval,
            )
        ).first()
        if known is None:
            session.add(candidate)
            return candidate
        return known


def versions(ledger: Ledger, name: str | None = None) -> list[VersionRow]:
    """All versions, oldest first; those that MLflow has not confirmed have no number."""
    with ledger.reading() as session:
        query = select(VersionRow).order_by(VersionRow.created)
        return list(session.scalars(query.where(VersionRow.name == name) if name else query))


def latest_candidate(ledger: Ledger, name: str, digest: str | None = None) -> CandidateRow | None:
    """The newest candidate of a model name, or of one digest of it."""
    with ledger.reading() as session:
        query = select(CandidateRow).where(CandidateRow.name == name).order_by(CandidateRow.id.desc())
        return session.scalars(query.where(CandidateRow.digest == digest) if digest else query).first()


def decision(ledger: Ledger, candidate_id: int) -> DecisionRow | None:
    """What was decided about a candidate."""
    with ledger.reading() as session:
        return session.scalars(select(DecisionRow).where(DecisionRow.candidate == candidate_id)).first()


def decide(ledger: Ledger, candidate_id: int, verdict: str, *, by: str, reason: str, how: str) -> DecisionRow:
    """The one way in for a decision ('approved' or 'rejected').

    Raises DecisionError when it was decided already, when nobody is named, or when under manual approval the one who
    decides is the one who ran it; GateRefused when the gate did not pass or the champion has changed since.
    """
    with ledger.transaction() as session:
        row = session.get_one(CandidateRow, candidate_id)
        known = session.scalars(select(DecisionRow).where(DecisionRow.candidate == candidate_id)).first()
        if known:
            raise DecisionError(f"This version was {known.decision} already, by {known.by}: decisions are final.")
        if not by.strip() or not reason.strip():
            raise DecisionError("A decision needs a name and a reason: --by WHO --reason WHY.")
        if row.approval == "manual" and by.strip().casefold() in _runners(session, row):
            raise DecisionError(f"{by} ran this and may not decide on it: someone else has to.")
        if verdict == "approved":
            _may_be_approved(session, row)
        made = DecisionRow(
            candidate=candidate_id, decision=verdict, by=by.strip(), reason=reason.strip(), how=how, at=now()
        )
        session.add(made)
        return made


def _runners(session: Session, row: CandidateRow) -> set[str]:
    """Everybody who ran what led to a candidate."""
    ran = [session.get_one(RunRow, row.run)]
    ran += [
        other
        for other in session.scalars(select(RunRow).where(RunRow.name == row.name))
        if _model(other).get("candidate") == row.id
    ]
    return {other.started_by.casefold() for other in ran}


def _may_be_approved(session: Session, row: CandidateRow) -> None:
    if not row.passed:
        raise GateRefused("The gate did not pass this model, so nobody can approve it.")
    champion = _champion(session, row.name)
    if champion and champion.digest not in (row.digest, row.baseline):
        raise GateRefused(f"The champion of {row.name} has changed since the gate: run the recipe again.")


def waiting_runs(ledger: Ledger, candidate_id: int) -> list[RunRow]:
    """The runs that wait for a decision on a candidate."""
    with ledger.reading() as session:
        waiting = session.scalars(select(RunRow).where(RunRow.status == "waiting"))
        return [row for row in waiting if _model(row).get("candidate") == candidate_id]


def _model(row: RunRow) -> dict[str, Any]:
    return (row.outcome or {}).get("model") or {}


def champion(ledger: Ledger, name: str) -> ReleaseRow | None:
    """What should be serving under a model name."""
    with ledger.reading() as session:
        return _champion(session, name)


def champions(ledger: Ledger) -> list[ReleaseRow]:
    """What should be serving, for every model name."""
    with ledger.reading() as session:
        names = sorted(session.scalars(select(ReleaseRow.name).distinct()))
        return [row for name in names if (row := _champion(session, name))]


def release(ledger: Ledger, row: ReleaseRow) -> bool:
    """Make an approved candidate the champion; False where the same model already is, rolled out the same way.

    Raises DecisionError without an approval, GateRefused when the champion has changed since the gate.
    """
    with ledger.transaction() as session:
        now_serving = _champion(session, row.name)
        if now_serving and (now_serving.digest, now_serving.rollout) == (row.digest, row.rollout):
            return False
        _may_be_released(session, row)
        session.add(row)
        return True


def may_be_released(ledger: Ledger, row: ReleaseRow) -> None:
    """Raises what `release` would raise."""
    with ledger.reading() as session:
        _may_be_released(session, row)


def _may_be_released(session: Session, row: ReleaseRow) -> None:
    said = session.scalars(select(DecisionRow).where(DecisionRow.candidate == row.candidate)).first()
    if said is None or said.decision != "approved":
        raise DecisionError(f"{row.name}/{row.version} has no approval.")
    _may_be_approved(session, session.get_one(CandidateRow, row.candidate))


def _champion(session: Session, name: str) -> ReleaseRow | None:
    return session.scalars(select(ReleaseRow).where(ReleaseRow.name == name).order_by(ReleaseRow.id.desc())).first()
