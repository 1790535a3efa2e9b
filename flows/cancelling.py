"""What a cancelled run leaves behind: no job that nobody wants, and its checkpoints."""

import logging
from typing import Any

from components.errors import ServiceError
from components.ledger import Ledger, runs, work
from components.settings import settings

log = logging.getLogger(__name__)


def let_go(flow_run: str) -> None:
    """End the ledger's run of a cancelled flow run, and the jobs that no other run waits for. Safe to repeat."""
    ledger = Ledger(settings().ledger_url)
    row = runs.by_flow_run(ledger, flow_run)
    if row is None:
        return
    runs.cancelled(ledger, row.id)
    drop(ledger, row.id)


def released(flow: Any, flow_run: Any, state: Any) -> None:
    """The second net under a cancellation, when the flow's process is gone: nobody waits, so the job ends."""
    let_go(str(flow_run.id))


def drop(ledger: Ledger, run: str) -> None:
    """Stop waiting for anything, and stop the jobs that were wanted by this run alone."""
    orphans = work.stop_waiting(ledger, run)
    if orphans:
        from components.jobs.client import Jobs

        try:
            jobs = Jobs()
            for submission in orphans:
                jobs.stop(submission)
        except ServiceError as error:  # a Ray that is gone has taken its jobs along
            log.warning("Jobs were not stopped: %s", error)
