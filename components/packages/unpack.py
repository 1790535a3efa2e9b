"""Unpacking packages without running anything in them: .whl and .zip, .tar.gz and .tgz, .deb.

Regular files alone come out. Links are left out: many lead out of a package, and a source may hold none that do.
"""

import shutil
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO

from components.errors import SourceError

RATIO, SLACK = 200, 64 << 20
"""A package may become so many times larger, and so many bytes more; text packs 3 to 40 times, a bomb 1,000 times."""
MOST_FILES = 500_000


def unpack(file: Path, folder: Path) -> None:
    """Put what `file` holds into the new `folder`; a single folder around everything is taken off where names are ours.

    Raises SourceError on a damaged file, a name that leads out of the folder, and far more content than the size of
    `file` allows; what was written until then is the caller's to remove.
    """
    left = file.stat().st_size * RATIO + SLACK
    num_files = 0
    with ExitStack() as open_files:
        try:
            for name, content in _members(file, open_files, left):
                place = folder / _inside(file, name)
                num_files += 1
                if num_files > MOST_FILES:
                    raise SourceError(f"{file.name} holds more than {MOST_FILES:,} files.")
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as out:
                    left -= _copy(file, content, out, left)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise SourceError(f"{file.name} is damaged or no package: {error}.") from None
        except OSError as error:  # zlib and lzma give these too
            raise SourceError(f"{file.name} cannot be unpacked: {error.strerror or error}.") from None
    if not num_files:
        raise SourceError(f"{file.name} holds no files.")


def without_cover(folder: Path) -> Path:
    """The folder below `folder` that holds all of it: sdists have NAME-VERSION/ around everything, npm package/."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _members(file: Path, open_files: ExitStack, most: int) -> Iterator[tuple[str, IO[bytes]]]:
    if file.suffix in (".whl", ".zip"):
        archive = open_files.enter_context(zipfile.ZipFile(file))
        for entry in archive.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if not entry.is_dir() and kind in (0, stat.S_IFREG):
                with archive.open(entry) as content:
                    yield entry.filename, content
        return
    if file.suffix == ".deb":
        file = _data_of(file, file.parent / "data.tar", most)
    with tarfile.open(file) as tar:
        for member in tar:
            if member.isreg() or member.islnk():
                inside = tar.extractfile(member)
                assert inside is not None, "a regular file has content"
                yield member.name, inside


def _data_of(file: Path, tar: Path, most: int) -> Path:
    """The tar of a Debian package's files."""
    if shutil.which("dpkg-deb") is None:
        raise SourceError(f"{file.name} needs the program dpkg-deb, which is not installed here.")
    command = ["dpkg-deb", "--fsys-tarfile", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running, tar.open("wb") as out:
        assert running.stdout is not None
        try:
            _copy(file, running.stdout, out, most)
        finally:
            running.stdout.close()
    if running.returncode:
        raise SourceError(f"{file.name} is damaged or no package: dpkg-deb does not read it.")
    return tar


def _inside(file: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise SourceError(f"{file.name} holds {name!r}, which leads out of the folder: not unpacked.")
    return path


def _copy(file: Path, content: IO[bytes], out: IO[bytes], most: int) -> int:
    """Copy at most `most` bytes; raises SourceError where there are more."""
    copied = 0
    while chunk := content.read(1 << 20):
        copied += len(chunk)
        if copied > most:
            raise SourceError(f"{file.name} unpacks to more than {RATIO} times its size: not unpacked further.")
        out.write(chunk)
    return copied
