"""Lists, menus and legal notices instead of sentences (C4: Raffel et al., 2020; FineWeb: Penedo et al., 2024)."""

from components.curation.quality import Quality

PHRASES = ("lorem ipsum", "javascript must be enabled", "enable javascript", "cookie policy", "privacy policy")
"""C4's phrases of pages that are no text."""


def refuse(
    text: str,
    quality: Quality,
    *,
    min_stop_words: int = 2,
    min_clause_ends: float = 0.12,
    max_short_lines: float = 0.67,
    max_clause_ends_of_a_menu: float = 0.3,
) -> str | None:
    """C4's phrases, Gopher's stop words (Rae et al., 2021), and FineWeb's bounds on the ends and lengths of lines.

    Short lines count only with few ends of clauses beside them, because verse and dialogue are short too.
    """
    lowered = text.lower()
    for phrase in PHRASES:
        if phrase in lowered:
            return f"says {phrase!r}"
    if quality.stop_words < min_stop_words:
        return f"{quality.stop_words} different stop words, fewer than {min_stop_words}"
    if quality.clause_ends < min_clause_ends:
        return f"{quality.clause_ends:.2f} ends of a clause per line, fewer than {min_clause_ends}"
    if quality.short_lines > max_short_lines and quality.clause_ends < max_clause_ends_of_a_menu:
        return f"{quality.short_lines:.0%} of the lines are short, more than {max_short_lines:.0%}"
    return None
