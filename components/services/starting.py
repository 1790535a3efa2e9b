"""Start whatever is not well, side by side, each on its recorded port."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock

from components.births import birth, is_alive
from components.errors import ServiceError
from components.services import mlflow, ray, serve
from components.services.engine import Engine
from components.services.environment import child_environment
from components.services.health import ENGINES, Service, ailment, ill, services, settings_digest
from components.services.ports import choose, choosing, is_free
from components.services.processes import belonging, runs, start, stop
from components.services.secrets import create_secrets, has_secrets
from components.services.site import Record, Site, locked, site_of

Say = Callable[[str], None]
TIMEOUT_SECONDS = 180
"""For one service to become well; a busy machine takes a minute."""
PATIENCE_SECONDS = 60
"""For a running service to answer before it is started anew: a busy one is not a broken one."""
USUAL_PORTS = {engine.name: engine.ports for engine in ENGINES.values()} | {"serve": {"http": serve.USUAL_PORT}}


def up(home: Path, report: Say) -> dict[str, Service]:
    """Start every service of `home` that is not healthy and wait until all are; Serve alone may still be empty.

    Raises ServiceError that names the service, its log and the last line in it.
    """
    site = site_of(home)
    if has_secrets(site.home) and not ill(site):
        return services(site)
    with locked(site.home, report), ExitStack() as stack:
        create_secrets(site.home)
        site = site_of(home)  # another process may have started them while we waited
        sick = ill(site, PATIENCE_SECONDS)
        for name in sick:
            _clear(ENGINES[name], site)
        if _moving(site, sick):
            others = stack.enter_context(choosing(site.home))
            site = _with_ports(site, _moving(site, sick), _promised(others))
            for name in ill(site) - sick:  # those that know the old address
                _clear(ENGINES[name], site)
                sick.add(name)
        if sick:
            site.save()
            mlflow.prepare(site)
            ray.prepare(site)
            _Start(site, report).all(sick)
    return services(site_of(home))


def _clear(engine: Engine, site: Site) -> None:
    """End what is left of a service that is not well, also what a killed `up` started and did not record."""
    if engine.name == "worker":
        # Flow runs outlive their worker: each holds a lease of its own, and the next worker leaves it alone.
        left = [process for process in belonging(site.home, {}, "worker") if runs(process, engine.command(site))]
    else:
        left = belonging(site.home, site.leaders(engine.name), engine.name)
    stop(left, engine.grace_seconds)


def _moving(site: Site, sick: set[str]) -> set[str]:
    """The services that need ports: those without, and those whose port someone else has taken meanwhile."""
    endangered = sick | ({"serve"} if "ray" in sick else set())
    taken = {n for n in endangered & set(site.records) if not all(map(is_free, site.records[n].ports.values()))}
    return taken | (set(USUAL_PORTS) - set(site.records))


def _promised(homes: list[Path]) -> set[int]:
    """The ports of Serve in `homes` that are up: it listens only when there is something to serve."""
    found: set[int] = set()
    for home in homes:
        with suppress(ServiceError):  # a record that cannot be read promises nothing
            records = site_of(home).records
            head, endpoint = records.get("ray"), records.get("serve")
            if head and endpoint and is_alive(head.pid, head.born):
                found |= set(endpoint.ports.values())
    return found


def _with_ports(site: Site, names: set[str], promised: set[int]) -> Site:
    """`site` with free ports for `names`, none of them `promised`; a recorded one is kept where it is free."""
    records = dict(site.records)
    taken = promised | {port for name, record in records.items() if name not in names for port in record.ports.values()}
    for name in sorted(names):
        ports = dict(records[name].ports) if name in records else {}
        for purpose, usual in USUAL_PORTS[name].items():
            ports[purpose] = choose(ports.get(purpose, usual), site.home, taken)
            taken.add(ports[purpose])
        url = f"http://127.0.0.1:{ports['http']}" if "http" in ports else None
        records[name] = replace(records.get(name, Record({})), ports=ports, url=url)
    return Site(site.home, records)


class _Start:
    """One passage of starting, which threads share."""

    def __init__(self, site: Site, report: Say) -> None:
        self.site, self.report = site, report
        self._recording = Lock()

    def all(self, names: set[str]) -> None:
        """Start `names` side by side, each after the one it needs; raises the first ServiceError when all have ended."""
        well: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(len(ENGINES)) as pool:
            for name in (name for name in ENGINES if name in names):
                well[name] = pool.submit(self._one, ENGINES[name], well.get(ENGINES[name].after or ""))
        for outcome in well.values():
            outcome.result()

    def _one(self, engine: Engine, needed: Future[None] | None) -> None:
        if needed is not None:
            needed.result()
        began = time.monotonic()
        site = self.site
        pid = start(engine.command(site), child_environment(engine, site), site.log(engine.name), site.home)
        self._record(engine, pid)
        self._wait(engine)
        where = site.records[engine.name].url or f"process {pid}"
        self.report(f"{engine.name} is up at {where} ({time.monotonic() - began:.0f} s)")

    def _record(self, engine: Engine, pid: int) -> None:
        with self._recording:
            settings = settings_digest(engine, self.site)
            self.site.records[engine.name] = replace(
                self.site.records[engine.name], pid=pid, born=birth(pid), settings=settings
            )
            self.site.save()

    def _wait(self, engine: Engine) -> None:
        wrong = ailment(engine, self.site, TIMEOUT_SECONDS)
        if wrong:
            log = self.site.log(engine.name)
            raise ServiceError(f"{engine.name} did not start: {wrong}. Its log {log} ends: {last_line(log)}")


def last_line(log: Path) -> str:
    """The last line of a log that says something, shortened."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "(empty)"
