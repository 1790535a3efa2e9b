"""What a model reads and what it should say, for a few samples at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

IGNORED = -100
"""The label of a position that no loss counts."""


@dataclass(frozen=True)
class Batch:
    """A few samples in the order of their global indices."""

    input_ids: torch.Tensor
    """int64 (rows, time), padded on the right."""
    labels: torch.Tensor
    """int64 (rows, time): the token after each position, or IGNORED."""
    num_tokens: int
    """Tokens read, padding left out."""
    indices: torch.Tensor
    """int64 (size,): the global index of each sample, which is its place in the order of the phase."""
    lengths: torch.Tensor
    """int64 (rows,): how much of each row is not padding."""
    position_ids: torch.Tensor | None = None
    """int64 (rows, time), where rows hold several texts: 0 at the start of each, and on the padding."""
    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """What samples hold beside text, by name: (size, ...), fp32 or int64."""

    @property
    def size(self) -> int:
        """Samples in it. A row is a sample, except that a pair of preferences has two rows."""
        return len(self.indices)

    @property
    def attention_mask(self) -> torch.Tensor:
        """int64 (rows, time): 1 where there is text and 0 on the padding."""
        places = torch.arange(self.input_ids.shape[1], device=self.lengths.device)
        return (places < self.lengths[:, None]).long()

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`; the indices stay, as numbers are drawn from them."""
        if self.input_ids.device == device:
            return self
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            labels=self.labels.to(device),
            lengths=self.lengths.to(device),
            position_ids=None if self.position_ids is None else self.position_ids.to(device),
            tensors={name: tensor.to(device) for name, tensor in self.tensors.items()},
        )


@dataclass(frozen=True)
class Row:
    """One row of a batch: int64 arrays of one length."""

    input_ids: np.ndarray
    labels: np.ndarray
    position_ids: np.ndarray | None = None

    @classmethod
    def shifted(cls, tokens: np.ndarray, mask: np.ndarray | None = None) -> "Row":
        """Every token but the last, with the next one as label where `mask` (of the next one) is not zero."""
        tokens = tokens.astype(np.int64)
        labels = tokens[1:] if mask is None else np.where(mask[1:], tokens[1:], IGNORED)
        return cls(tokens[:-1], labels)


def joined(rows: Sequence[Row]) -> Row:
    """Several rows as one, in which positions start anew with each."""
    positions = [np.arange(len(row.input_ids)) for row in rows]
    return Row(
        np.concatenate([row.input_ids for row in rows]),
        np.concatenate([row.labels for row in rows]),
        np.concatenate(positions),
    )


def padded(arrays: Sequence[np.ndarray], value: int, least: int = 0) -> torch.Tensor:
    """Arrays of several lengths as int64 (rows, longest), or (rows, least), filled up with `value` on the right."""
    filled = np.full((len(arrays), max([least, *map(len, arrays)])), value, dtype=np.int64)
    for row, array in zip(filled, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(filled)
