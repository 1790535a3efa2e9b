"""How samples of each kind are read: which documents make a sample, and what a model sees of it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.artifacts import Samples
from components.errors import StoreError, UnknownName
from components.training.batch import IGNORED, Row, joined
from components.training.rows import best_fit


class Kind(ABC):
    """Samples of one kind, memory-mapped. `num_tokens` is what an epoch makes a model read."""

    def __init__(self, samples: Samples, described: dict[str, Any]) -> None:
        self._folder, self.num_documents = samples.path, int(described["num_documents"])
        self.context: int = described.get("context", 0)
        self.num_samples, self.num_tokens = self.num_documents, self.num_documents
        self._tokens = _mapped(samples.path / "tokens.bin", described["dtype"], described["num_tokens"])
        self._offsets = np.load(samples.path / "offsets.npy")

    @abstractmethod
    def rows(self, numbers: Sequence[int]) -> list[Row]:
        """The rows of these samples."""

    def tensors(self, numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        """What these samples hold beside text."""
        return {}

    def members(self, number: int) -> Sequence[int]:
        """The documents of one sample."""
        return (number,)

    def origins(self, numbers: Sequence[int]) -> list[dict[str, str]]:
        """Id and source of every document in these samples, each once."""
        import pyarrow.parquet as pq

        columns = pq.read_table(self._folder / "documents.parquet", columns=["id", "source"])
        members = dict.fromkeys(member for number in numbers for member in self.members(number))
        found: list[dict[str, str]] = columns.take(list(members)).to_pylist()
        return found

    def _text(self, document: int) -> slice:
        return slice(int(self._offsets[document]), int(self._offsets[document + 1]))


class OneByOne(Kind):
    """Samples of a row each."""

    def rows(self, numbers: Sequence[int]) -> list[Row]:
        """One for each."""
        return [self.row(number) for number in numbers]

    @abstractmethod
    def row(self, number: int) -> Row:
        """The row of one sample."""


class Tokens(OneByOne):
    """Running text: windows of context + 1 tokens over the whole stream."""

    def __init__(self, samples: Samples, described: dict[str, Any], *, isolate_documents: bool = False) -> None:
        super().__init__(samples, described)
        self.isolate_documents = isolate_documents
        self.num_samples = (len(self._tokens) - 1) // self.context
        self.num_tokens = self.num_samples * self.context

    def row(self, number: int) -> Row:
        """A window. Isolated documents end with their end token, whose label is the next one's first token."""
        start = number * self.context
        row = Row.shifted(self._tokens[start : start + self.context + 1])
        if not self.isolate_documents:
            return row
        bounds = self._offsets[self.members(number)[1:]] - start
        cuts = [bound for bound in bounds if bound < self.context]
        return joined(
            [Row(*part) for part in zip(np.split(row.input_ids, cuts), np.split(row.labels, cuts), strict=True)]
        )

    def members(self, number: int) -> Sequence[int]:
        """The documents that begin or go on in the window."""
        start = number * self.context
        first, last = np.searchsorted(self._offsets, [start, start + self.context], side="right")
        return range(int(first) - 1, min(int(last), self.num_documents))


class Chats(OneByOne):
    """One chat a sample; or packed, several in a row of at most `context` tokens."""

    def __init__(self, samples: Samples, described: dict[str, Any], *, pack_chats: bool = False) -> None:
        super().__init__(samples, described)
        self._mask = _mapped(samples.path / "mask.bin", "uint8", described["num_tokens"])
        lengths = np.diff(self._offsets) - 1
        self._packs = best_fit(lengths.tolist(), self.context) if pack_chats else None
        self.num_samples = len(self._packs) if self._packs else self.num_documents
        self.num_tokens = int(lengths.sum())

    def row(self, number: int) -> Row:
        """A chat, or several with positions that start anew with each."""
        rows = [Row.shifted(self._tokens[at], self._mask[at]) for at in map(self._text, self.members(number))]
        return joined(rows) if self._packs else rows[0]

    def members(self, number: int) -> Sequence[int]:
        """The chats in the row."""
        return self._packs[number] if self._packs else (number,)


