"""A sum in a fixed balanced binary tree, and who has which of its leaves."""

import torch


class TreeSum:
    """Adds up 2^j vectors, given one after the other, as a balanced binary tree; holds at most j + 1 of them."""

    def __init__(self) -> None:
        self._nodes: list[tuple[int, torch.Tensor]] = []  # (height, sum), heights descending

    def add(self, vector: torch.Tensor) -> None:
        """The next leaf; `vector` is copied."""
        height, total = 0, vector.clone()
        while self._nodes and self._nodes[-1][0] == height:
            total = self._nodes.pop()[1].add_(total)
            height += 1
        self._nodes.append((height, total))

    def total(self) -> torch.Tensor | None:
        """The sum of all leaves; None without any."""
        if not self._nodes:
            return None
        ((_, total),) = self._nodes
        return total


def leaves(workers: int, micro_shards: int) -> int:
    """How many of the workers have micro-shards: the largest power of two that both numbers allow."""
    return 1 << (min(workers, micro_shards).bit_length() - 1)


def shards_of(rank: int, workers: int, micro_shards: int) -> range:
    """Which micro-shards `rank` has, neighbours in the order of the batch; none for a worker that is left over."""
    working = leaves(workers, micro_shards)
    each = micro_shards // working
    return range(rank * each, (rank + 1) * each) if rank < working else range(0)
