"""Export and corpus to report: scores with standard errors, beside baselines, with sampled texts."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from components.artifacts import Corpus, Export, Facts, Report, SourceFiles
from components.errors import EmptyResult, StoreError
from components.recipe import EvaluateConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THREADS = 1
"""CPU threads: part of the arithmetic, so the same everywhere. One, because at these sizes two wait for each other."""
LONGEST_WINDOW = 4096
"""Tokens of a window at most, for models whose context does not fit into memory."""
SHOWN_PER_PROMPT = 2
BASELINES = {
    "bits_per_byte": "model",
    "token_bigram_bits_per_byte": "token bigram",
    "xz_bits_per_byte": "xz -9",
    "byte_bigram_bits_per_byte": "byte bigram",
    "byte_unigram_bits_per_byte": "byte unigram",
}


def evaluate(
    config: EvaluateConfig,
    export: Export,
    corpus: Corpus,
    *items: SourceFiles,
    out: Path,
    scratch: Path,
    report: Report,
) -> Facts:
    """Fill `out` with report.json and report.html. On one machine the same inputs give the same bytes.

    bits_per_byte and perplexity (per token) are those of the held-out documents, read in windows of the model's
    context in which each token is scored once; bytes are those of the text in UTF-8. Standard errors are over
    documents (known_words: over samples), by the delta method for a ratio of sums. The n-gram baselines are fitted on
    the training split alone; xz's is what `xz -9` makes of the held-out text. A model with experts gets the least and
    the most share that one of them has in a layer, as a multiple of what would be fair. `items` are the sources of
    config.tasks. Raises EmptyResult where a split has no text, and StoreError where model and tokenizer do not fit
    together.
    """
    clock = Clock()
    train = [text for text in _texts(corpus, "train") if text]
    held_out = [text for text in _texts(corpus, "held_out") if text][: config.held_out_documents]
    if not train or not held_out:
        raise EmptyResult(
            f"The corpus has {len(train)} training and {len(held_out)} held-out documents with text, and evaluation "
            "needs some of both: add documents or raise curate.held_out."
        )
    with exact_arithmetic(THREADS):
        model, tokenizer = _load(export)
        clock.lap("load")
        scores, sizes = _likelihood(model, tokenizer, train, held_out, report, clock)
        experts = _experts(model, tokenizer, held_out, scores, clock)
        texts, scores["known_words"] = _sampled(config, model, tokenizer, train, clock)
        if config.tasks:
            from components.evaluation.tasks import run_tasks

            scores |= run_tasks(config.tasks, items, model, tokenizer, scratch=scratch, report=report)
            clock.lap("tasks")
    content = {"scores": {name: _rounded(score) for name, score in scores.items()}, "texts": texts, **experts, **sizes}
    (out / "report.json").write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    (out / "report.html").write_text(_page(config, content), "utf-8")
    clock.lap("page")
    return {"documents": len(held_out), "seconds": clock.seconds}


class Clock:
    """Seconds of each part, from lap to lap."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = monotonic()

    def lap(self, part: str) -> None:
        """End `part` here."""
        now = monotonic()
        self.seconds[part], self._since = round(now - self._since, 3), now


@contextmanager
def exact_arithmetic(threads: int) -> Iterator[None]:
    """So many threads and only deterministic kernels while inside; the process is as before afterwards."""
    import torch

    threads_before, deterministic_before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(deterministic_before)


def _texts(corpus: Corpus, split: str) -> list[str]:
    import pyarrow.parquet as pq

    texts: list[str] = pq.read_table(corpus.documents(split), columns=["text"])["text"].to_pylist()
    return texts


def _load(export: Export) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(export.path, local_files_only=True, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        export.path, dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False
    ).eval()
    if len(tokenizer) > model.config.vocab_size:
        raise StoreError(
            f"The tokenizer of {export.path} has {len(tokenizer)} tokens and its model {model.config.vocab_size}."
        )
    if _start(tokenizer) is None:
        raise StoreError(f"The tokenizer of {export.path} has no start and no end token: nothing predicts a first one.")
    return model, tokenizer


def _start(tokenizer: Any) -> Any:
    """The token before a document's first: the start token, or the end token of the document before."""
    return tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id


def _context(model: Any) -> int:
    return min(int(model.config.max_position_embeddings), LONGEST_WINDOW)


