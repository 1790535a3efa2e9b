"""Batches out of memory-mapped samples."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from components.artifacts import Samples
from components.errors import StoreError
from components.recipe import TrainPhase
from components.training.order import sample_at, share

IGNORED = -100
"""The label of a position that no loss counts."""


@dataclass(frozen=True)
class Batch:
    """What a model reads and what it should say."""

    input_ids: torch.Tensor
    """int64 (batch, time), padded on the right."""
    labels: torch.Tensor
    """int64 (batch, time): the token after each position, or IGNORED."""
    num_tokens: int
    """Tokens read, padding left out."""


class Loader:
    """The batches of a phase. Its only state is the step: batch `step` is the same after any number of restarts.

    Kind "tokens" is read in windows of context + 1 tokens over the whole stream, kind "chats" one chat a sample.
    """

    def __init__(self, samples: Samples, *, batch_size: int, seed: int) -> None:
        described = samples.json("samples.json")
        self.kind: str = described["kind"]
        self.context: int = described["context"]
        self.pad_token_id: int = described["pad_token_id"]
        self.batch_size, self.seed = batch_size, seed
        self._tokens = np.memmap(samples.path / "tokens.bin", dtype=described["dtype"], mode="r")
        if len(self._tokens) != described["num_tokens"]:
            raise StoreError(
                f"{samples.path} has {len(self._tokens)} tokens, samples.json says {described['num_tokens']}."
            )
        if self.kind == "chats":
            self._offsets = np.load(samples.path / "offsets.npy")
            self._mask = np.memmap(samples.path / "mask.bin", dtype=np.uint8, mode="r")
            self.num_samples: int = described["num_documents"]
        else:
            self.num_samples = (described["num_tokens"] - 1) // self.context

    @property
    def tokens_per_sample(self) -> float:
        """How many tokens a sample makes the model read, on average."""
        return len(self._tokens) / self.num_samples - 1 if self.kind == "chats" else self.context

    def batch(self, step: int, *, rank: int = 0, world_size: int = 1) -> Batch:
        """The part of the batch of `step` that is `rank`'s."""
        first = step * self.batch_size
        samples = [
            self._sample(sample_at(first + i, num_samples=self.num_samples, seed=self.seed))
            for i in share(self.batch_size, rank, world_size)
        ]
        longest = max((len(ids) for ids, _ in samples), default=0)
        input_ids = np.full((len(samples), longest), self.pad_token_id, dtype=np.int64)
        labels = np.full((len(samples), longest), IGNORED, dtype=np.int64)
        for row, (ids, said) in enumerate(samples):
            input_ids[row, : len(ids)] = ids
            labels[row, : len(said)] = said
        num_tokens = sum(len(ids) for ids, _ in samples)
        return Batch(torch.from_numpy(input_ids), torch.from_numpy(labels), num_tokens)

    def _sample(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Input ids and labels of one sample."""
        if self.kind == "chats":
            start, end = self._offsets[number], self._offsets[number + 1]
            tokens = self._tokens[start:end].astype(np.int64)
            return tokens[:-1], np.where(self._mask[start + 1 : end], tokens[1:], IGNORED)
        start = number * self.context
        tokens = self._tokens[start : start + self.context + 1].astype(np.int64)
        return tokens[:-1], tokens[1:]


def total_steps(phase: TrainPhase, samples: Samples) -> int:
    """Optimizer steps of `phase`: enough to spend its token budget or its epochs, the last one in full."""
    loader = Loader(samples, batch_size=phase.batch_size, seed=phase.seed)
    if phase.tokens is not None:
        return max(1, math.ceil(phase.tokens / (phase.batch_size * loader.tokens_per_sample)))
    assert phase.epochs is not None
    return max(1, math.ceil(phase.epochs * loader.num_samples / phase.batch_size))
