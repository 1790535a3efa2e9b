"""Digests: SHA-256 over canonical JSON and over files, and the description of a folder's content."""

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

from components.errors import StoreError

Content = dict[str, Any]
"""{"kind": str, "files": {relative path: {"sha256": hex, "size": bytes}}}, the part of a manifest that is digested."""


def canonical(value: Any) -> bytes:
    """`value` as JSON with sorted keys and no spaces: equal values give equal bytes. Refuses NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value."""
    return hashlib.sha256(canonical(value)).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_under(folder: Path) -> list[Path]:
    """Every regular file below `folder`, sorted by its relative path. Raises StoreError on links and special files."""
    found = []
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            found.append(path)
        elif not stat.S_ISDIR(mode):
            raise StoreError(f"{path} is a link or a special file: an artifact holds regular files only.")
    return found


def folder_content(folder: Path, kind: str) -> Content:
    """What `folder` holds: the digest and size of every file in it."""
    files = {
        path.relative_to(folder).as_posix(): {"sha256": file_digest(path), "size": path.stat().st_size}
        for path in files_under(folder)
    }
    return {"kind": kind, "files": files}
