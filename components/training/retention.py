"""Which checkpoints stay: the newest, and those with the least loss."""

import shutil
from pathlib import Path

from components.training.checkpoint import read_state, whole


def prune(checkpoints: Path, *, keep_last: int, keep_best: int) -> None:
    """Remove all checkpoints but the `keep_last` newest and, of the others, the `keep_best` with the least loss."""
    found = whole(checkpoints)
    older = found[:-keep_last]
    best = sorted(older, key=_loss)[:keep_best]
    for folder in older:
        if folder not in best:
            shutil.rmtree(folder)


def _loss(folder: Path) -> float:
    try:
        return read_state(folder).loss
    except (OSError, ValueError, TypeError):  # damaged since it was written
        return float("inf")
