"""Code, tables and markup instead of prose (Gopher: Rae et al., 2021, table A1; C4 drops pages with a brace)."""

from components.curation.quality import Quality


def refuse(
    text: str, quality: Quality, *, min_alphabetic_words: float = 0.8, max_symbols_per_word: float = 0.1
) -> str | None:
    """Gopher's bounds. Symbols are its hash signs and ellipses, and those of code; C4 would drop a page for one brace."""
    if quality.alphabetic_words < min_alphabetic_words:
        return f"{quality.alphabetic_words:.0%} of the words have a letter, fewer than {min_alphabetic_words:.0%}"
    if quality.symbols_per_word > max_symbols_per_word:
        return f"{quality.symbols_per_word:.2f} symbols per word, more than {max_symbols_per_word}"
    return None
