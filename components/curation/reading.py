"""Reading sources: which files of a source hold documents, and their text, or one line that says what is wrong."""

import codecs
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.artifacts import SourceFiles
from components.curation import mails, squad
from components.errors import SourceError
from components.sources import source_files

KINDS = {".txt": "text", ".html": "page", ".htm": "page", ".jsonl": "lines", ".eml": "mail", ".json": "passages"}
"""File endings that are read; files with other endings are counted and left out. A text that is a mail is read as one, and
of JSON only what is SQuAD's."""

BEGINNING = 4096
# Escape is let through: the ISO-2022 encodings of pages are made with it.
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)


@dataclass(frozen=True)
class File:
    """A file of a source: `path` is relative to the source, `place` says where it lies."""

    source: str
    path: str
    place: str
    kind: str


def files_of(source: SourceFiles) -> tuple[list[File], int]:
    """The readable files of a source, sorted by path, and how many others it has.

    Raises SourceError when nothing is there, a link leads out of the folder, or no file has a known ending.
    """
    found = source_files(source.path)
    kinds = {place: kind for place in found if (kind := _kind(place))}
    if not kinds:
        endings = ", ".join(sorted({p.suffix or p.name for p in found}))
        raise SourceError(f"Source {source.name}: no file to read, only {endings}. Known: {', '.join(KINDS)}.")
    files = []
    for place, kind in kinds.items():
        path = place.name if place == source.path else place.relative_to(source.path).as_posix()
        files.append(File(source.name, path, str(place), kind))
    return files, len(found) - len(kinds)


def _kind(place: Path) -> str | None:
    """How a file is read, by its ending and its beginning; None for what is left out."""
    kind = KINDS.get(place.suffix.lower())
    if kind not in ("text", "passages"):
        return kind
    with place.open("rb") as file:
        beginning = file.read(BEGINNING)
    if kind == "passages":
        return kind if squad.is_squad(beginning) else None
    return "mail" if mails.is_mail(beginning) else kind


def texts(file: File) -> Sequence[str]:
    """The raw texts in a file: one, or one per JSON line. Raises SourceError with the file and the byte or line."""
    where = f"Source {file.source}: {file.path}"
    try:
        raw = Path(file.place).read_bytes()
    except OSError as error:
        raise SourceError(f"{where} cannot be read: {error.strerror}.") from None
    if file.kind == "mail":
        return [mails.text(raw)]
    if control := CONTROL.search(raw):
        raise SourceError(
            f"{where} is binary, not text: control character 0x{raw[control.start()]:02x} at byte {control.start()}."
        )
    if file.kind == "passages":
        return squad.texts(raw, where)
    text = _decoded(raw, _encoding(raw, where) if file.kind == "page" else "utf-8", where)
    return _json_lines(text, where) if file.kind == "lines" else [text]


def _encoding(page: bytes, where: str) -> str:
    """The encoding that a page declares in its first 2,048 bytes, else UTF-8."""
    declared = CHARSET.search(page[:2048])
    if declared is None or page.startswith(codecs.BOM_UTF8):
        return "utf-8"
    name = declared[1].decode("ascii").lower()
    # Browsers read Latin-1 as its superset windows-1252 (WHATWG Encoding Standard), and so do its authors.
    name = {"iso-8859-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252"}.get(name, name)
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise SourceError(f"{where} declares the encoding {name!r}, which does not exist.") from None


def _decoded(raw: bytes, encoding: str, where: str) -> str:
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == "utf-8" else encoding
        raise SourceError(f"{where} is not {name} text: byte 0x{raw[error.start]:02x} at {error.start}.") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _json_lines(text: str, where: str) -> list[str]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            raise SourceError(f"{where} line {number} is not JSON.") from None
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise SourceError(f'{where} line {number} has no "text" that is a string.')
        found.append(record["text"])
    return found
