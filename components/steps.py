"""Steps: computations that are done once for each identity, whoever asks and whatever is killed.

    identity = digest(name, version, identity fields of the config, roles and content digests of the inputs)

`perform` is the only way a step is carried out, in the flow's process or in a job's driver alike: claim it, run the
verb into a staging folder, commit, record. Killed anywhere, it is done again; finished, never.
"""

import logging
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from components import artifacts, errors
from components.digests import digest
from components.errors import HeadwaterError, LeaseLost, StepFailed
from components.faults import point
from components.ledger import Ledger, owners, work
from components.ledger.tables import ArtifactRow, StepRow
from components.recipe import identity_fields
from components.store import Store, Stored

log = logging.getLogger(__name__)
BEAT_SECONDS = 5.0
REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class Step:
    """A kind of computation: `verb` is "module:function", whose first argument is a `config`, "module:Class".

    `version` is raised whenever the verb would give other bytes for the same input.
    """

    name: str
    version: int
    verb: str
    config: str
    kind: str
    place: Literal["here", "job"]


@dataclass(frozen=True)
class Input:
    """Something a step works on: an artifact, or a source with its place."""

    role: str
    kind: str
    digest: str
    source: dict[str, str] | None = None
    """name, licence, origin and path, for a source"""

    def row(self) -> dict[str, Any]:
        """As it stands in the ledger."""
        return {"role": self.role, "kind": self.kind, "digest": self.digest, **(self.source or {})}

    def identity(self) -> dict[str, Any]:
        """What of it counts: where a source lies does not."""
        return {key: value for key, value in self.row().items() if key != "path"}


def identity(step: Step, config: BaseModel, inputs: Sequence[Input]) -> str:
    """The digest by which a step is known."""
    return digest(
        {
            "step": step.name,
            "version": step.version,
            "config": identity_fields(config),
            "inputs": [given.identity() for given in inputs],
        }
    )


def declare(ledger: Ledger, step: Step, config: BaseModel, inputs: Sequence[Input], label: str) -> StepRow:
    """Write the step into the ledger, so that any process can carry it out by its identity alone."""
    row = StepRow(
        identity=identity(step, config, inputs),
        name=label,
        verb=f"{step.verb} {step.config}",
        version=step.version,
        kind=step.kind,
        config=config.model_dump(mode="json"),
        inputs=[given.row() for given in inputs],
    )
    return work.declare(ledger, row)


def finished(ledger: Ledger, store: Store, known: StepRow) -> Stored | None:
    """What came out of a step, if it is done and its artifact is whole; a lost artifact makes the step undone."""
    if known.status != "finished" or known.artifact is None:
        return None
    if not store.has(known.artifact):
        log.warning("Artifact %s of step %s is gone or torn; the step is done again.", known.artifact[:8], known.name)
        work.forget(ledger, known.identity, known.artifact)
        return None
    return store.open(known.artifact)


def perform(ledger: Ledger, store: Store, scratch: Path, name: str, run: str | None) -> Stored:
    """Carry out the step whose identity is `name`, or wait for the process that does. Raises what its verb raised."""
    owner = owners.this_process()
    while (row := work.claim(ledger, name, owner, run)) is None:
        time.sleep(0.5)
    if done := finished(ledger, store, row):
        return done
    if row.status == "finished":  # its artifact was lost, and the step has just been made undone
        return perform(ledger, store, scratch, name, run)
    point("steps.claimed")
    with _Heartbeat(ledger, name, owner):
        try:
            return _carry_out(ledger, store, scratch, row, owner)
        except Exception as error:
            if work.fail(ledger, name, owner, described(error)):
                store.abandon(name)
            raise


def _carry_out(ledger: Ledger, store: Store, scratch: Path, row: StepRow, owner: str) -> Stored:
    store.abandon(row.identity)
    staging = store.begin(row.identity)
    verb_name, config_name = row.verb.split()
    config = _load(config_name).model_validate(row.config)
    inputs = [_input(ledger, store, given) for given in row.inputs]
    mine = scratch / row.identity
    mine.mkdir(parents=True, exist_ok=True)
    point("steps.begun")
    started = time.monotonic()
    report = _Reporter(ledger, row.identity)
    facts = _load(verb_name)(config, *inputs, out=staging / "content", scratch=mine, report=report)
    report.flush()
    for given in row.inputs:
        if given["kind"] == "source":  # one that changed while it was read would stand under its old digest for ever
            _opened(store, given)
    facts = {**facts, "seconds": round(time.monotonic() - started, 3)}
    point("steps.worked")
    stored = store.commit(staging, row.kind)
    point("steps.committed")
    artifact = ArtifactRow(
        digest=stored.digest,
        kind=stored.kind,
        num_bytes=stored.num_bytes,
        num_files=stored.num_files,
        created=time.time(),
    )
    work.finish(ledger, row.identity, owner, artifact, facts)
    point("steps.finished")
    return stored


