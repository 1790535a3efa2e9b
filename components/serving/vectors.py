"""The answer of /v1/embeddings in OpenAI's shape."""

import base64
import struct
from typing import Any

from components.serving.api_errors import from_event
from components.serving.catalogue import Served


class EmbeddingsAnswer:
    """One response: a vector for each text, as numbers, or as base64 of little-endian fp32, which OpenAI's client asks."""

    def __init__(self, served: Served, *, in_base64: bool) -> None:
        self._model, self._in_base64 = served.id, in_base64
        self._vectors: list[list[float]] = []
        self._prompt_tokens = 0

    def take(self, event: dict[str, Any]) -> None:
        """Add an event; raises ApiError if it is an error."""
        if event["type"] == "error":
            raise from_event(event)
        self._vectors, self._prompt_tokens = event["vectors"], event["prompt_tokens"]

    def whole(self) -> dict[str, Any]:
        """The response as one JSON object."""
        rows = [
            {"object": "embedding", "index": index, "embedding": self._written(vector)}
            for index, vector in enumerate(self._vectors)
        ]
        usage = {"prompt_tokens": self._prompt_tokens, "total_tokens": self._prompt_tokens}
        return {"object": "list", "data": rows, "model": self._model, "usage": usage}

    def _written(self, vector: list[float]) -> list[float] | str:
        if not self._in_base64:
            return vector
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
