"""The writes of which a commit consists, each durable when it returns and each followed by its own fault point."""

import os
import shutil
from pathlib import Path

from components.durable import sync
from components.faults import point


def make_folder(path: Path) -> None:
    """Create `path` and its parents."""
    path.mkdir(parents=True, exist_ok=True)
    point("store.folder_made")


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder`, and itself, to the disk."""
    for path in sorted(folder.rglob("*")):
        sync(path)
    sync(folder)
    point("store.content_synced")


def write_manifest(path: Path, data: bytes) -> None:
    """Write `data` to the new file `path` and flush it and its folder."""
    with path.open("xb") as file:
        point("store.manifest_opened")
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)
    point("store.manifest_written")


def publish(staging: Path, final: Path) -> bool:
    """Rename `staging` to `final`, atomically; False, and nothing done, where `final` stands already."""
    try:
        os.rename(staging, final)
    except OSError:
        if not final.is_dir():
            raise
        return False
    point("store.renamed")
    sync(final.parent)
    point("store.published")
    return True


def discard(folder: Path) -> None:
    """Remove a staging folder with all it holds; one that has gone is fine."""
    shutil.rmtree(folder, ignore_errors=True)
    point("store.discarded")


def set_aside(folder: Path, to: Path) -> None:
    """Move a damaged artifact away, so that a sound one can take its place."""
    to.parent.mkdir(parents=True, exist_ok=True)
    point("store.quarantine_made")
    os.rename(folder, to)
    point("store.set_aside")
