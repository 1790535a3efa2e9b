"""The answer of /v1/images/generations in OpenAI's shape."""

import time
from typing import Any

from components.serving.api_errors import from_event
from components.serving.catalogue import Served


class ImagesAnswer:
    """One response: PNGs in base64, and the seed by which they are drawn again."""

    def __init__(self, served: Served) -> None:
        self._model = served.id
        self._images: list[str] = []
        self._seed = 0

    def take(self, event: dict[str, Any]) -> None:
        """Add an event; raises ApiError if it is an error."""
        if event["type"] == "error":
            raise from_event(event)
        self._images, self._seed = event["images"], event["seed"]

    def whole(self) -> dict[str, Any]:
        """The response as one JSON object."""
        rows = [{"b64_json": image} for image in self._images]
        return {
            "created": int(time.time()),
            "data": rows,
            "model": self._model,
            "seed": self._seed,
            "output_format": "png",
        }
