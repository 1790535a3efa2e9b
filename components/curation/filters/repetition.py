"""Text that repeats itself (Gopher: Rae et al., 2021, table A1)."""

from components.curation.quality import Quality


def refuse(
    text: str,
    quality: Quality,
    *,
    max_duplicate_lines: float = 0.3,
    max_top_3gram: float = 0.18,
    max_duplicate_5grams: float = 0.15,
) -> str | None:
    """Gopher's bounds on characters in repeated lines, in the most frequent 3-gram and in repeated 5-grams.

    A play repeats the name of each speaker in a line of its own: hence 0.3 for repeated lines where Gopher has 0.2,
    and none of its bound on their number.
    """
    if quality.duplicate_lines > max_duplicate_lines:
        return f"{quality.duplicate_lines:.0%} of the characters in repeated lines, more than {max_duplicate_lines:.0%}"
    if quality.top_3gram > max_top_3gram:
        return f"{quality.top_3gram:.0%} of the characters in one 3-gram, more than {max_top_3gram:.0%}"
    if quality.duplicate_5grams > max_duplicate_5grams:
        return f"{quality.duplicate_5grams:.0%} of the characters in repeated 5-grams, more than {max_duplicate_5grams:.0%}"
    return None
