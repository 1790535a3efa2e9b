"""Packing: token ids of one document after another in a memory-mapped shard, with offsets that lead back to each."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.digests import file_digest

MASKED = ("chats", "preferences", "questions")
"""Kinds of samples of which only a part is learnt."""


class Packing:
    """Writes tokens.bin, offsets.npy, documents.parquet and samples.json into a folder; and mask.bin for MASKED kinds."""

    def __init__(self, folder: Path, *, kind: str, vocab_size: int) -> None:
        self.folder, self.kind, self.vocab_size = folder, kind, vocab_size
        self.dtype = np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)
        self.offsets = [0]
        self.documents: dict[str, list[str]] = {"id": [], "source": [], "licence": []}
        self._tokens = (folder / "tokens.bin").open("wb")
        self._mask = (folder / "mask.bin").open("wb") if kind in MASKED else None

    def add(self, ids: list[int], mask: list[int] | None = None, **document: str) -> None:
        """Append one document: its token ids, the loss mask of a chat, and its id, source and licence."""
        self._tokens.write(np.asarray(ids, dtype=self.dtype).tobytes())
        if self._mask is not None:
            self._mask.write(np.asarray(mask, dtype=np.uint8).tobytes())
        self.offsets.append(self.offsets[-1] + len(ids))
        for name, column in self.documents.items():
            column.append(document[name])

    def close(self, *, beside: Sequence[str] = (), **described: Any) -> dict[str, Any]:
        """Write the offsets, the documents and samples.json (with the `described` fields), which is returned.

        `beside` names files that lie there already and are part of the samples.
        """
        self._tokens.close()
        if self._mask is not None:
            self._mask.close()
        np.save(self.folder / "offsets.npy", np.asarray(self.offsets, dtype=np.int64))
        pq.write_table(pa.table(self.documents), self.folder / "documents.parquet", compression="zstd")
        names = ("tokens.bin", "offsets.npy", *(("mask.bin",) if self._mask else ()), *beside)
        samples = {
            "files": {name: file_digest(self.folder / name) for name in names},
            "kind": self.kind,
            "dtype": self.dtype.name,
            "num_tokens": self.offsets[-1],
            "num_documents": len(self.offsets) - 1,
            "vocab_size": self.vocab_size,
            **described,
        }
        (self.folder / "samples.json").write_text(json.dumps(samples, indent=2, sort_keys=True) + "\n")
        return samples
