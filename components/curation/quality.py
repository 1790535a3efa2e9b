"""What is measured of a document once, recorded with it, and judged by the filters."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
"""Gopher's eight (Rae et al., 2021, table A1)."""
PUNCTUATION = re.compile(r"^\W+|\W+$")
CLAUSE_END = re.compile(r"[.!?:;][\"'\u201d\u2019)\]]*(?:\s|$)")


@dataclass(frozen=True, slots=True)
class Quality:
    """Counts and fractions (0 to 1) of one document."""

    words: int
    mean_word_length: float
    alphabetic_words: float
    """Fraction of the words with at least one letter."""
    symbols_per_word: float
    """Hash signs, braces, ellipses and the like, per word."""
    stop_words: int
    """How many different ones of Gopher's stop words occur."""
    duplicate_lines: float
    """Fraction of the characters that stand in lines which occurred before."""
    top_3gram: float
    """Fraction of the characters in the most frequent sequence of three words."""
    duplicate_5grams: float
    """Fraction of the characters in sequences of five words which occurred before."""
    clause_ends: float
    """Ends of sentences and clauses per line. FineWeb looks at the ends of lines, but a wrapped text has them anywhere."""
    short_lines: float
    """Fraction of the lines below 30 characters."""


def measure(text: str) -> Quality:
    """The quality of `text`."""
    words = text.split()
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    characters = sum(map(len, words)) or 1
    bare = [PUNCTUATION.sub("", word).lower() for word in words]
    return Quality(
        words=len(words),
        mean_word_length=_fraction(sum(map(len, bare)), len(words)),
        alphabetic_words=_fraction(sum(any(c.isalpha() for c in word) for word in words), len(words)),
        symbols_per_word=_fraction(sum(map(text.count, ("#", "...", "…", "{", "}", "$", "\\", "|"))), len(words)),
        stop_words=len(STOP_WORDS.intersection(bare)),
        duplicate_lines=_fraction(_repeated(lines), sum(map(len, lines))),
        top_3gram=_fraction(_most_frequent(bare, 3), characters),
        duplicate_5grams=_fraction(_covered_twice(bare, 5), characters),
        clause_ends=_fraction(len(CLAUSE_END.findall(text)), len(lines)),
        short_lines=_fraction(sum(len(line) < 30 for line in lines), len(lines)),
    )


def _fraction(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0


def _repeated(lines: Sequence[str]) -> int:
    """Characters in lines that occurred before."""
    seen: set[str] = set()
    count = 0
    for line in lines:
        count += len(line) if line in seen else 0
        seen.add(line)
    return count


def _most_frequent(words: Sequence[str], n: int) -> int:
    """Characters covered by the most frequent n-gram, if it occurs more than once."""
    grams = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    if not grams:
        return 0
    times = max(grams.values())
    return times * max(sum(map(len, gram)) for gram, n_times in grams.items() if n_times == times) if times > 1 else 0


def _covered_twice(words: Sequence[str], n: int) -> int:
    """Characters of the words that lie in an n-gram which occurred before; each word counts once."""
    seen: set[tuple[str, ...]] = set()
    count = covered = 0
    for start, gram in enumerate(zip(*(words[i:] for i in range(n)), strict=False)):
        if gram in seen:
            count += sum(map(len, words[max(covered, start) : start + n]))
            covered = start + n
        seen.add(gram)
    return count
