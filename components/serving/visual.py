"""A decoder that reads pictures behind the endpoint: chats whose messages hold pictures as data URIs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.serving.api_errors import ApiError
from components.serving.engine import Engine
from components.serving.forward import Forward
from components.serving.pictures import picture
from components.serving.prompts import Prompt, conversation, within


class Visual(Engine):
    """An engine whose prompts may hold pictures; each stands in a prompt as the tokens that the vision tower makes of it."""

    endpoints = ("chat/completions",)
    loader = "LlavaForConditionalGeneration"

    def __init__(self, folder: Path, digest: str, threads: int) -> None:
        """Raises StoreError as Engine does."""
        super().__init__(folder, digest, threads)
        from transformers import AutoImageProcessor

        self._processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        self._pixels: Any = None

    def prompts(self, job: dict[str, Any]) -> list[Prompt]:
        """The one prompt of a chat, with its pictures. Raises ApiError (400)."""
        if job["messages"] is None:
            raise ApiError(400, "This model chats: use /v1/chat/completions.", param="model", code="wrong_endpoint")
        uris = [uri for message in job["messages"] for uri in message.get("images", ())]
        self._pixels = (
            self._processor([picture(uri) for uri in uris], return_tensors="pt")["pixel_values"] if uris else None
        )
        messages = [_with_parts(message) for message in job["messages"]]
        prompt = conversation(self.loaded, messages)
        config = self.loaded.model.config
        if prompt.ids.count(config.image_token_id) != len(uris):
            raise ApiError(400, "A message may not hold the token that stands for a picture.", param="messages")
        ids = [
            t
            for token in prompt.ids
            for t in [token] * (config.image_seq_length if token == config.image_token_id else 1)
        ]
        return within(self.loaded, [Prompt(prompt.text, ids)], "messages")

    def forward(self) -> Any:
        """One sequence on its way through the model, with the pictures of its prompt."""
        return _Forward(self.loaded.model, self._pixels)


class _Forward(Forward):
    """The prompt is read in one pass, since its pictures are; what follows, token by token."""

    def __init__(self, model: Any, pixels: Any) -> None:
        super().__init__(model)
        self._pixels = pixels

    def prefill(self, ids: list[int], cancelled: Callable[[], bool]) -> Any:
        """Logits (vocabulary) of what follows `ids`."""
        seen = {} if self._pixels is None else {"pixel_values": self._pixels}
        return self._read(ids, 1, **seen)[-1]


def _with_parts(message: dict[str, Any]) -> dict[str, Any]:
    """As a chat template of pictures takes it: the pictures first."""
    images = [{"type": "image"} for _ in message.get("images", ())]
    return {"role": message["role"], "content": [*images, {"type": "text", "text": message["content"]}]}
