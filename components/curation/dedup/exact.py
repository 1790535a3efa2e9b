"""Exact duplicates: the same text but for case and white space."""

import hashlib
from collections.abc import Sequence


def key(text: str) -> bytes:
    """SHA-256 of `text` in folded case with single spaces: equal for exact duplicates."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).digest()


def duplicates(keys: Sequence[bytes]) -> dict[int, int]:
    """For each index whose key occurred before: the index where it occurred first."""
    first: dict[bytes, int] = {}
    found = {}
    for index, value in enumerate(keys):
        if first.setdefault(value, index) != index:
            found[index] = first[value]
    return found
