"""Pictures of texts behind the endpoint."""

import base64
import io
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.serving.api_errors import CONTEXT_EXCEEDED, ApiError
from components.serving.loading import verify

SEEDS = 2**32


class Images:
    """A pipeline that has been checked against its digest, ready to draw."""

    endpoints = ("images/generations",)

    def __init__(self, folder: Path, digest: str, threads: int) -> None:
        """Raises StoreError if `folder` is not what `digest` says or holds code."""
        verify(folder, digest)
        import torch

        from components.diffusion.drawing import open_pipeline

        torch.set_num_threads(threads)
        self.digest = digest
        self._pipeline = open_pipeline(folder)

    def answers(self, job: dict[str, Any], cancelled: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """One event {"type": "images", "images": PNGs in base64, "seed"} for `job` (see schema.py); raises ApiError."""
        from components.diffusion.drawing import draw

        self._check(job)
        seed = secrets.randbelow(SEEDS) if job["seed"] is None else job["seed"] % SEEDS
        seeds = [seed + number for number in range(job["n"])]
        drawn = draw(self._pipeline, [job["prompt"]] * job["n"], seeds, stop=cancelled)
        yield {"type": "images", "images": [_png(image) for image in drawn], "seed": seed}

    def _check(self, job: dict[str, Any]) -> None:
        """Refuse a text that is too long, and a size that is not the model's. Raises ApiError (400)."""
        longest = self._pipeline.tokenizer_max_length
        length = len(self._pipeline.tokenizer(job["prompt"], split_special_tokens=True)["input_ids"])
        if length > longest:
            message = f"The prompt has {length} tokens; this model reads {longest}."
            raise ApiError(400, message, param="prompt", code=CONTEXT_EXCEEDED)
        size = self._pipeline.default_sample_size * self._pipeline.vae_scale_factor
        if job["size"] not in (None, "auto", f"{size}x{size}"):
            raise ApiError(400, f"This model draws {size}x{size}, not {job['size'][:20]}.", param="size")


def _png(image: Any) -> str:
    written = io.BytesIO()
    image.save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()
