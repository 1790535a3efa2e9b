"""Random numbers of one sample: a pure function of the seed and its global index, whatever else has been drawn."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

Shape = int | Sequence[int]


class Draws:
    """A counter-based stream (Philox, Salmon et al. 2011) for one purpose and one sample.

    Numbers are made from the raw bits here, because only those are the same in every version of numpy.
    """

    def __init__(self, purpose: str, seed: int, index: int) -> None:
        key = blake2b(f"{purpose}/{seed}/{index}".encode(), digest_size=16).digest()
        self._bits = np.random.Philox(key=int.from_bytes(key, "little"))

    def uniform(self, shape: Shape) -> np.ndarray:
        """float64 in [0, 1)."""
        size = int(np.prod(shape))
        return ((self._bits.random_raw(size) >> np.uint64(11)) * 2.0**-53).reshape(shape)

    def below(self, bound: int, shape: Shape) -> np.ndarray:
        """int64 in [0, bound)."""
        return (self.uniform(shape) * bound).astype(np.int64)

    def normal(self, shape: Shape) -> np.ndarray:
        """float64 with mean 0 and variance 1 (Box and Muller 1958)."""
        size = int(np.prod(shape))
        radius, angle = self.uniform((2, -(-size // 2)))
        radius = np.sqrt(-2 * np.log1p(-radius))
        pair = np.concatenate([radius * np.cos(2 * np.pi * angle), radius * np.sin(2 * np.pi * angle)])
        return pair[:size].reshape(shape)

    def subset(self, size: int, total: int) -> np.ndarray:
        """`size` different numbers of range(total), ascending, int64."""
        return np.sort(np.argsort(self.uniform(total), kind="stable")[:size])
