"""What a measure of a model is given, and what it gives. Files beside this one hold one measure each, found by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from components.artifacts import Corpus, Export, Report, SourceFiles
from components.errors import StoreError
from components.recipe import EvaluateConfig

Content = dict[str, Any]
"""At least {"scores": {metric: {"value", "stderr", "unit"}}}; the rest is for the page."""


@dataclass(frozen=True)
class Measure:
    """How models of one kind are measured; each file has one, called `MEASURE`."""

    measure: Callable[["Given"], Content]
    """The content of report.json, a function of the given alone: the same bytes on one machine."""
    page: Callable[[EvaluateConfig, Content], str]
    """report.html for that content."""


class Clock:
    """Seconds of each part, from lap to lap."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = monotonic()

    def lap(self, part: str) -> None:
        """End `part` here."""
        now = monotonic()
        self.seconds[part], self._since = round(now - self._since, 3), now


@dataclass(frozen=True)
class Given:
    """A model, the texts of the corpus, and what the recipe asks for."""

    config: EvaluateConfig
    export: Export
    corpus: Corpus
    train: Sequence[str]
    held_out: Sequence[str]
    items: tuple[SourceFiles, ...]
    scratch: Path
    report: Report
    clock: Clock


def load(export: Export, loader: str) -> tuple[Any, Any]:
    """Model (fp32, evaluation mode) and tokenizer, the model by the class of transformers called `loader`.

    Raises StoreError where they do not fit together.
    """
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(export.path, local_files_only=True, trust_remote_code=False)
    model = (
        getattr(transformers, loader)
        .from_pretrained(
            export.path, dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        .eval()
    )
    vocab_size = model.config.get_text_config().vocab_size
    if len(tokenizer) > vocab_size:
        raise StoreError(f"The tokenizer of {export.path} has {len(tokenizer)} tokens and its model {vocab_size}.")
    return model, tokenizer


def score(value: float, stderr: float | None, unit: str) -> dict[str, Any]:
    """One score of a report."""
    return {"value": value, "stderr": stderr, "unit": unit}
