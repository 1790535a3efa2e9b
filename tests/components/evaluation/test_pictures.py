"""The Frechet distance against closed forms."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from components.evaluation.eyes import frechet


def test_of_the_same_pictures_it_is_nothing():
    features = np.random.default_rng(0).normal(size=(50, 6))
    assert frechet(features, features) == pytest.approx(0, abs=1e-9)


def test_of_moved_ones_it_is_the_square_of_the_way():
    features = np.random.default_rng(0).normal(size=(50, 6))
    assert frechet(features, features + 2) == pytest.approx(24)


def test_it_is_the_formula_with_the_root_of_a_matrix():
    chance = np.random.default_rng(0)
    ours, theirs = chance.normal(size=(80, 5)) @ chance.normal(size=(5, 5)), chance.normal(size=(70, 5)) * 3
    first, second = np.cov(ours, rowvar=False), np.cov(theirs, rowvar=False)
    way = ours.mean(0) - theirs.mean(0)
    expected = way @ way + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet(ours, theirs) == pytest.approx(expected)
