"""What draws, and how a CLIP sees what is drawn."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from components.artifacts import Export
from components.evaluation.scoring import Floats

AT_ONCE = 32


class Eyes:
    """The pipeline of an export, and both towers of its CLIP."""

    def __init__(self, export: Export) -> None:
        from transformers import AutoImageProcessor, AutoTokenizer

        from components.diffusion.drawing import open_pipeline
        from components.diffusion.model import TextToImage

        self.pipeline = open_pipeline(export.path)
        self.model: Any = TextToImage.from_pretrained(export.path).eval()
        self.processor: Any = AutoImageProcessor.from_pretrained(export.path, local_files_only=True)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(export.path, local_files_only=True)

    @contextmanager
    def untrained(self, seed: int) -> Iterator[Any]:
        """The pipeline with an autoencoder and a transformer that have learnt nothing; as it was, when left."""
        import torch

        kept = {"vae": self.pipeline.vae, "transformer": self.pipeline.transformer}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = type(self.model)(self.model.config).eval()
        self.pipeline.register_modules(vae=fresh.vae, transformer=fresh.transformer)
        try:
            yield self.pipeline
        finally:
            self.pipeline.register_modules(**kept)

    def images(self, pictures: Sequence[Any]) -> Floats:
        """Features of pictures, fp64 (number, width)."""
        import torch

        found = []
        for start in range(0, len(pictures), AT_ONCE):
            pixels = self.processor(list(pictures[start : start + AT_ONCE]), return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                found.append(self.model.image_encoder(pixels).image_embeds.double().numpy())
        return np.concatenate(found)

    def texts(self, texts: Sequence[str]) -> Floats:
        """Features of texts, of length 1, fp64 (number, width)."""
        import torch

        longest = self.model.text_encoder.config.max_position_embeddings
        ids = self.tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        with torch.inference_mode():
            return unit(self.model.text_encoder(ids["input_ids"]).text_embeds.double().numpy())


def unit(features: Floats) -> Floats:
    """Each row at length 1."""
    found: Floats = features / np.linalg.norm(features, axis=1, keepdims=True)
    return found


def frechet(ours: Floats, theirs: Floats) -> float:
    """|m - n|^2 + tr(A + B - 2 (A B)^(1/2)) of the means and covariances of two sets of features (Dowson and Landau 1982)."""
    means = ours.mean(0) - theirs.mean(0)
    first, second = (np.atleast_2d(np.cov(side, rowvar=False)) for side in (ours, theirs))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    both = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    return float(means @ means + np.trace(first) + np.trace(second) - 2 * both)
