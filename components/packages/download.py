"""The file of a package, by the tools and the index that this machine is configured with, so that mirrors work."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from components.errors import SourceError
from components.packages.names import Package

SAID_EVERY = 2.0
"""Seconds between two lines about a download; one that is over sooner says nothing."""


def download(package: Package, folder: Path, say: Callable[[str], None]) -> Path:
    """Put the file of `package` into the empty `folder`. Raises SourceError: no such package, no tool, no network."""
    told = _Told(package, say)
    if package.kind in ("pypi", "sdist"):
        from components.packages.index import from_index

        return from_index(package, folder, told)
    if package.kind == "npm":
        wanted = f"{package.name}@{package.version}"
        return _by_tool(["npm", "pack", "--ignore-scripts", "--silent", wanted], package, folder, told)
    wanted = f"{package.name}={package.version}" if package.version else package.name
    return _by_tool(["apt-get", "-q", "download", wanted], package, folder, told)


def _by_tool(command: list[str], package: Package, folder: Path, told: Callable[[int, int | None], None]) -> Path:
    tool = command[0]
    if shutil.which(tool) is None:
        raise SourceError(f"{package} needs the program {tool}, which is not installed here.")
    log = folder / "log"
    with log.open("w") as output:
        running = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            while running.poll() is None:
                time.sleep(0.1)
                told(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()), None)
        finally:
            running.kill()
    files = [path for path in folder.iterdir() if path != log and path.is_file()]
    if running.returncode or len(files) != 1:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("E:", "npm error", "npm ERR!"))] or lines[-1:]
        raise SourceError(f"{package}: {tool} does not give it: {(errors or ['no reason given'])[0][:200]}")
    return files[0]


class _Told:
    """How far a download is, said every two seconds."""

    def __init__(self, package: Package, say: Callable[[str], None]) -> None:
        self.package, self.say, self.last = package, say, time.monotonic()

    def __call__(self, done: int, total: int | None) -> None:
        if time.monotonic() - self.last >= SAID_EVERY:
            self.last = time.monotonic()
            whole = f" of {total / 1e6:.1f}" if total else ""
            self.say(f"Fetching {self.package}: {done / 1e6:.1f}{whole} MB.")
