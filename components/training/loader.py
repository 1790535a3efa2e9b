"""Batches out of memory-mapped samples."""

import math
import time
from collections.abc import Sequence
from typing import Any

import torch

from components.artifacts import Samples
from components.digests import file_digest
from components.errors import StoreError
from components.recipe import TrainPhase
from components.training.batch import IGNORED, Batch, padded
from components.training.kinds import Kind, open_kind
from components.training.order import sample_at, share

__all__ = ["IGNORED", "Batch", "Loader", "total_steps"]


class Loader:
    """The batches of a phase. Its only state is the step: batch `step` is the same after any number of restarts.

    What a sample is depends on the kind: see `components.training.kinds`. `isolate_documents` and `pack_chats` are the
    fields of a phase. With `alike`, rows are as long as the context, and not as the longest of their batch. Raises
    StoreError where the files are not those that samples.json describes.
    """

    def __init__(self, samples: Samples, *, batch_size: int, seed: int, alike: bool = False, **options: bool) -> None:
        described: dict[str, Any] = samples.json("samples.json")
        self.kind: str = described["kind"]
        self.context: int = described.get("context", 0)
        self.pad_token_id: int = described.get("pad_token_id", 0)
        self.batch_size, self.seed = batch_size, seed
        self._least = self.context if alike else 0
        self.seconds = 0.0
        """Spent in reading samples so far."""
        self._read: Kind = open_kind(samples, described, **options)

    @classmethod
    def of(cls, phase: TrainPhase, samples: Samples) -> "Loader":
        """The loader of a phase."""
        return cls(
            samples,
            batch_size=phase.batch_size,
            seed=phase.seed,
            alike=phase.compile,  # a shape is compiled by itself
            isolate_documents=phase.isolate_documents,
            pack_chats=phase.pack_chats,
        )

    @property
    def num_samples(self) -> int:
        """Samples of an epoch."""
        return self._read.num_samples

    @property
    def tokens_per_sample(self) -> float:
        """How many tokens a sample makes the model read, on average."""
        return self._read.num_tokens / self.num_samples

    def batch(self, step: int, *, rank: int = 0, world_size: int = 1) -> Batch:
        """The part of the batch of `step` that is `rank`'s."""
        return self.samples(self.indices(step, rank, world_size))

    def micro_batches(self, step: int, *, size: int | None, rank: int = 0, world_size: int = 1) -> list[Batch]:
        """The same part of the batch in pieces of at most `size` samples, or in one; none where the part is empty."""
        indices = self.indices(step, rank, world_size)
        size = size or max(1, len(indices))
        return [self.samples(indices[start : start + size]) for start in range(0, len(indices), size)]

    def indices(self, step: int, rank: int, world_size: int) -> range:
        """The global indices of `rank`'s part of the batch of `step`."""
        part, first = share(self.batch_size, rank, world_size), step * self.batch_size
        return range(first + part.start, first + part.stop)

    def samples(self, indices: Sequence[int]) -> Batch:
        """The samples with these global indices, in this order."""
        start = time.perf_counter()
        numbers = [self.number(index) for index in indices]
        rows = self._read.rows(numbers)
        positions = [row.position_ids for row in rows if row.position_ids is not None]
        batch = Batch(
            input_ids=padded([row.input_ids for row in rows], self.pad_token_id, self._least),
            labels=padded([row.labels for row in rows], IGNORED, self._least),
            num_tokens=sum(len(row.input_ids) for row in rows),
            indices=torch.tensor(indices, dtype=torch.int64),
            lengths=torch.tensor([len(row.input_ids) for row in rows], dtype=torch.int64),
            position_ids=padded(positions, 0, self._least) if positions else None,
            tensors=self._read.tensors(numbers),
        )
        self.seconds += time.perf_counter() - start
        return batch

    def number(self, index: int) -> int:
        """Which sample has the global `index`: its number in the samples."""
        return sample_at(index, num_samples=self.num_samples, seed=self.seed)

    def documents(self, index: int) -> list[str]:
        """The ids of the documents that the sample with the global `index` is made of."""
        return [origin["id"] for origin in self.origins([index])]

    def origins(self, indices: Sequence[int]) -> list[dict[str, str]]:
        """Id and source of every document in the samples with these global indices, each once."""
        return self._read.origins([self.number(index) for index in indices])


def check_content(samples: Samples) -> None:
    """Refuse samples whose files have changed since they were made. Raises StoreError naming the first that has."""
    for name, expected in samples.json("samples.json")["files"].items():
        found = file_digest(samples.path / name) if (samples.path / name).is_file() else "none"
        if found != expected:
            raise StoreError(
                f"{samples.path / name} has the digest {found[:8]}, samples.json says {expected[:8]}: the samples were "
                "changed after they were made."
            )


def total_steps(phase: TrainPhase, samples: Samples) -> int:
    """Optimizer steps of `phase`: enough to spend its token budget or its epochs, the last one in full."""
    loader = Loader.of(phase, samples)
    if phase.tokens is not None:
        return max(1, math.ceil(phase.tokens / (phase.batch_size * loader.tokens_per_sample)))
    assert phase.epochs is not None
    return max(1, math.ceil(phase.epochs * loader.num_samples / phase.batch_size))
