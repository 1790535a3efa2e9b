"""The Prefect worker: it polls the pool "headwater" and runs each flow run as a process of this machine."""

import json
from datetime import datetime

import psutil

from components.services import prefect
from components.services.engine import Engine, ask
from components.services.processes import program
from components.services.site import Site

POOL = "headwater"


def _command(site: Site) -> list[str]:
    # The worker makes the pool where there is none.
    return [program("prefect"), "worker", "start", "--pool", POOL, "--type", "process", "--name", POOL]


def _environment(site: Site) -> dict[str, str]:
    return {
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
        # Runs that are cancelled before their process exists; running ones are told by the server's events at once.
        "PREFECT_WORKER_ENABLE_CANCELLATION": "true",
        "PREFECT_WORKER_CANCELLATION_POLL_SECONDS": "2",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    }


def _ailment(site: Site) -> str | None:
    """It is well once it has reported to the server since its start."""
    path = f"/api/work_pools/{POOL}/workers/filter"
    status, body = ask(site.port("prefect"), path, prefect.authorization(site), body={})
    if status == 0:
        return None  # The server's illness, not the worker's: it goes on when the server is back.
    if status != 200:
        return f"the pool {POOL!r} is not there yet ({status})"
    pid = site.records["worker"].pid
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return "it has ended"
    beats = [datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() for worker in json.loads(body)]
    return None if any(beat > started for beat in beats) else "it has not reported to the server"


WORKER = Engine("worker", {}, _command, _environment, _ailment, after="prefect")
