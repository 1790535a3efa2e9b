"""Sources by content: what a file or folder holds, as one digest, remembered as long as nothing in it is touched."""

import json
import os
import stat
from pathlib import Path

from components.digests import digest, file_digest
from components.errors import SourceError


def source_files(path: Path) -> list[Path]:
    """The files of a source, sorted. Raises SourceError when there is nothing, or a link that leads elsewhere."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SourceError(f"No source at {path}: give a file or a folder.")
    found = []
    for file in sorted(path.rglob("*")):
        if file.is_symlink() and not file.resolve().is_relative_to(path.resolve()):
            raise SourceError(f"Source {path}: {file.relative_to(path)} is a link that leads out of the folder.")
        if file.is_file():
            found.append(file)
    if not found:
        raise SourceError(f"Source {path} is an empty folder.")
    return found


def source_digest(path: Path, remembered: Path | None = None) -> str:
    """SHA-256 over the relative names and contents of a source's files.

    With `remembered`, a JSON file, a file whose inode, size and times are as before is not read again.
    """
    memory = _read(remembered)
    names: dict[str, str] = {}
    for file in source_files(path):
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"Source {path}: {file} is no regular file.")
        key = f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
        try:
            content = memory.get(key) or file_digest(file)
        except OSError as error:
            raise SourceError(f"Source {path}: {file} cannot be read: {error.strerror}.") from None
        memory[key] = content
        names["" if file == path else file.relative_to(path).as_posix()] = content
    _write(remembered, memory)
    return digest(names)


def _read(remembered: Path | None) -> dict[str, str]:
    try:
        return json.loads(remembered.read_bytes()) if remembered else {}
    except (OSError, ValueError):
        return {}


def _write(remembered: Path | None, memory: dict[str, str]) -> None:
    if remembered:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        fresh = remembered.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(memory))
        os.replace(fresh, remembered)
