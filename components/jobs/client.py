"""Ray's job API, as far as steps need it. One submission id for each identity and attempt, so two runs share a job."""

import logging
import shlex
import sys
import time
from collections.abc import Callable
from typing import Any

from ray.job_submission import JobStatus, JobSubmissionClient

from components.errors import ServiceError
from components.ledger import Ledger, work
from components.pace import Pace
from components.steps import raised_again

log = logging.getLogger(__name__)
OFTEN, SELDOM = 0.3, 2.0
"""Seconds from one look at a job to the next, at first and in a long one."""
STATUS_SECONDS = 2.0


class Jobs:
    """The jobs of one Ray cluster: RAY_API_SERVER_ADDRESS and RAY_AUTH_TOKEN_PATH say where and by which token."""

    def __init__(self) -> None:
        try:
            self.client = JobSubmissionClient()
        except Exception as error:  # Ray raises what it likes here: connection, version, authentication
            raise ServiceError(f"Ray does not answer: {_first_line(error)}") from None

    def living(self, ledger: Ledger, identity: str) -> str | None:
        """The submission that works on a step now, if one does."""
        row = work.step(ledger, identity)
        if row is None or row.submission is None or row.status == "finished":
            return None
        status = self.status(row.submission)
        return row.submission if status is not None and not status.is_terminal() else None

    def submit_or_attach(self, ledger: Ledger, identity: str, run: str, metadata: dict[str, str]) -> str | None:
        """The submission that works on a step: a living one, or a new one. None when the step has finished meanwhile."""
        while True:
            row = work.step(ledger, identity)
            assert row is not None, "a step is declared before it is submitted"
            if row.status == "finished":
                return None
            attempt = row.attempt or work.next_attempt(ledger, identity, 0)
            submission = f"{identity[:16]}-{attempt}"
            status = self.status(submission)
            if status is not None and status.is_terminal():
                work.next_attempt(ledger, identity, attempt)
                continue
            work.submitted(ledger, identity, submission)  # on record first, so that a cancellation finds it
            if status is None:
                self._submit(submission, identity, run, metadata)
            return submission

    def follow(self, ledger: Ledger, identity: str, submission: str, report: Callable[[dict[str, Any]], None]) -> None:
        """Pass on what a step reports until it has finished; raises the error that it failed with."""
        last, looked, pace = 0, time.monotonic(), Pace(OFTEN, SELDOM)
        while True:
            for progress in work.progress_after(ledger, identity, last):
                report(progress.row)
                last = progress.id
            row = work.step(ledger, identity)
            assert row is not None
            if row.status == "finished":
                return
            if time.monotonic() - looked > STATUS_SECONDS:
                self._raise_if_ended(ledger, identity, submission)
                looked = time.monotonic()
            time.sleep(pace.seconds)

    def stop(self, submission: str) -> None:
        """End a job: SIGTERM, and SIGKILL when that does not help. One that has ended or is unknown is fine."""
        try:
            self.client.stop_job(submission)
        except (RuntimeError, OSError) as error:
            log.info("Job %s was not stopped: %s", submission, _first_line(error))

    def status(self, submission: str) -> JobStatus | None:
        """The state of a job; None when Ray does not know it. Raises ServiceError when Ray does not answer."""
        try:
            return self.client.get_job_status(submission)
        except RuntimeError as error:
            if "does not exist" in str(error):
                return None
            raise ServiceError(f"Ray does not answer: {_first_line(error)}") from None
        except OSError as error:
            raise ServiceError(f"Ray does not answer: {_first_line(error)}") from None

    def logs(self, submission: str) -> str:
        """What a job has printed; empty when Ray does not know it."""
        try:
            return self.client.get_job_logs(submission)
        except (RuntimeError, OSError):
            return ""

    def _submit(self, submission: str, identity: str, run: str, metadata: dict[str, str]) -> None:
        entrypoint = f"exec {shlex.quote(sys.executable)} -m components.jobs.main {identity} --run {run} --submission {submission}"
        try:
            self.client.submit_job(entrypoint=entrypoint, submission_id=submission, metadata=metadata)
        except (RuntimeError, ValueError, OSError) as error:
            if "already exists" not in str(error):  # another run submitted it between our look and now
                raise ServiceError(f"Ray does not take the job: {_first_line(error)}") from None

    def _raise_if_ended(self, ledger: Ledger, identity: str, submission: str) -> None:
        status = self.status(submission)
        if status is not None and not status.is_terminal():
            return
        row = work.step(ledger, identity)
        assert row is not None
        if row.status == "finished":
            return
        if row.status == "failed":
            raise raised_again(row.name, row.error)
        if status is None:
            raise ServiceError(f"Ray has lost the job of step {row.name}; it was probably restarted.")
        raise ServiceError(
            f"The job of step {row.name} ended ({status.value.lower()}) without a result: {self._tail(submission)}"
        )

    def _tail(self, submission: str) -> str:
        lines = [line for line in self.logs(submission).splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it printed nothing"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:300]
