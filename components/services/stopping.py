"""Stop the services of a home, each by its own process id, and whatever a crash has left of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from components.errors import ServiceError
from components.services import ray
from components.services.health import ENGINES
from components.services.processes import belonging, stop, tree
from components.services.site import Record, Site, locked, site_of


def down(home: Path, report: Callable[[str], None]) -> None:
    """Stop every process of the services of `home`; their ports stay recorded. Raises ServiceError if one survives."""
    home = home.absolute()
    if not home.is_dir():  # removed under running services
        _sweep(Site(home), report)
        ray.remove(home)
        return
    with locked(home, report):
        site = site_of(home)
        # The worker first, while the server is there to be told about the runs that end with it.
        _stop(site, "worker", report)
        others = [name for name in ENGINES if name != "worker"]
        with ThreadPoolExecutor(len(others)) as pool:
            list(pool.map(lambda name: _stop(site, name, report), others))
        _sweep(site, report)
        records = {name: replace(record, pid=None, born=None) for name, record in site.records.items()}
        if records:
            Site(home, records).save()
        ray.remove(home)


def _stop(site: Site, name: str, report: Callable[[str], None]) -> None:
    record = site.records.get(name, Record({}))
    processes = tree(record.pid, record.born)
    if processes:
        # Each engine ends its own children in order, if it alone is asked to.
        stop(processes, ENGINES[name].grace_seconds, ask=1)
        report(f"{name} is down")


def _sweep(site: Site, report: Callable[[str], None]) -> None:
    """End what no record knows: children of a killed service, and services of a killed `up`."""
    for _ in range(5):  # what is ended may just have started another
        left = belonging(site.home, site.leaders())
        if not left:
            return
        report(f"ending {len(left)} processes that were left behind")
        stop(left, grace_seconds=3)
    left = belonging(site.home, site.leaders())
    if left:
        raise ServiceError(f"Still running after SIGKILL: {', '.join(str(process.pid) for process in left)}.")
