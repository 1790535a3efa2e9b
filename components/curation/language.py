"""Language identification: py3langid's naive Bayes model over byte n-grams (Lui and Baldwin, 2012, langid.py)."""

from functools import cache
from typing import Any


def identify(text: str) -> tuple[str, float]:
    """The language of `text` (ISO 639-1) and the probability of it, normalised over all languages."""
    language, probability = _identifier().classify(text)
    return str(language), round(float(probability), 4)


@cache
def _identifier() -> Any:
    """The model that comes in the wheel, loaded once per process."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
