"""Interpolated unigram and bigram models of bytes or tokens: what a language model has to beat.

Jelinek and Mercer 1980, "Interpolated estimation of Markov source parameters from sparse data", in the recursive form
of Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling". With relative
frequencies f of the training text and V symbols,

    p1(b)     = w1 f(b)     + (1 - w1) / V
    p2(b | a) = w2 f(b | a) + (1 - w2) p1(b),   and p1(b) after an `a` that was never seen.

The start of a document is a context of its own. Everything is float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]

SLICE = 0.1
"""The part of each training document, its end, on which the weights are chosen."""
ITERATIONS = 200


@dataclass(frozen=True)
class Counts:
    """Relative frequencies of symbols and of pairs (context, symbol), the pairs as sorted keys a * V + b."""

    symbols: Floats
    keys: Ids
    conditional: Floats
    seen: NDArray[np.bool_]

    @classmethod
    def of(cls, contexts: Ids, symbols: Ids, vocab_size: int) -> "Counts":
        """Those of the pairs (contexts[i], symbols[i]); contexts are 0..V, symbols 0..V-1."""
        times = np.bincount(symbols, minlength=vocab_size)
        context_times = np.bincount(contexts, minlength=vocab_size + 1)
        keys, pair_times = np.unique(contexts * vocab_size + symbols, return_counts=True)
        conditional = pair_times / context_times[keys // vocab_size]
        return cls(times / max(len(symbols), 1), keys, conditional, context_times > 0)

    def of_pairs(self, contexts: Ids, symbols: Ids) -> Floats:
        """f(b | a) of each pair, 0 for a pair that was never seen."""
        wanted = contexts * len(self.symbols) + symbols
        if not len(self.keys):
            return np.zeros(len(wanted))
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.conditional[place], 0.0)


@dataclass(frozen=True)
class Interpolated:
    """The unigram and the bigram model of one training text."""

    counts: Counts
    unigram_weight: float
    bigram_weight: float

    def unigram(self, symbols: Ids) -> Floats:
        """p1 of each symbol."""
        return _unigram(self.counts, self.unigram_weight, symbols)

    def bigram(self, contexts: Ids, symbols: Ids) -> Floats:
        """p2 of each symbol after its context, V standing for the start of a document."""
        lower = self.unigram(symbols)
        mixed = self.bigram_weight * self.counts.of_pairs(contexts, symbols) + (1 - self.bigram_weight) * lower
        return np.where(self.counts.seen[contexts], mixed, lower)

    def unigram_bits(self, documents: Sequence[Ids]) -> Floats:
        """Bits of each document under the unigram model, shape (documents,)."""
        return np.array([-np.log2(self.unigram(symbols)).sum() for symbols in documents])

    def bigram_bits(self, documents: Sequence[Ids]) -> Floats:
        """Bits of each document under the bigram model, shape (documents,)."""
        start = len(self.counts.symbols)
        return np.array([-np.log2(self.bigram(_contexts(symbols, start), symbols)).sum() for symbols in documents])


def fit(documents: Sequence[Ids], vocab_size: int) -> Interpolated:
    """The models of training `documents`, each an array of symbols in 0..vocab_size-1.

    Weights are chosen on the last tenth of every document with counts of the rest; the counts are then those of the
    whole text.
    """
    symbols = np.concatenate(documents)
    contexts = np.concatenate([_contexts(document, vocab_size) for document in documents])
    late = np.concatenate([np.arange(len(d)) >= int(len(d) * (1 - SLICE)) for d in documents])
    rest = Counts.of(contexts[~late], symbols[~late], vocab_size)
    contexts_late, symbols_late = contexts[late], symbols[late]

    uniform = np.full(len(symbols_late), 1 / vocab_size)
    unigram_weight = likeliest_weight(rest.symbols[symbols_late], uniform)
    known = rest.seen[contexts_late]
    upper = rest.of_pairs(contexts_late, symbols_late)[known]
    lower = _unigram(rest, unigram_weight, symbols_late)[known]
    return Interpolated(Counts.of(contexts, symbols, vocab_size), unigram_weight, likeliest_weight(upper, lower))


def xz_bits(texts: Sequence[str]) -> int:
    """Bits that `xz -9` makes of `texts` one after another: LZMA2, which knows nothing but these very texts."""
    import lzma

    return 8 * len(lzma.compress("".join(texts).encode(), preset=9))


def likeliest_weight(upper: Floats, lower: Floats) -> float:
    """The w in (0, 1) under which samples of w * upper + (1 - w) * lower are likeliest, by EM.

    One more sample of each component (a Beta(2, 2) prior) keeps w off 0 and 1, so that nothing becomes impossible.
    """
    weight = 0.5
    for _ in range(ITERATIONS):
        responsibility = weight * upper / (weight * upper + (1 - weight) * lower)
        updated = float((responsibility.sum() + 1) / (len(upper) + 2))
        if abs(updated - weight) < 1e-12:
            break
        weight = updated
    return weight


def _unigram(counts: Counts, weight: float, symbols: Ids) -> Floats:
    return weight * counts.symbols[symbols] + (1 - weight) / len(counts.symbols)


def _contexts(symbols: Ids, start: int) -> Ids:
    return np.concatenate([np.array([start], dtype=np.int64), symbols])[: len(symbols)]
