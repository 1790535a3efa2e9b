"""Tensors in pieces: each worker that has a shard of a model writes its own, and whoever reads takes what it needs.

Where a piece lies in its tensor stands in the metadata of its safetensors file. Any part of a tensor can be read, from as
many files as it lies in, so what some workers wrote any other number of workers reads, in whatever division.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

Tensors = Mapping[str, torch.Tensor]
KEY = "pieces"
"""The entry of a file's metadata that says where its tensors lie."""


@dataclass(frozen=True)
class Place:
    """Where a piece lies: the index of its first element in the whole tensor, and the shape of that."""

    offset: tuple[int, ...]
    whole: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """What one worker has of a model's state."""

    files: Mapping[str, Tensors]
    """Tensors by file and name: views, not copies."""
    places: Mapping[str, Place] = field(default_factory=dict)
    """Of the tensors that are pieces; the others are whole."""
    number: int = 0
    of: int = 1
    """This is part `number`, from 0, of so many."""

    def metadata(self, name: str) -> dict[str, str]:
        """What the file `name` says of its pieces."""
        found = {tensor: asdict(self.places[tensor]) for tensor in self.files[name] if tensor in self.places}
        return {KEY: json.dumps(found)} if found else {}


class Pieces:
    """The tensors that lie in some files together."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._found: dict[str, list[tuple[Any, Place, tuple[int, ...]]]] = {}
        for path in files:
            file = safe_open(path, "pt")
            places = json.loads((file.metadata() or {}).get(KEY, "{}"))
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                shape = tuple(file.get_slice(name).get_shape())
                said = places.get(name, {"offset": [0] * len(shape), "whole": shape})
                place = Place(tuple(said["offset"]), tuple(said["whole"]))
                self._found.setdefault(name, []).append((file, place, shape))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each whole tensor, by name."""
        return {name: found[0][1].whole for name, found in self._found.items()}

    def read(self, name: str, offset: Sequence[int] | None = None, shape: Sequence[int] | None = None) -> torch.Tensor:
        """The part of tensor `name` that begins at `offset` and has `shape`; the whole, if left out.

        Raises KeyError for a tensor that is in none of the files, and ValueError where they do not have all of that part.
        """
        found = self._found[name]
        whole = found[0][1].whole
        offset, shape = offset or (0,) * len(whole), whole if shape is None else tuple(shape)
        if len(found) == 1 and shape == whole == found[0][2]:
            return found[0][0].get_tensor(name)
        result, filled = None, 0
        for file, place, size in found:
            starts = [max(a, b) for a, b in zip(offset, place.offset, strict=True)]
            ends = [min(a + n, b + m) for a, n, b, m in zip(offset, shape, place.offset, size, strict=True)]
            if any(start >= end for start, end in zip(starts, ends, strict=True)):
                continue
            there, here = _slices(starts, ends, place.offset), _slices(starts, ends, offset)
            piece = file.get_slice(name)[there] if there else file.get_tensor(name)
            result = piece.new_empty(shape) if result is None else result
            result[here] = piece
            filled += piece.numel()
        if result is None and 0 in shape:
            return found[0][0].get_tensor(name).new_empty(shape)
        if result is None or filled != result.numel():
            raise ValueError(f"{name} is not all there: {filled} of {torch.Size(shape).numel()} numbers")
        return result


def _slices(starts: Sequence[int], ends: Sequence[int], origin: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(start - zero, end - zero) for start, end, zero in zip(starts, ends, origin, strict=True))
