"""Interpolated, modified Kneser-Ney smoothing (Chen and Goodman 1999, section 4): what n-grams of tokens can do.

Everything is counted over integers that are n-grams written as numbers, so a million tokens take seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """The n-grams of one length: sorted, with their counts, and of each history the sums that smoothing needs."""

    grams: Ids
    counts: Ids
    histories: Ids
    totals: Ids
    spared: NDArray[np.float64]
    """What is taken from the n-grams of each history in all."""
    discounts: NDArray[np.float64]
    """Of counts 0, 1, 2, and 3 or more."""

    @classmethod
    def of(cls, grams: Ids, counts: Ids, base: int) -> "Order":
        """Those of n-grams that are numbers to the `base`, each once, sorted."""
        times = [int((counts == n).sum()) for n in range(1, 5)]
        y = times[0] / max(1, times[0] + 2 * times[1])
        cut = [n - (n + 1) * y * times[n] / max(1, times[n - 1]) for n in (1, 2, 3)]
        discounts = np.array([0.0, *np.clip(cut, 0.0, [1.0, 2.0, 3.0])])
        histories, places = np.unique(grams // base, return_inverse=True)
        spared = np.bincount(places, weights=discounts[np.minimum(counts, 3)])
        return cls(grams, counts, histories, np.bincount(places, weights=counts).astype(np.int64), spared, discounts)


class KneserNey:
    """A model of order `order` over tokens 0 to `vocab_size` - 1, from documents of token ids."""

    def __init__(self, documents: Sequence[Ids], vocab_size: int, order: int = 5) -> None:
        self.base, self.order = vocab_size + 1, order  # the last symbol stands before every document
        assert self.base**order < 2**63, "an n-gram is one integer"
        longest = np.concatenate([self._numbers(ids, order) for ids in documents])
        grams, counts = np.unique(longest, return_counts=True)
        orders = [Order.of(grams, counts, self.base)]
        for length in range(order - 1, 0, -1):  # how many different tokens stand before an n-gram
            grams, counts = np.unique(grams % self.base**length, return_counts=True)
            orders.append(Order.of(grams, counts, self.base))
        self._orders = orders[::-1]

    def nats(self, ids: Ids) -> float:
        """Minus the logarithm of the probability of a document's tokens, in nats."""
        longest = self._numbers(ids, self.order)
        chances = np.full(len(ids), 1.0 / (self.base - 1))
        for length, order in enumerate(self._orders, 1):
            chances = self._raised(order, longest % self.base**length, chances)
        return float(-np.log(chances).sum())

    def _raised(self, order: Order, grams: Ids, below: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities by n-grams, from those by n-grams that are shorter by one."""
        counts = _found(order.grams, order.counts, grams)
        histories = grams // self.base
        totals = _found(order.histories, order.totals, histories)
        spared = _found(order.histories, order.spared, histories)
        kept = np.maximum(counts - order.discounts[np.minimum(counts, 3).astype(np.int64)], 0.0)
        return np.where(totals > 0, (kept + spared * below) / np.maximum(totals, 1), below)

    def _numbers(self, ids: Ids, length: int) -> Ids:
        """The n-gram that ends at each token, as a number."""
        before = np.concatenate([np.full(length - 1, self.base - 1), ids]).astype(np.int64)
        found = np.zeros(len(ids), dtype=np.int64)
        for place in range(length):
            found = found * self.base + before[place : place + len(ids)]
        return found


def _found(keys: Ids, values: NDArray, wanted: Ids) -> NDArray:
    """The value of each wanted key, 0 where there is none."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)
