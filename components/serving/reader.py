"""A reader behind the endpoint: the answer to a question, marked in a passage."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.passages import mark
from components.serving.api_errors import ApiError
from components.serving.loading import load

MOST_WINDOWS = 64
"""A passage of more tokens than so many times what is read at once is refused: each takes its time."""


class Reader:
    """An export that has been checked against its digest. A passage longer than it reads at once is read part by part."""

    endpoints = ("answers",)

    def __init__(self, folder: Path, digest: str, threads: int) -> None:
        """Raises StoreError if `folder` is not what `digest` says or holds code."""
        import torch

        torch.set_num_threads(threads)
        self.digest = digest
        self._loaded = load(folder, digest, "AutoModelForQuestionAnswering")
        self._context = min(self._loaded.context, self._loaded.tokenizer.model_max_length)

    def answers(self, job: dict[str, Any], cancelled: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """One event {"type": "answers", "answer", "start", "end", "score"} for `job` (see schema.py); raises ApiError."""
        tokenizer, passage = self._loaded.tokenizer, job["passage"]
        count = len(tokenizer(passage, add_special_tokens=False, split_special_tokens=True)["input_ids"])
        if not 0 < count <= MOST_WINDOWS * self._context:
            message = f"passage has {count} tokens: between 1 and {MOST_WINDOWS * self._context} can be read."
            raise ApiError(400, message, param="passage")
        found = mark(self._loaded.model, tokenizer, job["question"], passage, self._context)
        start, text = found.answer.start, found.answer.text
        yield {"type": "answers", "answer": text, "start": start, "end": start + len(text), "score": found.score}
