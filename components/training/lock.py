"""One writer for a folder: a lock that goes with the process that holds it, however it ends."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from components.errors import TrainingError

PATIENCE = 60.0
"""Seconds to wait for a holder that may be about to end: a worker whose group is being replaced."""


@contextmanager
def sole_writer(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Nobody else writes to `folder` while inside. Raises TrainingError where somebody still does after `patience` s."""
    until = time.monotonic() + patience
    with _opened(folder / ".lock") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise TrainingError(f"Another process is training in {folder}: wait for its end.") from None
                time.sleep(0.1)
        yield


def _opened(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a")
    except OSError as error:
        raise TrainingError(f"{path.parent} cannot be written to: {error}") from error
