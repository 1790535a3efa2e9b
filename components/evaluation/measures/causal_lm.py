"""Decoders: bits per byte of held-out text beside baselines, questions, and sampled texts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.artifacts import Export, Report
from components.errors import StoreError
from components.evaluation.measures.base import Clock, Content, Given, Measure, load, score
from components.recipe import EvaluateConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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


def measure(given: Given) -> Content:
    """bits_per_byte and perplexity (per token) of the held-out documents, read in windows of the model's context.

    Each token is scored once; bytes are those of the text in UTF-8. Standard errors are over documents (known_words:
    over samples), by the delta method for a ratio of sums. The n-gram baselines are fitted on the training split alone;
    xz's is what `xz -9` makes of the held-out text. A model with experts gets the least and the most share that one of
    them has in a layer, as a multiple of what would be fair.
    """
    config, train, held_out, clock = given.config, given.train, given.held_out, given.clock
    model, tokenizer = _load(given.export)
    clock.lap("load")
    scores, sizes = _likelihood(model, tokenizer, train, held_out, given.report, clock)
    experts = _experts(model, tokenizer, held_out, scores, clock)
    texts, scores["known_words"] = _sampled(config, model, tokenizer, train, clock)
    if config.tasks:
        from components.evaluation.tasks import run_tasks

        scores |= run_tasks(config.tasks, given.items, model, tokenizer, scratch=given.scratch, report=given.report)
        clock.lap("tasks")
    return {"scores": scores, "texts": texts, **experts, **sizes}


def page(config: EvaluateConfig, content: Content) -> str:
    """The scores beside the baselines, and sampled texts."""
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


def _load(export: Export) -> tuple[Any, Any]:
    model, tokenizer = load(export, "AutoModelForCausalLM")
    if _start(tokenizer) is None:
        raise StoreError(f"The tokenizer of {export.path} has no start and no end token: nothing predicts a first one.")
    return model, tokenizer


def _start(tokenizer: Any) -> Any:
    """The token before a document's first: the start token, or the end token of the document before."""
    return tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id


def _context(model: Any) -> int:
    return min(int(model.config.max_position_embeddings), LONGEST_WINDOW)


def _likelihood(
    model: Any, tokenizer: Any, train: Sequence[str], held_out: Sequence[str], report: Report, clock: Clock
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
    scores = {name: score(*scoring.ratio(total, num_bytes), "bits/byte") for name, total in bits.items()}
    scores["xz_bits_per_byte"] = score(baselines.xz_bits(held_out) / float(num_bytes.sum()), None, "bits/byte")
    scores["perplexity"] = score(perplexity, None if error is None else perplexity * error, "per token")
    clock.lap("baselines")
    sizes = {"documents": len(held_out), "bytes": int(num_bytes.sum()), "tokens": int(num_tokens.sum())}
    return scores, {**sizes, "context": _context(model)}


def _experts(
    model: Any, tokenizer: Any, held_out: Sequence[str], scores: dict[str, Any], clock: Clock
) -> dict[str, list[list[float]]]:
    """{"experts": shares by layer} of a model that has some, whose extremes become scores; else nothing."""
    from components.evaluation.experts import expert_shares
    from components.evaluation.scoring import encode

    shares = expert_shares(model, encode(tokenizer, held_out), context=_context(model))
    if shares is None:
        return {}
    scores["least_expert_share"] = score(float(shares.min()), None, "of the fair share")
    scores["most_expert_share"] = score(float(shares.max()), None, "of the fair share")
    clock.lap("experts")
    return {"experts": shares.round(4).tolist()}


def _bytes(text: str) -> "NDArray[np.int64]":
    import numpy as np

    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)


def _sampled(
    config: EvaluateConfig, model: Any, tokenizer: Any, train: Sequence[str], clock: Clock
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
    known = score(*known_words(texts, vocabulary(train)), "fraction")
    clock.lap("texts")
    return texts, known


MEASURE = Measure(measure, page)
