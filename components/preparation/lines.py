"""JSON lines, with the place of each for messages about it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.artifacts import SourceFiles
from components.errors import SourceError


@dataclass(frozen=True)
class Line:
    """One record of a source."""

    id: str
    """source/file#number."""
    record: Any
    """Its JSON value."""
    where: str
    """File and line number."""
    shown: str
    """Its beginning."""

    def refused(self, expected: str) -> SourceError:
        """The error for a record that is not what was `expected`."""
        return SourceError(f"{self.where}: {self.shown!r}: {expected}.")


def read_lines(source: SourceFiles, expected: str) -> Iterator[Line]:
    """Every line of `source` that is not blank: a .jsonl file, or a folder of them.

    Raises SourceError, which says where and what was `expected`, on a line that is not JSON in UTF-8.
    """
    files = [source.path] if source.path.is_file() else sorted(source.path.rglob("*.jsonl"))
    if not files:
        raise SourceError(f"Source {source.name}: {source.path} has no .jsonl file.")
    for file in files:
        name = file.name if file == source.path else file.relative_to(source.path).as_posix()
        for number, line in enumerate(file.read_bytes().splitlines(), 1):
            if line.strip():
                where = f"{file}, line {number}"
                shown = line[:80].decode(errors="replace")
                yield Line(f"{source.name}/{name}#{number}", _parsed(line, where, expected), where, shown)


def _parsed(line: bytes, where: str, expected: str) -> Any:
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise SourceError(f"{where}: not UTF-8 text (byte {error.start}); {expected}.") from None
    except json.JSONDecodeError as error:
        raise SourceError(f"{where}: not JSON ({error.msg} at column {error.colno}); {expected}.") from None