def described(error: BaseException) -> dict[str, Any]:
    """An error as the ledger keeps it."""
    lines = [line for line in traceback.format_exception(error)]
    return {
        "type": type(error).__name__,
        "message": str(error) or type(error).__name__,
        "traceback": "".join(lines)[-8000:],
    }


def raised_again(label: str, error: dict[str, Any] | None) -> HeadwaterError:
    """The error that a step failed with, of its own class where it is one of ours."""
    if error is None:
        return StepFailed(f"Step {label} ended without a result.")
    kind = getattr(errors, error["type"], None)
    if isinstance(kind, type) and issubclass(kind, HeadwaterError) and kind is not errors.UnknownName:
        return kind(error["message"])
    if error["type"] == "UnknownName":
        return errors.InputError(error["message"])
    if any(
        word in error["type"]
        for word in ("ActorDied", "ActorUnavailable", "WorkerCrashed", "RaySystem", "Connection", "Timeout")
    ):
        return errors.ServiceError(f"Step {label} was interrupted by {error['type']}: {error['message']}")
    return StepFailed(f"Step {label} failed with {error['type']}: {error['message']}")


def retryable(error: BaseException) -> bool:
    """Whether doing a step again may help: not where its input is wrong, nor where a stage refused on purpose."""
    return not isinstance(error, HeadwaterError) or isinstance(error, errors.ServiceError | LeaseLost)


def _input(ledger: Ledger, store: Store, given: dict[str, Any]) -> Any:
    """An input as its verb sees it; a damaged artifact makes the step that made it undone, so that a rerun mends it."""
    try:
        return _opened(store, given)
    except errors.StoreError as error:
        work.forget_artifact(ledger, given["digest"])
        raise errors.StoreError(f"{error} Run again: the step that made it will be done again.") from None


def _opened(store: Store, given: dict[str, Any]) -> Any:
    """An input as its verb sees it; content is checked against its digest first."""
    if given["kind"] == "source":
        from components.sources import source_digest

        path = Path(given["path"])
        found = source_digest(path)
        if found != given["digest"]:
            raise errors.SourceError(
                f"Source {given['name']} at {path} changed while the run was under way; run again."
            )
        return artifacts.SourceFiles(given["name"], path, given["licence"], given["origin"], given["digest"])
    if given["kind"] == "none":
        return None
    views = {
        "corpus": artifacts.Corpus,
        "samples": artifacts.Samples,
        "export": artifacts.Export,
        "evaluation": artifacts.Evaluation,
        "verdict": artifacts.Verdict,
    }
    return views[given["kind"]](store.open(given["digest"], verify=True).path)


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


class _Reporter:
    """Keeps what a verb reports in the ledger, at most twice a second and never without the last."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self.ledger, self.name = ledger, name
        self.last = 0.0
        self.held: dict[str, Any] | None = None

    def __call__(self, row: dict[str, Any]) -> None:
        self.held = row
        if (
            time.monotonic() - self.last >= REPORT_SECONDS or "total" not in row
        ):  # what is no state is not outdated by the next
            self.flush()

    def flush(self) -> None:
        """Write what is held back."""
        if self.held is not None:
            work.add_progress(self.ledger, self.name, self.held)
            self.held, self.last = None, time.monotonic()


class _Heartbeat:
    """Renews a claim while the block runs."""

    def __init__(self, ledger: Ledger, name: str, owner: str) -> None:
        self.ledger, self.name, self.owner = ledger, name, owner
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _beat(self) -> None:
        while not self.stop.wait(BEAT_SECONDS):
            try:
                work.beat(self.ledger, self.name, self.owner)
            except LeaseLost:
                log.error("Step %s was taken over; what this process makes of it will not be recorded.", self.name[:8])
                return
            except Exception:
                log.exception("The claim on step %s could not be renewed; trying again.", self.name[:8])
