"""Two towers behind the endpoint: texts and images become vectors, and an image finds the likeliest of some texts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.serving.api_errors import ApiError
from components.serving.loading import verify
from components.serving.pictures import DATA, picture


class Towers:
    """An export that has been checked against its digest. Vectors have length 1."""

    endpoints = ("embeddings", "classifications")

    def __init__(self, folder: Path, digest: str, threads: int) -> None:
        """Raises StoreError if `folder` is not what `digest` says or holds code."""
        verify(folder, digest)
        import torch
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

        torch.set_num_threads(threads)
        self.digest = digest
        local: dict[str, Any] = {"local_files_only": True}
        self._model: Any = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **local).eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **local)
        self._processor: Any = AutoImageProcessor.from_pretrained(folder, **local)

    def answers(self, job: dict[str, Any], cancelled: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """One event for `job` (see schema.py), embeddings or classifications; raises ApiError."""
        if job["endpoint"] == "embeddings":
            parts = [self._part(given) for given in job["texts"]]
            tokens = sum(len(part) for part in parts if isinstance(part, list))
            yield {"type": "embeddings", "vectors": self._vectors(parts).tolist(), "prompt_tokens": tokens}
            return
        if not job["labels"]:
            raise ApiError(400, "This model was not trained for labels of its own: say which.", param="labels")
        labels = [self._part(label) for label in job["labels"]]
        asked = self._vectors([self._part(job["input"])])
        scale = float(self._model.logit_scale.detach().exp())
        chances = (scale * asked @ self._vectors(labels).T).softmax(-1)[0].tolist()
        yield {"type": "classifications", "labels": job["labels"], "scores": chances}

    def _part(self, given: str | list[int]) -> Any:
        """An image as pixels, or a text as token ids. Raises ApiError (400)."""
        if isinstance(given, str) and given.startswith(DATA):
            return self._processor(picture(given, "input"), return_tensors="pt")["pixel_values"]
        ids = self._tokenizer(given, split_special_tokens=True)["input_ids"] if isinstance(given, str) else given
        text = self._model.config.text_config
        if outside := [token for token in ids if token >= text.vocab_size]:
            raise ApiError(
                400, f"Token id {outside[0]} is outside this model's vocabulary of {text.vocab_size}.", param="input"
            )
        if len(ids) > text.max_position_embeddings:
            message = f"A text has {len(ids)} tokens; this model's texts hold {text.max_position_embeddings}."
            raise ApiError(400, message, param="input", code="context_length_exceeded")
        return ids

    def _vectors(self, parts: list[Any]) -> Any:
        """fp32 (parts, width): each alone, so that no vector depends on what is asked beside it."""
        import torch
        from torch.nn.functional import normalize

        found = []
        with torch.inference_mode():
            for part in parts:
                if isinstance(part, list):
                    features = self._model.get_text_features(torch.tensor([part]))
                else:
                    features = self._model.get_image_features(pixel_values=part)
                found.append(getattr(features, "pooler_output", features))
        return normalize(torch.cat(found), dim=-1)
