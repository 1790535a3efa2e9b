"""Flow runs as this home's Prefect server knows them: a client, the state of one, and what it has logged."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import State

from components.errors import ServiceError
from components.ledger.tables import RunRow

LINES = 200
"""Lines of a log that the server gives at once."""


@contextmanager
def prefect_client() -> Iterator[SyncPrefectClient]:
    """A client of this home's Prefect server; ServiceError when it does not answer."""
    try:
        with get_client(sync_client=True) as client:
            yield client
    except (httpx.TransportError, PrefectHTTPStatusError) as error:
        raise ServiceError(
            f"The Prefect server does not answer ({type(error).__name__}): `headwater up` starts it."
        ) from None


def state_of(client: SyncPrefectClient, flow_run: str) -> State[Any] | None:
    """The state of a flow run; None when Prefect does not know it."""
    try:
        return client.read_flow_run(UUID(flow_run)).state
    except ObjectNotFound:
        return None


def flow_logs(row: RunRow) -> Iterator[str]:
    """What the flow of a run has logged in Prefect, oldest first."""
    if row.flow_run is None:
        return
    wanted, offset = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(row.flow_run)])), 0
    with prefect_client() as client:
        while True:
            answer = client.request(
                "POST",
                "/logs/filter",
                json={
                    "logs": wanted.model_dump(mode="json", exclude_unset=True),
                    "sort": "TIMESTAMP_ASC",
                    "offset": offset,
                    "limit": LINES,
                },
            )
            rows = answer.json()
            yield from (f"{line['timestamp'][:19]} {line['message']}" for line in rows)
            if len(rows) < LINES:
                return
            offset += len(rows)
