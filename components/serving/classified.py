"""The answer of /v1/classifications: how likely each label is."""

from typing import Any

from components.serving.api_errors import from_event
from components.serving.catalogue import Served


class ClassificationAnswer:
    """One response: the labels with their probabilities, the likeliest first."""

    def __init__(self, served: Served) -> None:
        self._model = served.id
        self._labels: list[str] = []
        self._scores: list[float] = []

    def take(self, event: dict[str, Any]) -> None:
        """Add an event; raises ApiError if it is an error."""
        if event["type"] == "error":
            raise from_event(event)
        self._labels, self._scores = event["labels"], event["scores"]

    def whole(self) -> dict[str, Any]:
        """The response as one JSON object."""
        ranked = sorted(zip(self._labels, self._scores, strict=True), key=lambda pair: -pair[1])
        rows = [{"label": label, "score": score} for label, score in ranked]
        return {"object": "classification", "model": self._model, "labels": rows}
