"""Which checkpoints stay: the newest, those with the least loss, and one that a bad step could go back to."""

import shutil
import statistics
from pathlib import Path

from components.training.checkpoint import read_state, step_of, whole
from components.training.guards import SKIPPED


def prune(checkpoints: Path, *, keep_last: int, keep_best: int) -> None:
    """Remove all checkpoints but the `keep_last` newest, the `keep_best` others with the least loss, and one more.

    That is the newest one from before whatever could be skipped next, where it is not among those.
    """
    found = whole(checkpoints)
    newest, older = step_of(found[-1]), found[:-keep_last]
    before = [folder for folder in found if step_of(folder) <= max(0, newest - SKIPPED)][-1:]
    best = sorted(older, key=_loss)[:keep_best]
    for folder in older:
        if folder not in best + before:
            shutil.rmtree(folder)


def _loss(folder: Path) -> float:
    """The mean of the last losses, as a single one says little."""
    try:
        return statistics.fmean(read_state(folder).losses)
    except (OSError, ValueError, TypeError):  # before the first step, or damaged since it was written
        return float("inf")
