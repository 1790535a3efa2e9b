"""Too short or too long to learn from, or not made of words (Gopher: Rae et al., 2021, table A1)."""

from components.curation.quality import Quality


def refuse(
    text: str,
    quality: Quality,
    *,
    min_characters: int = 200,
    min_words: int = 50,
    max_words: int = 100_000,
    min_mean_word_length: float = 3.0,
    max_mean_word_length: float = 10.0,
) -> str | None:
    """Gopher's bounds on words and their mean length; `min_characters` is what a held-out score still makes sense of."""
    if len(text) < min_characters:
        return f"{len(text)} characters, fewer than {min_characters}"
    if quality.words < min_words:
        return f"{quality.words} words, fewer than {min_words}"
    if quality.words > max_words:
        return f"{quality.words} words, more than {max_words}"
    if not min_mean_word_length <= quality.mean_word_length <= max_mean_word_length:
        return f"mean word of {quality.mean_word_length:.1f} letters"
    return None
