"""What this machine lacks to run Headwater, and for each lack the command that mends it."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from components.services.health import services
from components.services.ports import is_free
from components.services.ray import LONGEST_FOLDER, temp_folder
from components.services.site import Site, site_of
from components.services.starting import USUAL_PORTS

DISK_GB, MEMORY_GB, CORES = 10, 8, 2
"""What the demo needs."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    """The command that mends it; empty where nothing is wrong."""


def doctor(home: Path) -> list[Finding]:
    """Look at Python, packages, programs, machine, home, ports and services. Starts and changes nothing."""
    home = home.absolute()
    site = site_of(home)
    return [*_python(), *_packages(), *_programs(), *_machine(home), *_home(home), *_ports(site), *_services(site)]


def _found(name: str, ok: bool, found: str, remedy: str) -> Finding:
    return Finding(name, ok, found, "" if ok else remedy)


def _python() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    yield _found("python", sys.version_info[:2] == (3, 11), found, "apt install python3.11-venv && make install")


def _packages() -> Iterator[Finding]:
    try:
        declared = [Requirement(line) for line in requires("headwater") or []]
    except PackageNotFoundError:
        yield Finding("headwater", False, "not installed", "make install")
        return
    for wanted in declared:
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            yield Finding(wanted.name, False, "not installed", f"pip install -c infra/constraints.txt '{wanted}'")
            continue
        fits = wanted.specifier.contains(found, prereleases=True)
        yield _found(wanted.name, fits, found, f"pip install -c infra/constraints.txt '{wanted}'")


def _programs() -> Iterator[Finding]:
    for program in ("git", "make"):
        path = shutil.which(program)
        yield _found(program, path is not None, path or "not in PATH", f"apt install {program}")
    driver = shutil.which("nvidia-smi")
    yield Finding("gpu", True, f"driver at {driver}" if driver else "none: training and serving run on the CPU")


def _machine(home: Path) -> Iterator[Finding]:
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    disk = shutil.disk_usage(place).free / 1e9
    yield _found("disk", disk >= DISK_GB, f"{disk:.0f} GB free at {place}", "export HEADWATER_HOME=/a/larger/disk")
    memory = psutil.virtual_memory().available / 1e9
    less = f"free {MEMORY_GB} GB of memory (headwater down ends the services of a home)"
    yield _found("memory", memory >= MEMORY_GB, f"{memory:.0f} GB available", less)
    cores = os.cpu_count() or 1
    yield _found("cores", cores >= CORES, str(cores), f"use a machine with {CORES} cores: one works, slowly")


def _home(home: Path) -> Iterator[Finding]:
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    ok = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    found = f"{home} is {'writable' if ok else 'not writable'}"
    yield _found("home", ok, found, "export HEADWATER_HOME=/a/folder/of/yours")
    folder = temp_folder(home)
    yield _found("socket path", len(str(folder)) <= LONGEST_FOLDER, str(folder), "export TMPDIR=/tmp")


def _ports(site: Site) -> Iterator[Finding]:
    """A usual port that someone else has is no lack: the service then takes another, and every client finds it."""
    own = {port for record in site.records.values() for port in record.ports.values()}
    for name, ports in USUAL_PORTS.items():
        for port in filter(None, ports.values()):
            used = "used by this home" if port in own else "taken: another one is used"
            yield Finding(f"port {port}", True, "free" if is_free(port) else f"{used} ({name})")


def _services(site: Site) -> Iterator[Finding]:
    if not any(record.pid for record in site.records.values()):
        yield Finding("services", True, "not started")
        return
    for name, service in services(site).items():
        if name == "serve" and not service.healthy:
            yield Finding(name, True, "no model is deployed")
        else:
            yield _found(name, service.healthy, service.ailment or "healthy", "headwater up")
