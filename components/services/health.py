"""Which services of a site are well, asked all at once."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from components.births import is_alive
from components.digests import digest
from components.services import serve
from components.services.engine import Engine
from components.services.environment import settings_of
from components.services.mlflow import MLFLOW
from components.services.prefect import PREFECT
from components.services.ray import RAY
from components.services.site import Site
from components.services.worker import WORKER

Ask = Callable[[], str | None]
ENGINES = {engine.name: engine for engine in (PREFECT, WORKER, MLFLOW, RAY)}
"""What is started here, by name. Serve runs inside Ray."""


@dataclass(frozen=True)
class Service:
    """One service as it stands."""

    name: str
    url: str | None
    healthy: bool
    ailment: str | None = None
    pid: int | None = None
    log: str | None = None


def settings_digest(engine: Engine, site: Site) -> str:
    """What a running service must have been started with to be the one that this site wants."""
    return digest({"command": engine.command(site), "environment": settings_of(engine, site)})


def absence(engine: Engine, site: Site) -> str | None:
    """Why there is no process that could be well, None if there is one."""
    record = site.records.get(engine.name)
    if record is None or record.pid is None:
        return "it was not started"
    if not is_alive(record.pid, record.born):
        return "it has ended"
    if record.settings != settings_digest(engine, site):
        return "it runs with other settings than those of now"
    return None


def ailment(engine: Engine, site: Site, patience_seconds: float = 0) -> str | None:
    """None if `engine` is well, else what is wrong; a process that lives is asked again until `patience_seconds`."""
    return _patiently(lambda: absence(engine, site), lambda: engine.ailment(site), patience_seconds)


def _patiently(absence: Ask, ailment: Ask, patience_seconds: float) -> str | None:
    deadline = time.monotonic() + patience_seconds
    while True:
        gone = absence()
        wrong = gone or ailment()
        if wrong is None or gone or time.monotonic() >= deadline:
            return wrong
        time.sleep(0.2)


def ailments(site: Site, patience_seconds: float = 0) -> dict[str, str | None]:
    """What is wrong with each service, None where it is well; one that lives is asked again until `patience_seconds`."""
    if not site.records:
        return dict.fromkeys((*ENGINES, "serve"), "it was not started")
    with ThreadPoolExecutor(len(ENGINES) + 1) as pool:
        asked = {name: pool.submit(ailment, engine, site, patience_seconds) for name, engine in ENGINES.items()}
        # Serve runs inside Ray, and lives while that does.
        alive, answers = (lambda: absence(RAY, site)), (lambda: serve.ailment(site))
        asked["serve"] = pool.submit(_patiently, alive, answers, patience_seconds)
        return {name: answer.result() for name, answer in asked.items()}


def ill(site: Site, patience_seconds: float = 0) -> set[str]:
    """The engines that are not well, even after they were given some time to answer."""
    if not site.records:
        return set(ENGINES)
    with ThreadPoolExecutor(len(ENGINES)) as pool:
        asked = {name: pool.submit(ailment, engine, site, patience_seconds) for name, engine in ENGINES.items()}
        return {name for name, answer in asked.items() if answer.result()}


def services(site: Site, patience_seconds: float = 0) -> dict[str, Service]:
    """Every service with its address and health."""
    found = {}
    for name, wrong in ailments(site, patience_seconds).items():
        record = site.records.get(name)
        url, pid = (record.url, record.pid) if record else (None, None)
        found[name] = Service(name, url, wrong is None, wrong, pid, str(site.log(name if name in ENGINES else "ray")))
    return found


def status(site: Site, patience_seconds: float = 0) -> dict[str, Any]:
    """What `headwater status --json` prints."""
    shown = {
        name: {"url": s.url, "healthy": s.healthy, "ailment": s.ailment, "pid": s.pid, "log": s.log}
        for name, s in services(site, patience_seconds).items()
    }
    return {"services": shown, "api_key_file": str(site.home / "secrets" / "api_key"), "home": str(site.home)}
