"""Masking of personal data: each name is a kind, each kind a pattern and what is written in its place."""

import re
from collections.abc import Iterable

from components.errors import UnknownName

EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}\b")

PHONE = re.compile(
    r"""(?<![\w.+/-])                         # not inside a word, a number, a date or a path
    (?: \+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5} # +1 202 555 0143, +44 (20) 7946 0958
      | \(\d{3}\)[ ]?\d{3}[ .-]\d{4}          # (202) 555-0143
      | \d{3}([ .-])\d{3}\1\d{4}              # 202-555-0143, the same sign twice
      | \d{3}-\d{4}                           # 555-0143
    )(?![\w/-])""",
    re.VERBOSE,
)

MASKS = {"email": (EMAIL, "<EMAIL>"), "phone": (PHONE, "<PHONE>")}


def known(names: Iterable[str]) -> None:
    """Raises UnknownName for the first of `names` that is no kind of personal data."""
    for name in names:
        if name not in MASKS:
            raise UnknownName("mask", name, MASKS)


def masked(text: str, names: Iterable[str]) -> tuple[str, dict[str, int]]:
    """`text` with every match of the named kinds replaced, and how many of each there were."""
    counts = {}
    for name in names:
        pattern, mark = MASKS[name]
        text, counts[name] = pattern.subn(mark, text)
    return text, counts
