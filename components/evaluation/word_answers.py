"""Answers by word counts: every short part of a sentence judged by TF-IDF and logistic regression, as SQuAD's first baseline.

Rajpurkar et al. 2016 (section 5) take the constituents of parsed sentences; here they are the runs of at most five words.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.passages import Answer, Asked

WORDS, SENTENCES = re.compile(r"\w+(?:[-'\u2019.,]\w+)*"), re.compile(r"[^.!?]+(?:[.!?]+(?=\s|$)|$|[.!?])")
KINDS = ("who", "when", "where", "how many", "how much", "what", "which", "why", "how")
"""Questions ask for what their first such word says."""
MOST_WORDS, WRONG, NEAR = 5, 20, 6
"""Words of an answer; wrong ones that are learnt from for each right one; how many words around it are near."""


@dataclass(frozen=True)
class Part:
    """A run of words of a passage: characters, and what is known of it."""

    start: int
    end: int
    features: list[float]


class WordAnswers:
    """Fitted on passages with questions; the same for the same passages."""

    def __init__(self, passages: Sequence[tuple[str, Sequence[Asked]]], seed: int) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=WORDS.pattern)
        vectors.fit([passage for passage, _ in passages])
        self._weights: dict[str, float] = dict(zip(vectors.get_feature_names_out(), vectors.idf_.tolist(), strict=True))
        self._rare = float(vectors.idf_.max())
        chance, rows, right = np.random.default_rng(seed), list[list[float]](), list[bool]()
        for passage, asked in passages:
            for each in asked:
                whole = {(answer.start, answer.start + len(answer.text)) for answer in each.answers}
                parts = list(self.parts(each.question, passage))
                wrong = [part for part in parts if (part.start, part.end) not in whole]
                chosen = chance.permutation(len(wrong))[:WRONG]
                kept = [part for part in parts if (part.start, part.end) in whole], [wrong[n] for n in chosen]
                for is_right, some in zip((True, False), kept, strict=True):
                    rows += [part.features for part in some]
                    right += [is_right] * len(some)
        self._scaler = StandardScaler().fit(np.array(rows))
        self._fitted: Any = LogisticRegression(C=1.0, max_iter=1000).fit(self._scaler.transform(np.array(rows)), right)

    def answer(self, question: str, passage: str) -> tuple[Answer, int]:
        """The likeliest part of `passage`, and how many features were weighed for it."""
        parts = list(self.parts(question, passage))
        if not parts:
            return Answer(0, ""), 0
        values = np.array([part.features for part in parts])
        best = parts[int(self._fitted.decision_function(self._scaler.transform(values)).argmax())]
        return Answer(best.start, passage[best.start : best.end]), values.size

    def parts(self, question: str, passage: str) -> Iterator[Part]:
        """Every run of at most MOST_WORDS words in each sentence of `passage`."""
        asked = {word.lower() for word in WORDS.findall(question)}
        kind = next((n for n, name in enumerate(KINDS) if name in question.lower()), len(KINDS))
        total = sum(map(self._weight, asked)) or 1.0
        for sentence in SENTENCES.finditer(passage):
            words = [(w.start(), w.end(), w[0]) for w in WORDS.finditer(passage, sentence.start(), sentence.end())]
            shared = [self._weight(word.lower()) if word.lower() in asked else 0.0 for _, _, word in words]
            overlap = sum(shared) / total
            for first in range(len(words)):
                for last in range(first, min(len(words), first + MOST_WORDS)):
                    around = sum(shared[max(0, first - NEAR) : first]) + sum(shared[last + 1 : last + 1 + NEAR])
                    inside = [word for _, _, word in words[first : last + 1]]
                    told = self._told(inside, sum(shared[first : last + 1]), overlap, around / total, kind)
                    yield Part(words[first][0], words[last][1], told)

    def _told(self, words: Sequence[str], shared: float, overlap: float, around: float, kind: int) -> list[float]:
        """How much of the question stands in the sentence and near, and what the words look like, by kind of question."""
        weights = [self._weight(word.lower()) for word in words]
        upper = sum(word[0].isupper() for word in words) / len(words)
        digits = sum(any(c.isdigit() for c in word) for word in words) / len(words)
        ends = min(weights[0], weights[-1]) / self._rare
        shape = [upper, digits, ends, sum(weights) / len(weights) / self._rare, float(upper == 1), float(digits == 1)]
        by_kind = [0.0] * ((len(KINDS) + 1) * len(shape))
        by_kind[kind * len(shape) : (kind + 1) * len(shape)] = shape
        length = [float(len(words) == n) for n in range(1, MOST_WORDS + 1)]
        return [overlap, around, shared / (sum(weights) or 1.0), overlap * around, *length, *shape, *by_kind]

    def _weight(self, word: str) -> float:
        return self._weights.get(word, self._rare)
