"""What masks and spans are, and that they are a pure function of the seed and the global index."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.training.draws import Draws
from components.training.objectives.masked_lm import Masking
from components.training.objectives.span_corruption import Corruption, spans
from components.training.vocabulary import Vocabulary

SENTINELS = tuple(range(999, 899, -1))
WORDS = Vocabulary(size=1000, pad=1, eos=0, mask=2, special=frozenset({0, 1, 2, *SENTINELS}), sentinels=SENTINELS)


def test_draws_are_pinned():
    """Recorded once: another version of numpy, or another machine, draws the same."""
    draws = Draws("test", 7, 2**40)
    assert draws.uniform(2).tolist() == pytest.approx([0.4805409311891933, 0.651697538914424], abs=1e-15)
    assert draws.below(1000, 4).tolist() == [626, 435, 332, 979]
    assert draws.subset(3, 20).tolist() == [0, 6, 11]
    assert draws.normal(3) == pytest.approx([0.7154460511958656, -1.5082976469751004, -0.23664127221380615], abs=1e-12)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 2**63))
def test_subsets_are_ascending_and_distinct(size, more, index):
    found = Draws("subset", 0, index).subset(size, size + more)
    assert len(found) == size
    assert (np.diff(found) > 0).all()
    assert set(found) <= set(range(size + more))


def test_purposes_seeds_and_indices_differ():
    found = [Draws(*key).uniform(4).tobytes() for key in (("a", 0, 0), ("b", 0, 0), ("a", 1, 0), ("a", 0, 1))]
    assert len(set(found)) == 4
    assert found[0] == Draws("a", 0, 0).uniform(4).tobytes()


def test_masks_are_those_of_bert():
    """15% of the text, of which 80% the mask, 10% any token and 10% as it was (Devlin et al. 2019, appendix A.1)."""
    tokens = np.arange(3, 203)
    tokens[[5, 50, 150]] = 0
    masking, fates = Masking(0, WORDS), np.zeros(3)
    hidden_at = np.zeros(200)
    for index in range(3000):
        inputs, labels = masking(tokens, index)
        hidden = labels != -100
        assert hidden.sum() == round(0.15 * 197)
        assert not hidden[[5, 50, 150]].any()
        assert (labels[hidden] == tokens[hidden]).all()
        assert (inputs[~hidden] == tokens[~hidden]).all()
        same = inputs[hidden] == tokens[hidden]
        fates += [(inputs[hidden] == 2).sum(), (~same & (inputs[hidden] != 2)).sum(), same.sum()]
        hidden_at += hidden
    assert fates / fates.sum() == pytest.approx([0.8, 0.1, 0.1], abs=0.006)
    text = np.delete(hidden_at, [5, 50, 150]) / 3000
    assert abs(text - 30 / 197).max() < 0.03


def test_a_text_of_one_token_is_hidden_and_one_without_text_is_not():
    assert (Masking(0, WORDS)(np.array([0, 7, 0]), 1)[1] == [-100, 7, -100]).all()
    assert (Masking(0, WORDS)(np.array([0, 0]), 1)[1] == -100).all()


@given(st.integers(2, 400), st.integers(0, 10**12))
def test_encoder_and_decoder_together_have_the_text(length, index):
    tokens = np.arange(3, 3 + length)
    read, written = Corruption(0, WORDS)(tokens, index)
    num_hidden, num_spans = spans(length)
    assert read[-1] == written[-1] == 0
    assert len(read) == length - num_hidden + num_spans + 1
    assert len(written) == num_hidden + num_spans + 1
    hidden: dict[int, list[int]] = {}
    for token in written[:-1]:
        if token in SENTINELS:
            current = hidden.setdefault(int(token), [])
        else:
            current.append(int(token))
    assert list(hidden) == list(SENTINELS[:num_spans])
    whole = [token for given in read[:-1] for token in (hidden[int(given)] if int(given) in hidden else [int(given)])]
    assert whole == tokens.tolist()
    assert min(map(len, hidden.values())) >= 1


def test_lengths_are_those_of_t5():
    """T5 reads 568 tokens for an encoder input of 512 and a target of 114, at 15% and spans of 3 (its own code says)."""
    read, written = Corruption(0, WORDS)(np.arange(568) % 800 + 3, 0)
    assert (len(read), len(written)) == (512, 114)


def test_every_token_is_hidden_equally_often():
    hidden_at = np.zeros(100)
    for index in range(4000):
        for _, end, until in Corruption(3, WORDS).bounds(100, index):
            hidden_at[end:until] += 1
    assert hidden_at.sum() == 4000 * 15
    assert abs(hidden_at[10:90] / 4000 - 0.15).max() < 0.04
