"""Processes: start one of its own session, know it again, stop it with all that descends from it."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from components.births import birth, is_alive

HOME, SERVICE = "HEADWATER_HOME", "HEADWATER_SERVICE"
"""The two variables by which a process tells whose it is, also when its parent is gone."""


def program(name: str) -> str:
    """The command `name` of the environment that runs us, whatever PATH says."""
    return str(Path(sys.executable).parent / name)


def start(command: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path) -> int:
    """Start `command` in a session of its own, output appended to `log`; returns its process id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ).pid


def tree(pid: int | None, born: str | None) -> list[psutil.Process]:
    """The process and all that descends from it, itself first; empty if it is gone or the number was given anew."""
    if pid is None or not is_alive(pid, born):
        return []
    try:
        root = psutil.Process(pid)
        return _spared([root, *root.children(recursive=True)])
    except psutil.NoSuchProcess:
        return []


def belonging(home: Path, leaders: Mapping[int, str], service: str | None = None) -> list[psutil.Process]:
    """Every process of this user that was started for `home` (and `service`), or descends from one that was.

    Known by its environment; or by its session, whose leader's process id and birth are in `leaders`: Ray's agents and
    workers overwrite their environment with their title, and live on for a while as orphans.
    """
    processes = {p.pid: p for p in psutil.process_iter(["ppid", "uids"]) if _is_ours(p)}
    found = {pid for pid, p in processes.items() if _started_for(p, home, service) or _in_session(p, home, leaders)}
    before = -1
    while len(found) != before:
        before = len(found)
        found |= {pid for pid, p in processes.items() if p.info["ppid"] in found}
    return _spared(processes[pid] for pid in sorted(found))


def runs(process: psutil.Process, command: Sequence[str]) -> bool:
    """Whether `process` was started with `command`, a script of this environment and its arguments."""
    try:
        return process.cmdline()[1:] == list(command)  # the interpreter comes first
    except psutil.NoSuchProcess:
        return False


def stop(processes: Sequence[psutil.Process], grace_seconds: float, ask: int | None = None) -> None:
    """SIGTERM to the first `ask` of them (default: all), and after the grace SIGKILL to whatever is left."""
    for process in processes[:ask]:
        _signal(process, "terminate")
    _, left = psutil.wait_procs(processes, timeout=grace_seconds)
    for process in left:
        _signal(process, "kill")
    psutil.wait_procs(left, timeout=5)


def _signal(process: psutil.Process, how: str) -> None:
    with suppress(psutil.NoSuchProcess):
        getattr(process, how)()  # psutil compares the start time first


def _spared(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Without the caller and those it descends from: nobody stops himself."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in processes if process.pid not in own]


def _is_ours(process: psutil.Process) -> bool:
    uids = process.info["uids"]
    return uids is not None and uids.real == os.getuid() and birth(process.pid) is not None


def _started_for(process: psutil.Process, home: Path, service: str | None) -> bool:
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return False
    name = environment.get(SERVICE)
    if name is None or (service is not None and name != service):
        return False
    return os.path.realpath(environment.get(HOME, "")) == os.path.realpath(home)


def _in_session(process: psutil.Process, home: Path, leaders: Mapping[int, str]) -> bool:
    """Whether it is of a session that we began; no number is given anew while a session bears it."""
    try:
        leader = os.getsid(process.pid)
        if birth(leader) not in (None, leaders.get(leader)):
            return False
        return leader in leaders and os.path.realpath(process.cwd()) == os.path.realpath(home)
    except (psutil.Error, OSError):
        return False
