"""The one joint of Prefect, ledger and Ray: a step as a task.

A finished step is returned from the ledger without importing an engine. Any other is carried out here or as a Ray job
that several runs may share; what it reports goes to the Prefect artifact, to MLflow and, through the ledger, to the
terminal.
"""

import time
from contextlib import nullcontext
from typing import Any

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.logging import get_run_logger
from pydantic import BaseModel

from components.errors import HeadwaterError
from components.ledger import runs, work
from components.pace import Pace
from components.steps import Input, Step, declare, finished, perform, retryable
from components.store import Stored
from flows.deployments import ACCELERATOR
from flows.foresight import foreseen
from flows.notes import noted
from flows.passage import Passage

CURVES = (
    *("loss", "bits_per_byte", "learning_rate", "grad_norm", "tokens"),
    *("tokens_per_second", "flops_utilisation", "memory_bytes", "input_wait", "warm_up_seconds"),
)
"""What of a training report becomes a curve in MLflow."""
OFTEN, SELDOM = 1.0, 30.0
"""Seconds from one look of Prefect and MLflow to the next, at first and in a long step."""
SLOT_LEASE = 60
"""Seconds after which the slot of a killed flow is free again: the least that Prefect allows."""


def step(run: Passage, what: Step, config: BaseModel, *inputs: Input, label: str = "", trains: bool = False) -> Stored:
    """The artifact of a step: from the ledger, from this process, or from a job."""
    label = label or what.name
    if run.dry is not None:
        return foreseen(run, what, config, inputs, label)
    started = time.monotonic()
    row = declare(run.ledger, what, config, inputs, label)
    budget = getattr(config, "budget_seconds", None)
    known = finished(run.ledger, run.store, row)
    if known:
        runs.met(run.ledger, run.id, label, row.identity, "skipped", 0.0, budget)
        get_run_logger().info("%s: skipped, %s %s is there", label, known.kind, known.digest[:8])
        return known
    runs.met(run.ledger, run.id, label, row.identity, "running", 0.0, budget)
    carry_out = task(
        name=label,
        task_run_name=label,
        retries=4,
        retry_delay_seconds=[2, 8, 20, 40],  # a Ray that was killed is back after about 20 s
        retry_condition_fn=_worth_retrying,
        cache_policy=NO_CACHE,
        persist_result=False,
        tags=["headwater"],
    )(_by_job if what.place == "job" else _here)
    try:
        stored = carry_out(_Opaque(run), row.identity, label, trains)
    except Exception:
        runs.met(run.ledger, run.id, label, row.identity, "failed", time.monotonic() - started, budget)
        raise
    done = work.step(run.ledger, row.identity)
    status = "executed" if done and done.run == run.id else "skipped"
    runs.met(run.ledger, run.id, label, row.identity, status, time.monotonic() - started, budget)
    return stored


class _Opaque:
    """Keeps Prefect from looking into a passage, which holds a database and is no parameter to be shown."""

    def __init__(self, run: Passage) -> None:
        self.run = run

    def __repr__(self) -> str:
        return self.run.id


def _here(holder: _Opaque, identity: str, label: str, trains: bool) -> Stored:
    run = holder.run
    return perform(run.ledger, run.store, run.here.scratch, identity, run.id)


def _by_job(holder: _Opaque, identity: str, label: str, trains: bool) -> Stored:
    from components.jobs.client import Jobs

    run = holder.run
    jobs = Jobs()
    work.wait_for(run.ledger, identity, run.id)
    shown = _Shown(run, identity, label)
    living = jobs.living(run.ledger, identity)
    # Who joins a job that is already running takes no slot: its first run holds one.
    slot = concurrency(ACCELERATOR, lease_duration=SLOT_LEASE, strict=True) if trains and not living else nullcontext()
    with slot:
        submission = living or jobs.submit_or_attach(run.ledger, identity, run.id, {**run.tags(), "step": label})
        if submission:
            try:
                jobs.follow(run.ledger, identity, submission, shown)
            except HeadwaterError:
                shown.mirror(ended=False)  # people want to see how it went wrong
                raise
            finally:
                _keep_log(run, submission, jobs.logs(submission))
    shown.close()
    work.got(run.ledger, identity, run.id)
    row = work.step(run.ledger, identity)
    stored = finished(run.ledger, run.store, row) if row else None
    assert stored is not None, "a followed job has finished its step"
    return stored


def _keep_log(run: Passage, submission: str, text: str) -> None:
    """A job's log lives in Ray and goes with it; this copy stays."""
    if text:
        path = run.here.job_log(submission)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    try:
        state.result()
    except Exception as error:
        return retryable(error)
    return False


class _Shown:
    """What a step reports, as a Prefect progress artifact and, for training, as a curve in MLflow."""

    def __init__(self, run: Passage, identity: str, label: str) -> None:
        self.run, self.identity, self.label = run, identity, label
        self.artifact: Any = None
        self.curve: list[dict[str, Any]] = []
        self.pace, self.last = Pace(OFTEN, SELDOM), ""

    def __call__(self, row: dict[str, Any]) -> None:
        if "warning" in row:
            get_run_logger().warning("%s: %s", self.label, row["warning"])
        if "loss" in row:
            self.curve.append(row)
        if row.get("total"):
            self.last = noted(row)
        if row.get("total") and (self.artifact is None or self.pace.due):
            self._show(100.0 * row["done"] / row["total"])
            self.mirror(ended=False)

    def close(self) -> None:
        """The last state, when the step has finished."""
        if self.artifact:
            self._show(100.0)
        self.mirror(ended=True)

    def _show(self, percent: float) -> None:
        self.pace.looked()
        if self.artifact is None:
            key = f"progress-{self.label}".replace(":", "-").replace("_", "-")
            self.artifact = create_progress_artifact(
                progress=percent, key=key, description=f"{self.label} of {self.run.id}: {self.last}"
            )
        else:
            description = f"{self.label} of {self.run.id}: {self.last}"
            update_progress_artifact(artifact_id=self.artifact, progress=percent, description=description)

    def mirror(self, ended: bool) -> None:
        """The curve, as far as it goes, in MLflow."""
        if not self.curve:
            return
        from components.registry.curves import mirror

        tags = {**self.run.tags(), "headwater.step": self.label}
        row = work.step(self.run.ledger, self.identity)
        if row and row.submission:
            tags["ray.submission_id"] = row.submission
        params = {key: str(value) for key, value in (row.config if row else {}).items() if not isinstance(value, dict)}
        curve = [{"step": int(point["done"]), **{k: point[k] for k in CURVES if k in point}} for point in self.curve]
        name = f"{self.run.recipe.name} {self.label}"
        try:
            run_id = mirror(name, self.identity, curve, tags, params, self.run.recipe.name, finished=ended)
        except HeadwaterError as error:  # curves are for people: the work goes on, and the next look catches up
            get_run_logger().warning("MLflow does not take the curve of %s: %s", self.label, error)
            return
        if ended:
            work.annotate(self.run.ledger, self.identity, mlflow_run=run_id)