class Preferences(Kind):
    """Pairs of answers: document 2n is the chosen one of sample n, 2n + 1 the rejected one.

    A batch has the rows of all chosen answers first, then those of the rejected ones in the same order.
    """

    def __init__(self, samples: Samples, described: dict[str, Any]) -> None:
        super().__init__(samples, described)
        self._mask = _mapped(samples.path / "mask.bin", "uint8", described["num_tokens"])
        self.num_samples = self.num_documents // 2
        self.num_tokens = described["num_tokens"] - self.num_documents

    def rows(self, numbers: Sequence[int]) -> list[Row]:
        """Two rows for each sample."""
        places = [self._text(2 * number + side) for side in (0, 1) for number in numbers]
        return [Row.shifted(self._tokens[at], self._mask[at]) for at in places]

    def members(self, number: int) -> Sequence[int]:
        """Both answers."""
        return (2 * number, 2 * number + 1)


class Arrays(OneByOne):
    """A text and arrays: NAME.npy for each name in `arrays` of samples.json, with a row for each document."""

    def __init__(self, samples: Samples, described: dict[str, Any]) -> None:
        super().__init__(samples, described)
        self._arrays = {name: _array(samples.path / f"{name}.npy", self.num_documents) for name in described["arrays"]}

    def tensors(self, numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        """The rows of each array: floats as fp32, integers as int64."""
        found = {name: torch.from_numpy(array[list(numbers)]) for name, array in self._arrays.items()}
        return {name: t.float() if t.is_floating_point() else t.long() for name, t in found.items()}


class Pairs(Arrays):
    """A text and arrays (an image) for each document."""

    def __init__(self, samples: Samples, described: dict[str, Any]) -> None:
        super().__init__(samples, described)
        self.num_tokens = described["num_tokens"]

    def row(self, number: int) -> Row:
        """The whole text; nothing in it is predicted."""
        tokens = self._tokens[self._text(number)].astype(np.int64)
        return Row(tokens, np.full_like(tokens, IGNORED))


class Labelled(Pairs):
    """A text and the number of its label for each document."""


class Answers(Pairs):
    """A question with a passage, and where the answer begins and ends, for each document."""


class Questions(Arrays):
    """A chat and arrays (a picture) for each document, of which the answer is predicted."""

    def __init__(self, samples: Samples, described: dict[str, Any]) -> None:
        super().__init__(samples, described)
        self._mask = _mapped(samples.path / "mask.bin", "uint8", described["num_tokens"])
        self.num_tokens = described["num_tokens"] - self.num_documents

    def row(self, number: int) -> Row:
        """The whole chat."""
        at = self._text(number)
        return Row.shifted(self._tokens[at], self._mask[at])


KINDS: dict[str, type[Kind]] = {
    "tokens": Tokens,
    "chats": Chats,
    "preferences": Preferences,
    "pairs": Pairs,
    "labelled": Labelled,
    "answers": Answers,
    "questions": Questions,
}


def open_kind(samples: Samples, described: dict[str, Any], **options: bool) -> Kind:
    """The samples that samples.json describes, with the `options` that are set. Raises UnknownName and StoreError."""
    if described["kind"] not in KINDS:
        raise UnknownName("kind of samples", described["kind"], KINDS)
    return KINDS[described["kind"]](samples, described, **{name: True for name, is_set in options.items() if is_set})


def _mapped(path: Path, dtype: str, length: int) -> np.ndarray:
    found = np.memmap(path, dtype=dtype, mode="r")
    if len(found) != length:
        raise StoreError(f"{path.parent} has {len(found)} tokens in {path.name}, samples.json says {length}.")
    return found


def _array(path: Path, length: int) -> np.ndarray:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from None
    if len(found) != length:
        raise StoreError(f"{path} has {len(found)} rows, samples.json says {length}.")
    return found
