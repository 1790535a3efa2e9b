"""Labels of held-out texts, told by the model and by word counts with logistic regression: is the model worth its price?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.measures.base import Content, Given, Measure, load, score
from components.recipe import EvaluateConfig

Ints = NDArray[np.int64]
AT_ONCE, RESAMPLES = 32, 500
WORTH = 2.0
"""Standard errors by which a dearer model must be better to be recommended."""
EXAMPLES, SHOWN = 12, 160


def measure(given: Given) -> Content:
    """macro_f1 and accuracy on held-out texts, and the same of TF-IDF with logistic regression fitted on the training split.

    macro_f1 is the mean of the F1 of each label. f1_gain: by how much the model's is higher, with the standard error of
    paired resamples of the texts. operations: multiplications and additions for a text, of the model (2 for a weight of its
    layers and token) and of the baseline (2 for a word that is there). The seconds of both are in the step's facts.
    """
    model, tokenizer = load(given.export, "AutoModelForSequenceClassification")
    labels = [model.config.id2label[number] for number in range(model.config.num_labels)]
    train, held_out = _rows(given, "train"), _rows(given, "held_out")[: given.config.held_out_documents]
    wanted = np.array([labels.index(row["source"]) if row["source"] in labels else -1 for row in held_out])
    given.clock.lap("load")
    told, read = _told(model, tokenizer, [row["text"] for row in held_out], given)
    given.clock.lap("model")
    counted, words = _counted(train, held_out, labels)
    given.clock.lap("baseline")
    weights = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embeddings" not in name)
    resamples = np.random.default_rng(given.config.seed).integers(0, len(wanted), (RESAMPLES, len(wanted)))
    f1 = np.array([[macro_f1(side[r], wanted[r], len(labels)) for side in (told, counted)] for r in resamples])
    ours, theirs = (macro_f1(side, wanted, len(labels)) for side in (told, counted))
    error = float((f1[:, 0] - f1[:, 1]).std(ddof=1))
    scores = {
        "macro_f1": score(ours, float(f1[:, 0].std(ddof=1)), "fraction"),
        "baseline_macro_f1": score(theirs, float(f1[:, 1].std(ddof=1)), "fraction"),
        "f1_gain": score(ours - theirs, error, "fraction"),
        "accuracy": score(*_share(told == wanted), "fraction"),
        "baseline_accuracy": score(*_share(counted == wanted), "fraction"),
        "operations": score(2.0 * weights * read, None, "per text"),
        "baseline_operations": score(2.0 * words * max(1, len(labels) - 1), None, "per text"),
    }
    given.clock.lap("scoring")
    return {
        "scores": scores,
        "documents": len(held_out),
        "labels": labels,
        "recommended": "the model" if ours - theirs > WORTH * error else "word counts",
        "examples": _examples(held_out, labels, told, counted),
        "texts": [],
    }


def macro_f1(told: Ints, wanted: Ints, num_labels: int) -> float:
    """The mean over labels of 2 TP / (2 TP + FP + FN); 0 for a label that is neither told nor there."""
    found = []
    for label in range(num_labels):
        right = float(((told == label) & (wanted == label)).sum())
        both = float((told == label).sum() + (wanted == label).sum())
        found.append(2 * right / both if both else 0.0)
    return float(np.mean(found))


def _told(model: Any, tokenizer: Any, texts: Sequence[str], given: Given) -> tuple[Ints, float]:
    """The likeliest label of each text, and how many tokens are read of one on average."""
    import torch

    found, tokens = [], 0
    longest = min(model.config.max_position_embeddings, tokenizer.model_max_length)
    for start in range(0, len(texts), AT_ONCE):
        some = list(texts[start : start + AT_ONCE])
        ids = tokenizer(
            some, padding=True, truncation=True, max_length=longest, split_special_tokens=True, return_tensors="pt"
        )
        with torch.inference_mode():
            logits = model(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"]).logits
        found.append(logits.argmax(-1).numpy())
        tokens += int(ids["attention_mask"].sum())
        given.report({"done": start + len(some), "total": len(texts), "unit": "held-out texts"})
    return np.concatenate(found), tokens / len(texts)


def _counted(train: Sequence[Any], held_out: Sequence[Any], labels: Sequence[str]) -> tuple[Ints, float]:
    """The same by TF-IDF of words and pairs of them, and how many of them a text has on average."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectors = TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 2))
    known: Any = vectors.fit_transform([row["text"] for row in train])
    fitted = LogisticRegression(C=10.0, max_iter=1000).fit(known, [labels.index(row["source"]) for row in train])
    asked: Any = vectors.transform([row["text"] for row in held_out])
    return np.asarray(fitted.predict(asked), dtype=np.int64), asked.nnz / asked.shape[0]


def _share(right: NDArray[np.bool_]) -> tuple[float, float]:
    value = float(right.mean())
    return value, float(np.sqrt(value * (1 - value) / len(right)))


def _rows(given: Given, split: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(given.corpus.documents(split), columns=["source", "text"]).to_pylist()
    return rows


def _examples(rows: Sequence[Any], labels: Sequence[str], told: Ints, counted: Ints) -> list[dict[str, Any]]:
    """Texts from everywhere, those first that the model took for something else."""
    places = sorted(range(len(rows)), key=lambda n: (labels[int(told[n])] == rows[n]["source"], n))
    return [
        {
            "text": " ".join(rows[n]["text"].split())[:SHOWN],
            "label": rows[n]["source"],
            "told": labels[int(told[n])],
            "counted": labels[int(counted[n])],
        }
        for n in [*places[: EXAMPLES // 2], *places[-(EXAMPLES // 2) :]]
    ]


def page(config: EvaluateConfig, content: Content) -> str:
    """F1 of both, what is recommended and why, and texts with their labels."""
    from components.reports import render
    from components.reports.plots import bars

    shown = [content["scores"][name] for name in ("macro_f1", "baseline_macro_f1")]
    values, errors = [s["value"] for s in shown], [s["stderr"] for s in shown]
    figure = bars(["model", "word counts"], values, errors, "macro F1", "Held-out texts: higher is better")
    return render("evaluation_labels", content, {"f1": figure})


MEASURE = Measure(measure, page)
