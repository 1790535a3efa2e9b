"""Whether a model that was loaded is whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.errors import SourceError


def check(path: Path, model: Any, loaded: Mapping[str, Any]) -> None:
    """Refuse a model in `path` with weights that are missing, superfluous, of another shape or not finite: SourceError.

    `loaded` is what transformers says of its loading.
    """
    import torch

    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if names := sorted(map(str, loaded.get(what, ()))):
            raise SourceError(f"{path}: {what.replace('_keys', '')} weights, {', '.join(names[:3])}.")
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise SourceError(f"{path}: {name} holds values that are not finite.")


def check_vocabulary(path: Path, tokenizer: Any, vocab_size: int) -> None:
    """Refuse a tokenizer with more tokens than the model in `path` knows: SourceError."""
    if len(tokenizer) > vocab_size:
        raise SourceError(
            f"The tokenizer of {path} has {len(tokenizer)} tokens, its model only {vocab_size}: they do not belong together."
        )


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
