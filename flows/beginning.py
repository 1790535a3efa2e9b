"""The command `init`: a folder of one's own, with everything that a first run needs."""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from components.errors import InputError
from flows.recipes import HERE, shipped_data

TEXT = "tiny/austen"
"""The shipped data that stands in for one's own documents until there are any."""


def init(asked: argparse.Namespace) -> int:
    """Write a commented recipe, instructions and documents into a new folder."""
    folder = Path(asked.folder).absolute()
    begin(folder)
    print(f"{folder}: recipe.toml, instructions.jsonl, documents/\nheadwater run {os.path.relpath(folder)}/recipe.toml")
    return 0


def begin(folder: Path) -> None:
    """Fill the new or empty `folder`, whole or not at all. Raises InputError where something is in it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already, and not empty: nothing was written. Name a new folder.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".headwater-", dir=folder.parent) as made:
            whole = Path(made) / "start"
            shutil.copytree(HERE / "start", whole)
            shutil.copytree(shipped_data(TEXT), whole / "documents")
            os.rename(whole, folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}.") from None
