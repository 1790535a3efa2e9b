"""A classifier behind the endpoint: how likely each of its labels is for a text."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.serving.api_errors import ApiError
from components.serving.loading import load


class Classifier:
    """An export that has been checked against its digest. Of a text that is too long the beginning is read, as in training."""

    endpoints = ("classifications",)

    def __init__(self, folder: Path, digest: str, threads: int) -> None:
        """Raises StoreError if `folder` is not what `digest` says or holds code."""
        import torch

        torch.set_num_threads(threads)
        self.digest = digest
        self._loaded = load(folder, digest, "AutoModelForSequenceClassification")
        named = self._loaded.model.config.id2label
        self._labels = [named[number] for number in range(len(named))]

    def answers(self, job: dict[str, Any], cancelled: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """One event {"type": "classifications", "labels", "scores"} for `job` (see schema.py); raises ApiError.

        Of labels that are asked for, the scores are those among all that the model knows.
        """
        import torch

        asked = job["labels"] or self._labels
        if unknown := [label for label in asked if label not in self._labels]:
            message = f"This model has no label {unknown[0][:100]!r}. Known: {', '.join(self._labels)}."
            raise ApiError(400, message, param="labels")
        how = {
            "truncation": True,
            "max_length": self._loaded.context,
            "split_special_tokens": True,
            "return_tensors": "pt",
        }
        ids = self._loaded.tokenizer(job["input"], **how)
        with torch.inference_mode():
            chances = self._loaded.model(**ids).logits.float().softmax(-1)[0].tolist()
        yield {
            "type": "classifications",
            "labels": asked,
            "scores": [chances[self._labels.index(label)] for label in asked],
        }
