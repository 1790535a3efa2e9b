"""The model's forward pass with its key-value cache."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

CHUNK = 512
"""Prompt tokens per pass: bounds the memory of the logits, and the time until a cancelled request stops."""


def cache_name(model: Any) -> str:
    """What `model` calls what it has read already: "cache", or by an older name."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


class Forward:
    """One sequence on its way through the model: each token is read once."""

    def __init__(self, model: Any) -> None:
        from transformers import DynamicCache

        self._model = model
        self._cache = {cache_name(model): DynamicCache(config=model.config)}

    def chunks(self, ids: list[int], all_logits: bool) -> Iterator[tuple[Any, int]]:
        """Logits (tokens or 1, vocabulary) of each chunk of `ids`, with the place of its first token."""
        for start in range(0, len(ids), CHUNK):
            yield self._read(ids[start : start + CHUNK], 0 if all_logits else 1), start

    def prefill(self, ids: list[int], cancelled: Callable[[], bool]) -> Any:
        """Logits (vocabulary) of what follows `ids`."""
        last = None
        for logits, _ in self.chunks(ids, all_logits=False):
            last = logits[-1]
            if cancelled():
                break
        return last

    def step(self, token: int) -> Any:
        """Logits (vocabulary) of what follows `token`."""
        return self._read([token], 1)[-1]

    def _read(self, ids: list[int], keep: int, **seen: Any) -> Any:
        import torch

        with torch.inference_mode():
            out = self._model(input_ids=torch.tensor([ids]), use_cache=True, logits_to_keep=keep, **self._cache, **seen)
        return out.logits[0]
