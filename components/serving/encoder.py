"""An encoder behind the endpoint: texts become vectors."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.serving.api_errors import CONTEXT_EXCEEDED, ApiError
from components.serving.loading import load

AT_ONCE = 16


class Encoder:
    """An export that has been checked against its digest, ready to embed.

    A vector is the mean of the last hidden states over a text's tokens, scaled to length 1 (Reimers and Gurevych 2019,
    "Sentence-BERT", with mean pooling).
    """

    endpoints = ("embeddings",)

    def __init__(self, folder: Path, digest: str, threads: int) -> None:
        """Raises StoreError if `folder` is not what `digest` says or holds code."""
        import torch

        torch.set_num_threads(threads)
        self.digest = digest
        self.loaded = load(folder, digest, "AutoModel")

    def answers(self, job: dict[str, Any], cancelled: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """One event {"type": "embeddings", "vectors", "prompt_tokens"} for `job` (see schema.py); raises ApiError."""
        rows = [self._read(text) for text in job["texts"]]
        vectors: list[list[float]] = []
        for first in range(0, len(rows), AT_ONCE):
            if cancelled():
                return
            vectors += self.embed(rows[first : first + AT_ONCE])
        yield {"type": "embeddings", "vectors": vectors, "prompt_tokens": sum(map(len, rows))}

    def embed(self, rows: list[list[int]]) -> list[list[float]]:
        """The vectors of a few texts, given as token ids."""
        import torch
        from torch.nn.functional import normalize

        longest = max(map(len, rows))
        pad = self.loaded.tokenizer.pad_token_id
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
        seen = torch.tensor([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in rows])
        with torch.inference_mode():
            states = self.loaded.model(input_ids=ids, attention_mask=seen.long()).last_hidden_state
            means = (states * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)
        found: list[list[float]] = normalize(means, dim=-1).tolist()
        return found

    def _read(self, text: str | list[int]) -> list[int]:
        if isinstance(text, str):
            ids: list[int] = self.loaded.tokenizer(text, split_special_tokens=True)["input_ids"]
        else:
            ids = text
            size = self.loaded.model.config.vocab_size
            if outside := [token for token in ids if token >= size]:
                raise ApiError(
                    400, f"Token id {outside[0]} is outside this model's vocabulary of {size}.", param="input"
                )
        if len(ids) > self.loaded.context:
            message = f"A text has {len(ids)} tokens; this model's context holds {self.loaded.context}."
            raise ApiError(400, message, param="input", code=CONTEXT_EXCEEDED)
        return ids
