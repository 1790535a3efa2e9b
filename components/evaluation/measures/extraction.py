"""Answers in held-out passages, marked by the model and by word counts with logistic regression: is it worth its price?"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from components.errors import EmptyResult
from components.evaluation.measures.base import Content, Given, Measure, load, score
from components.evaluation.measures.classification import RESAMPLES, WORTH
from components.evaluation.word_answers import WordAnswers
from components.passages import Answer, Asked, mark, of_text
from components.recipe import EvaluateConfig

FITTED = 400
"""Passages that the word counts are fitted on."""
EXAMPLES, SHOWN = 12, 320
Passage = tuple[str, list[Asked]]


def measure(given: Given) -> Content:
    """f1 and exact of held-out questions, and the same of TF-IDF with logistic regression fitted on training passages.

    Both as SQuAD has them (Rajpurkar et al. 2016): the overlap of words with the best of the right answers, and whether it
    is that answer; articles, punctuation and case count for nothing. f1_gain: by how much the model's f1 is higher, with the
    standard error of paired resamples of the passages. operations: multiplications and additions for a question, of the model
    (2 for a weight of its layers and token) and of the baseline (2 for a feature). The seconds of both are in the step's facts.
    """
    model, tokenizer = load(given.export, "AutoModelForQuestionAnswering")
    train, held_out = (_passages(texts) for texts in (given.train, given.held_out))
    if not train or not held_out:
        raise EmptyResult("No passage with a question and its answer is held out, or none is left to learn from.")
    given.clock.lap("load")
    context = min(model.config.max_position_embeddings, tokenizer.model_max_length)
    told, read = [], 0
    for done, (passage, asked) in enumerate(held_out, 1):
        marked = [mark(model, tokenizer, each.question, passage, context) for each in asked]
        told.append([each.answer.text for each in marked])
        read += sum(each.tokens for each in marked)
        given.report({"done": done, "total": len(held_out), "unit": "held-out passages"})
    given.clock.lap("model")
    counts = WordAnswers(train[:FITTED], given.config.seed)
    given.clock.lap("fitting the baseline")
    counted = [[counts.answer(each.question, passage) for each in asked] for passage, asked in held_out]
    given.clock.lap("baseline")
    questions = sum(len(asked) for _, asked in held_out)
    weighed = sum(features for some in counted for _, features in some)
    weights = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embeddings" not in name)
    scores = _scores(held_out, told, [[answer.text for answer, _ in some] for some in counted], given.config.seed)
    scores["operations"] = score(2.0 * weights * read / questions, None, "per question")
    scores["baseline_operations"] = score(2.0 * weighed / questions, None, "per question")
    given.clock.lap("scoring")
    worth = scores["f1_gain"]["value"] > WORTH * scores["f1_gain"]["stderr"]
    return {
        "scores": scores,
        "passages": len(held_out),
        "questions": questions,
        "recommended": "the model" if worth else "word counts",
        "examples": _examples(held_out, told, counted),
        "texts": [],
    }


def normalised(text: str) -> list[str]:
    """The words of an answer as SQuAD compares them: lower case, without punctuation and articles."""
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def f1(told: str, right: str) -> float:
    """The harmonic mean of how many of the words told are right, and how many of the right ones are told."""
    ours, theirs = normalised(told), normalised(right)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * shared / (len(ours) + len(theirs))


def exact(told: str, right: str) -> float:
    """1 where both are the same."""
    return float(normalised(told) == normalised(right))


def _passages(texts: Sequence[str]) -> list[Passage]:
    return [(passage, asked) for passage, asked in map(of_text, texts) if asked]


def _scores(
    passages: Sequence[Passage], told: Sequence[Sequence[str]], counted: Sequence[Sequence[str]], seed: int
) -> dict[str, Any]:
    """f1 and exact of what the model and what word counts told, and by how much the model's f1 is higher."""
    resamples = np.random.default_rng(seed).integers(0, len(passages), (RESAMPLES, len(passages)))
    graded = {
        f"{side}{name}": _graded(grade, passages, answers)
        for name, grade in (("f1", f1), ("exact", exact))
        for side, answers in (("", told), ("baseline_", counted))
    }
    graded["f1_gain"] = [ours - theirs for ours, theirs in zip(graded["f1"], graded["baseline_f1"], strict=True)]
    return {name: score(*_mean(each, resamples), "fraction") for name, each in graded.items()}


def _graded(grade: Any, passages: Sequence[Passage], told: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """For each passage, the grades of its questions, each by the best of its right answers."""
    return [
        np.array(
            [max(grade(answer, right.text) for right in each.answers) for each, answer in zip(asked, some, strict=True)]
        )
        for (_, asked), some in zip(passages, told, strict=True)
    ]


def _mean(grades: Sequence[np.ndarray], resamples: np.ndarray) -> tuple[float, float]:
    """The mean over all questions, and its standard error over resamples of the passages."""
    sums, sizes = np.array([each.sum() for each in grades]), np.array([len(each) for each in grades])
    means = sums[resamples].sum(1) / sizes[resamples].sum(1)
    return float(sums.sum() / sizes.sum()), float(means.std(ddof=1))


def _examples(
    passages: Sequence[Passage], told: Sequence[Sequence[str]], counted: Sequence[Sequence[tuple[Answer, int]]]
) -> list[dict[str, Any]]:
    """The first question of passages from everywhere."""
    found = []
    for n in range(0, len(passages), max(1, len(passages) // EXAMPLES)):
        passage, asked = passages[n]
        middle = max(0, asked[0].answers[0].start - SHOWN // 2)
        found.append(
            {
                "passage": passage[middle : middle + SHOWN],
                "question": asked[0].question,
                "right": asked[0].answers[0].text,
                "told": told[n][0],
                "counted": counted[n][0][0].text,
            }
        )
    return found[:EXAMPLES]


def page(config: EvaluateConfig, content: Content) -> str:
    """F1 of both, what is recommended and why, and questions with their answers."""
    from components.reports import render
    from components.reports.plots import bars

    shown = [content["scores"][name] for name in ("f1", "baseline_f1")]
    values, errors = [s["value"] for s in shown], [s["stderr"] for s in shown]
    figure = bars(["model", "word counts"], values, errors, "F1", "Held-out questions: higher is better")
    return render("evaluation_answers", content, {"f1": figure})


MEASURE = Measure(measure, page)
