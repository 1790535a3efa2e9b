"""Progress: rank 0 appends JSON lines to a file in scratch, and the driver passes them on while it waits.

A file needs no connection between worker and driver, and a driver that was killed and started again finds it there.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import TrainingError
from components.pace import Pace

Line = dict[str, Any]
OFTEN, SELDOM = 0.5, 10.0
"""Seconds from line to line, at first and in a long phase: every line is a row of the ledger and a point of a curve."""


class ProgressWriter:
    """Appends lines; `due` says when the next one should come. Raises TrainingError where one cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._pace = Pace(OFTEN, SELDOM)
        self._append(b"\n")  # ends the torn line of a killed writer

    @property
    def due(self) -> bool:
        """Whether it is time for the next line."""
        return self._pace.due

    def write(self, line: Line) -> None:
        """Append one line at once, so that a kill loses at most a part of the last."""
        self._append(json.dumps(line).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        try:
            written = self._file.write(line)
        except OSError as error:
            raise TrainingError(f"Progress cannot be written to {self.path}: {error}") from error
        if written != len(line):
            raise TrainingError(f"Progress cannot be written to {self.path}: no room for the whole line.")
        self._pace.looked()


@contextmanager
def following(path: Path, each: Callable[[Line], None]) -> Iterator[None]:
    """While inside, and once at the end, `each` gets every line that is appended to `path` from now on.

    What `each` raises ends the following and is raised when the block has ended without an error of its own.
    """
    start = path.stat().st_size if path.exists() else 0
    stop = threading.Event()
    raised: list[Exception] = []

    def follow() -> None:
        try:
            _follow(path, start, each, stop)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=follow, name="training-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if raised:
        raise raised[0]


def error_since(path: Path, position: int) -> bool:
    """Whether a worker has left an error after the first `position` bytes of the progress."""
    with path.open("rb") as file:
        file.seek(position)
        return any("error" in (_parsed(line) or {}) for line in file)


def _follow(path: Path, position: int, each: Callable[[Line], None], stop: threading.Event) -> None:
    while True:
        last = stop.wait(0.25)
        if path.exists():
            with path.open("rb") as file:
                file.seek(position)
                *whole, _part = file.read().split(b"\n")
            position += sum(len(line) + 1 for line in whole)
            for line in whole:
                if (found := _parsed(line)) is not None:
                    each(found)
        if last:
            return


def _parsed(line: bytes) -> Line | None:
    """A line; None for an empty one, or the torn one that a killed writer left."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