def _likelihood(
    model: Any, tokenizer: Any, train: list[str], held_out: list[str], report: Report, clock: Clock
) -> tuple[dict[str, Any], dict[str, int]]:
    """The scores of model and baselines on `held_out`, and what was scored."""
    import numpy as np

    from components.evaluation import baselines, scoring

    documents = scoring.encode(tokenizer, held_out)
    nats = scoring.negative_log_likelihoods(
        model,
        documents,
        start=_start(tokenizer),
        context=_context(model),
        progress=lambda done, total: report({"done": done, "total": total, "unit": "held-out tokens"}),
    )
    num_bytes = np.array([len(text.encode()) for text in held_out], dtype=np.float64)
    num_tokens = np.array([len(ids) for ids in documents], dtype=np.float64)
    per_token, error = scoring.ratio(nats, num_tokens)
    perplexity = float(np.exp(per_token))
    clock.lap("scoring")

    of_bytes = baselines.fit([_bytes(text) for text in train], 256)
    of_tokens = baselines.fit(scoring.encode(tokenizer, train), model.config.vocab_size)
    bits = {
        "bits_per_byte": nats / np.log(2),
        "byte_unigram_bits_per_byte": of_bytes.unigram_bits([_bytes(text) for text in held_out]),
        "byte_bigram_bits_per_byte": of_bytes.bigram_bits([_bytes(text) for text in held_out]),
        "token_bigram_bits_per_byte": of_tokens.bigram_bits(documents),
    }
    scores = {name: _score(*scoring.ratio(total, num_bytes), "bits/byte") for name, total in bits.items()}
    scores["xz_bits_per_byte"] = _score(baselines.xz_bits(held_out) / float(num_bytes.sum()), None, "bits/byte")
    scores["perplexity"] = _score(perplexity, None if error is None else perplexity * error, "per token")
    clock.lap("baselines")
    sizes = {"documents": len(held_out), "bytes": int(num_bytes.sum()), "tokens": int(num_tokens.sum())}
    return scores, {**sizes, "context": _context(model)}


def _experts(
    model: Any, tokenizer: Any, held_out: list[str], scores: dict[str, Any], clock: Clock
) -> dict[str, list[list[float]]]:
    """{"experts": shares by layer} of a model that has some, whose extremes become scores; else nothing."""
    from components.evaluation.experts import expert_shares
    from components.evaluation.scoring import encode

    shares = expert_shares(model, encode(tokenizer, held_out), context=_context(model))
    if shares is None:
        return {}
    scores["least_expert_share"] = _score(float(shares.min()), None, "of the fair share")
    scores["most_expert_share"] = _score(float(shares.max()), None, "of the fair share")
    clock.lap("experts")
    return {"experts": shares.round(4).tolist()}


def _bytes(text: str) -> "NDArray[np.int64]":
    import numpy as np

    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)


def _sampled(
    config: EvaluateConfig, model: Any, tokenizer: Any, train: list[str], clock: Clock
) -> tuple[list[dict[str, str]], dict[str, Any]]:
    from components.evaluation.texts import known_words, sample_texts, vocabulary

    texts = sample_texts(
        model,
        tokenizer,
        config.prompts,
        start=_start(tokenizer),
        context=_context(model),
        num_tokens=config.sample_tokens,
        temperature=config.temperature,
        seed=config.seed,
    )
    score = _score(*known_words(texts, vocabulary(train)), "fraction")
    clock.lap("texts")
    return texts, score


def _score(value: float, stderr: float | None, unit: str) -> dict[str, Any]:
    return {"value": value, "stderr": stderr, "unit": unit}


def _rounded(score: Mapping[str, Any]) -> dict[str, Any]:
    """Floats with 9 significant digits: more than any standard error, and short to read."""
    return {key: float(f"{entry:.9g}") if isinstance(entry, float) else entry for key, entry in score.items()}


def _page(config: EvaluateConfig, content: Mapping[str, Any]) -> str:
    from components.reports import render
    from components.reports.plots import bars

    scores = content["scores"]
    shown = [scores[name] for name in BASELINES]
    values, errors = [score["value"] for score in shown], [score["stderr"] for score in shown]
    figure = bars(list(BASELINES.values()), values, errors, "bits per byte", "Held-out text: lower is better")
    tasks = [{"task": task, "score": scores[f"{task.name}_accuracy"]} for task in config.tasks]
    texts = [
        {"prompt": prompt, "texts": [t["text"] for t in content["texts"] if t["prompt"] == prompt][:SHOWN_PER_PROMPT]}
        for prompt in dict.fromkeys(config.prompts)
    ]
    return render("evaluation", {**content, "tasks": tasks, "texts": texts}, {"baselines": figure})
