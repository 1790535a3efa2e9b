"""What an image shows, in words: by a list of labels that its name leads to, or by a text that lies beside it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import SourceFiles
from components.errors import SourceError

EXPECTED = 'expected a list of {"hexcode", "label", "tags"}'


@dataclass(frozen=True)
class Label:
    """The name of a concept, and words that go with it."""

    label: str
    tags: tuple[str, ...]


def read_labels(source: SourceFiles) -> dict[str, Label]:
    """Concept -> its label, out of a JSON file in the form of emojibase. Raises SourceError."""
    try:
        rows: Any = json.loads(source.path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"Source {source.name}: {source.path.name} cannot be read: {error}; {EXPECTED}.") from None
    found: dict[str, Label] = {}
    for number, row in enumerate(rows if isinstance(rows, list) else [None], 1):
        match row:
            case {"hexcode": str(code), "label": str(label)}:
                tags = row.get("tags", [])
                found[concept(code)] = Label(label, tuple(map(str, tags if isinstance(tags, list) else [])))
            case _:
                raise SourceError(f"Source {source.name}: entry {number} of {source.path.name}: {EXPECTED}.")
    return found


def concept(name: str) -> str:
    """What a file or an entry is about, by its name: Unicode code points in one spelling for all sets of emoji."""
    parts = [part.lstrip("0") for part in name.lower().split("-")]
    return "-".join(part for part in parts if part != "fe0f") or name.lower()


def beside(image: Path) -> Label | None:
    """The first line of the text file of the same name, as collections of photographs have it."""
    text = image.with_suffix(".txt")
    if not text.is_file():
        return None
    lines = text.read_text("utf-8", errors="replace").splitlines()
    return Label(lines[0].strip(), ()) if lines and lines[0].strip() else None


def caption(template: str, style: str, label: Label) -> str:
    """`template` with {style}, {label} and {tags}."""
    return template.format(style=style, label=label.label, tags=", ".join(label.tags[:5]) or label.label)
