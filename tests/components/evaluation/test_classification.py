"""F1 against scikit-learn's own."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from components.evaluation.measures.classification import macro_f1


def test_macro_f1_is_that_of_scikit_learn():
    chance = np.random.default_rng(0)
    told, wanted = chance.integers(0, 3, 200), chance.integers(0, 3, 200)
    assert macro_f1(told, wanted, 3) == pytest.approx(f1_score(wanted, told, average="macro"))


def test_a_label_that_is_never_told_counts_as_nothing():
    assert macro_f1(np.zeros(4, dtype=int), np.array([0, 0, 1, 1]), 2) == pytest.approx((2 / 3 + 0) / 2)
