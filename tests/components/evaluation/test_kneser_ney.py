"""The 5-grams that a long run is measured by: they are a distribution, and the bigrams those of the formula."""

import math
from collections import Counter

import numpy as np
import pytest
from kneser_ney import KneserNey

DOCUMENTS = [np.array(list(text.encode())) - 97 for text in ("abacabadabacaba", "abcabcabc", "ddabac", "cab")]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_what_may_come_next_has_probabilities_that_sum_to_one(order):
    model = KneserNey(DOCUMENTS, 4, order)
    for history in ([], [0], [0, 1], [3, 3, 3], [2, 0, 1, 0], [1, 1, 1, 1, 1, 1]):
        before = model.nats(np.array(history, dtype=np.int64))
        chances = [math.exp(before - model.nats(np.array([*history, token]))) for token in range(4)]
        assert sum(chances) == pytest.approx(1.0)


def test_bigrams_are_those_of_the_formula():
    """Chen and Goodman 1999, equations 24 to 26 and the discounts of section 4.1.6, on counts by hand."""
    pairs = Counter((a, b) for ids in DOCUMENTS for a, b in zip([4, *ids.tolist()], ids.tolist(), strict=False))
    singles = Counter(b for _, b in pairs)

    def cut(counts):
        n = [sum(value == times for value in counts.values()) for times in (1, 2, 3, 4)]
        y = n[0] / max(1, n[0] + 2 * n[1])
        found = [k - (k + 1) * y * n[k] / max(1, n[k - 1]) for k in (1, 2, 3)]
        return [0.0, *(min(max(value, 0.0), k) for k, value in enumerate(found, 1))]

    low, high = cut(singles), cut(pairs)
    total = sum(singles.values())
    spared = sum(low[min(value, 3)] for value in singles.values())
    single = {b: (max(singles[b] - low[min(singles[b], 3)], 0) + spared / 4) / total for b in range(4)}
    follow = {b: c for (a, b), c in pairs.items() if a == 0}
    gamma = sum(high[min(c, 3)] for c in follow.values())
    model = KneserNey(DOCUMENTS, 4, 2)
    for b in range(4):
        c = follow.get(b, 0)
        expected = (max(c - high[min(c, 3)], 0) + gamma * single[b]) / sum(follow.values())
        told = math.exp(model.nats(np.array([0])) - model.nats(np.array([0, b])))
        assert told == pytest.approx(expected)
