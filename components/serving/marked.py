"""The answer of /v1/answers: a part of the passage."""

from typing import Any

from components.serving.api_errors import from_event
from components.serving.catalogue import Served


class MarkedAnswer:
    """One response: the answer, the characters of the passage that it is, and how likely they are for the model."""

    def __init__(self, served: Served) -> None:
        self._model = served.id
        self._found: dict[str, Any] = {}

    def take(self, event: dict[str, Any]) -> None:
        """Add an event; raises ApiError if it is an error."""
        if event["type"] == "error":
            raise from_event(event)
        self._found = {name: event[name] for name in ("answer", "start", "end", "score")}

    def whole(self) -> dict[str, Any]:
        """The response as one JSON object."""
        return {"object": "answer", "model": self._model, **self._found}
