"""The tables of the ledger. Times are seconds since 1970 (UTC); digests are SHA-256 in hex."""

from typing import Any, ClassVar

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Table(DeclarativeBase):
    """Base of all tables; dicts and lists are stored as JSON."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {dict[str, Any]: JSON, list[dict[str, Any]]: JSON}


class SourceRow(Table):
    """A source as it was found: content, licence and origin."""

    __tablename__ = "sources"
    __table_args__ = (UniqueConstraint("digest", "name", "licence", "origin"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str]
    name: Mapped[str]
    licence: Mapped[str]
    origin: Mapped[str]
    path: Mapped[str]
    num_bytes: Mapped[int]
    num_files: Mapped[int]


class ArtifactRow(Table):
    """A committed artifact."""

    __tablename__ = "artifacts"

    digest: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    num_bytes: Mapped[int]
    num_files: Mapped[int]
    created: Mapped[float]


class StepRow(Table):
    """A computation, once per identity. `owner` and `lease` say which process is at work on it."""

    __tablename__ = "steps"

    identity: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    verb: Mapped[str]
    version: Mapped[int]
    kind: Mapped[str]
    config: Mapped[dict[str, Any]]
    inputs: Mapped[list[dict[str, Any]]]
    """[{"role", "kind", "digest"}, and for sources "name", "licence", "origin", "path"]"""
    status: Mapped[str] = mapped_column(default="declared")
    """declared, running, failed or finished"""
    attempt: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None]
    lease: Mapped[float] = mapped_column(default=0.0)
    run: Mapped[str | None]
    """The run whose attempt this is."""
    submission: Mapped[str | None]
    artifact: Mapped[str | None] = mapped_column(ForeignKey("artifacts.digest"))
    facts: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    started: Mapped[float | None]
    finished: Mapped[float | None]


class ProgressRow(Table):
    """What a step reported while it worked."""

    __tablename__ = "progress"
    __table_args__ = (
        Index("progress_by_identity", "identity", "id"),
        {"sqlite_autoincrement": True},
    )  # ids never come again

    id: Mapped[int] = mapped_column(primary_key=True)
    identity: Mapped[str]
    at: Mapped[float]
    row: Mapped[dict[str, Any]]


class WaiterRow(Table):
    """A run that wants a step's result; the last one to go stops the step's job."""

    __tablename__ = "waiters"

    identity: Mapped[str] = mapped_column(primary_key=True)
    run: Mapped[str] = mapped_column(primary_key=True)


class RunRow(Table):
    """One passage of a recipe through the lifecycle."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    recipe_digest: Mapped[str] = mapped_column(index=True)
    recipe: Mapped[dict[str, Any]]
    resolved: Mapped[dict[str, Any] | None]
    status: Mapped[str] = mapped_column(default="submitted")
    """submitted, running, waiting, completed, refused, failed, cancelled"""
    started_by: Mapped[str]
    door: Mapped[str]
    """cli, schedule, or ui for whatever else starts a deployment"""
    flow_run: Mapped[str | None] = mapped_column(unique=True)
    attempt: Mapped[int] = mapped_column(default=0)
    lease: Mapped[float] = mapped_column(default=0.0)
    git_commit: Mapped[str | None]
    git_dirty: Mapped[bool | None]
    created: Mapped[float]
    finished: Mapped[float | None]
    error: Mapped[dict[str, Any] | None]
    outcome: Mapped[dict[str, Any] | None]
    """What the run ended with: model, scores, endpoint, change"""


class RunStepRow(Table):
    """A step as one run met it."""

    __tablename__ = "run_steps"

    run: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    identity: Mapped[str]
    status: Mapped[str]
    """executed, skipped, failed or running"""
    seconds: Mapped[float]
    budget: Mapped[float | None]


class ActRow(Table):
    """A reconciliation as one run made it."""

    __tablename__ = "acts"

    run: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    changed: Mapped[bool]
    seconds: Mapped[float]


class VersionRow(Table):
    """A model that was meant to be registered, and its number once MLflow gave one."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("name", "version"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str | None]
    run: Mapped[str]
    created: Mapped[float]
    copies: Mapped[dict[str, Any] | None]
    """MLflow's files: absolute path -> SHA-256"""


class CandidateRow(Table):
    """A gated model: what a decision is about. Bound to the model, its evaluation and the baseline it was compared with."""

    __tablename__ = "candidates"
    __table_args__ = (UniqueConstraint("name", "digest", "evaluation", "verdict", "baseline", "approval"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    digest: Mapped[str]
    evaluation: Mapped[str]
    verdict: Mapped[str]
    baseline: Mapped[str] = mapped_column(default="")
    """The champion's model digest at the time of the gate, or empty"""
    approval: Mapped[str]
    """manual or auto, as the recipe says: what was waved through is not what a person has approved"""
    passed: Mapped[bool]
    run: Mapped[str]
    created: Mapped[float]


class DecisionRow(Table):
    """A decision on a candidate. Never changed, never deleted: a trigger refuses both."""

    __tablename__ = "decisions"

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate: Mapped[int] = mapped_column(ForeignKey("candidates.id"), unique=True)
    decision: Mapped[str]
    """approved or rejected"""
    by: Mapped[str]
    """As claimed, not proven; 'recipe' where the recipe says approval = "auto"."""
    reason: Mapped[str]
    how: Mapped[str]
    """command, form or auto"""
    at: Mapped[float]


class ReleaseRow(Table):
    """What should be serving, by model name; the newest row counts. Never changed, never deleted."""

    __tablename__ = "releases"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    digest: Mapped[str]
    version: Mapped[str]
    candidate: Mapped[int] = mapped_column(ForeignKey("candidates.id"))
    rollout: Mapped[dict[str, Any]]
    run: Mapped[str]
    at: Mapped[float]
