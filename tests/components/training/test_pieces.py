"""What several workers wrote of a tensor, each a piece, is read as a whole or as any part of it."""

import random

import pytest
import torch

from components.training.commit import write_part
from components.training.pieces import Part, Pieces, Place


def cuts(length, parts, chance):
    """`length` in so many parts, of which some may be empty."""
    inner = sorted(chance.randrange(length + 1) for _ in range(parts - 1))
    return list(zip([0, *inner], [*inner, length], strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_any_part_is_read_from_any_division(tmp_path, seed):
    """A matrix in a grid of 3 x 2 pieces, a vector in rows, and a scalar, which is whole."""
    chance, whole = random.Random(seed), {"m": torch.randn(7, 5), "v": torch.randn(11), "s": torch.tensor(2.5)}
    grid = [(rows, columns) for rows in cuts(7, 3, chance) for columns in cuts(5, 2, chance)]
    for number, ((top, bottom), (left, right)) in enumerate(grid):
        start, end = cuts(11, 6, random.Random(seed))[number]
        tensors = {"m": whole["m"][top:bottom, left:right], "v": whole["v"][start:end]}
        places = {"m": Place((top, left), (7, 5)), "v": Place((start,), (11,))}
        if number == 0:
            tensors["s"] = whole["s"]
        write_part(tmp_path, Part({"model": tensors}, places, number, len(grid)))
    pieces = Pieces(sorted(tmp_path.iterdir()))
    assert pieces.shapes() == {name: tuple(tensor.shape) for name, tensor in whole.items()}
    assert all(torch.equal(pieces.read(name), tensor) for name, tensor in whole.items())
    for _ in range(50):
        (top, bottom), (left, right) = sorted(chance.choices(range(8), k=2)), sorted(chance.choices(range(6), k=2))
        found = pieces.read("m", (top, left), (bottom - top, right - left))
        assert torch.equal(found, whole["m"][top:bottom, left:right])


def test_a_part_that_is_not_there_is_named(tmp_path):
    write_part(tmp_path, Part({"model": {"m": torch.ones(2, 4)}}, {"m": Place((0, 0), (4, 4))}, 0, 2))
    pieces = Pieces(tmp_path.iterdir())
    assert torch.equal(pieces.read("m", (1, 0), (1, 4)), torch.ones(1, 4))
    with pytest.raises(ValueError, match="m is not all there: 8 of 16 numbers"):
        pieces.read("m")
    with pytest.raises(KeyError):
        pieces.read("n")
