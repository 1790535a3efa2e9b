"""Questions that people ask of the ledger."""

from sqlalchemy import select

from components.ledger.database import Ledger
from components.ledger.tables import ArtifactRow, RunRow, RunStepRow, StepRow


def last_finished(ledger: Ledger, recipe: str, label: str) -> StepRow | None:
    """The step that last bore this label in a run of this recipe and has finished."""
    with ledger.reading() as session:
        query = (
            select(StepRow)
            .join(RunStepRow, RunStepRow.identity == StepRow.identity)
            .join(RunRow, RunRow.id == RunStepRow.run)
            .where(RunRow.name == recipe, RunStepRow.name == label, StepRow.status == "finished")
            .order_by(RunRow.created.desc())
        )
        return session.scalars(query).first()


def artifacts(ledger: Ledger, prefix: str) -> list[ArtifactRow]:
    """The artifacts whose digest begins with `prefix`."""
    with ledger.reading() as session:
        return list(
            session.scalars(select(ArtifactRow).where(ArtifactRow.digest.startswith(prefix, autoescape=True)).limit(10))
        )


def maker(ledger: Ledger, artifact: str) -> StepRow | None:
    """The step that first made an artifact."""
    with ledger.reading() as session:
        return session.scalars(select(StepRow).where(StepRow.artifact == artifact).order_by(StepRow.finished)).first()


def steps_with_submission(ledger: Ledger, run: str) -> list[StepRow]:
    """The steps of a run that a Ray job worked on."""
    with ledger.reading() as session:
        query = select(StepRow).join(RunStepRow, RunStepRow.identity == StepRow.identity).where(RunStepRow.run == run)
        return [row for row in session.scalars(query.order_by(RunStepRow.position)) if row.submission]
