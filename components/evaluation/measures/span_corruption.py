"""Encoder-decoders: what stood in hidden spans of held-out text, beside token frequencies, which read nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.measures.base import Content, Given, Measure, load, score
from components.evaluation.scoring import Floats, encode, ratio
from components.recipe import EvaluateConfig

Ids = NDArray[np.int64]
HIDDEN, SPAN = 0.15, 3
"""Of the tokens, and how many of them in a row; in training spans are so long on average."""
AT_ONCE = 16
SENTINEL = "<extra_id_{}>"


@dataclass(frozen=True)
class Window:
    """A piece of text with hidden spans."""

    read: Ids
    written: Ids
    """What the decoder is to write: a sentinel and a span for each, then the end token."""
    hidden: Ids
    """Places of `written` that hold hidden text."""


def measure(given: Given) -> Content:
    """span_loss (nats per hidden token), span_accuracy and exact_spans on held-out text, with standard errors over windows.

    Each hidden token is told from the text around its span and the hidden tokens before it. unigram_loss is that of the
    frequencies in the training split, add-one smoothed, on the same tokens; unigram_margin is by how much it is higher.
    Which spans are hidden follows from config.seed.
    """
    model, tokenizer = load(given.export, "AutoModelForSeq2SeqLM")
    given.clock.lap("load")
    windows = _windows(tokenizer, given, min(model.config.max_position_embeddings, 512))
    nats, right, exact = _told(model, windows, tokenizer, given)
    logs = _frequencies(tokenizer, given.train)
    counts = np.array([len(window.hidden) for window in windows], dtype=np.float64)
    unread = np.array([-logs[window.written[window.hidden]].sum() for window in windows])
    likeliest = int(logs.argmax())
    guessed = np.array([(w.written[w.hidden] == likeliest).sum() for w in windows], dtype=np.float64)
    given.clock.lap("scoring")
    scores = {
        "span_loss": score(*ratio(nats, counts), "nats per hidden token"),
        "unigram_loss": score(*ratio(unread, counts), "nats per hidden token"),
        "unigram_margin": score(*ratio(unread - nats, counts), "nats per hidden token"),
        "span_accuracy": score(*ratio(right, counts), "fraction"),
        "unigram_accuracy": score(*ratio(guessed, counts), "fraction"),
        "exact_spans": score(*ratio(exact, counts / SPAN), "fraction"),
    }
    texts = [_filled(model, tokenizer, prompt, given.config.sample_tokens) for prompt in given.config.prompts]
    given.clock.lap("texts")
    sizes = {"documents": len(given.held_out), "windows": len(windows), "hidden": int(counts.sum())}
    return {"scores": scores, "texts": texts, **sizes}


def page(config: EvaluateConfig, content: Content) -> str:
    """The loss beside that of frequencies, and filled spans."""
    from components.reports import render
    from components.reports.plots import bars

    shown = [content["scores"][name] for name in ("span_loss", "unigram_loss")]
    values, errors = [s["value"] for s in shown], [s["stderr"] for s in shown]
    figure = bars(["model", "frequencies"], values, errors, "nats per hidden token", "Held-out text: lower is better")
    return render("evaluation_spans", content, {"baseline": figure})


def _windows(tokenizer: Any, given: Given, context: int) -> list[Window]:
    """Each text in windows of the context, as training reads them, with hidden spans."""
    cuts = [ids[i : i + context] for ids in encode(tokenizer, given.held_out) for i in range(0, len(ids), context)]
    whole = [np.asarray(ids, dtype=np.int64) for ids in cuts if len(ids) > 2 * SPAN]
    return [_hide(ids, tokenizer, np.random.default_rng([given.config.seed, n])) for n, ids in enumerate(whole)]


def _hide(ids: Ids, tokenizer: Any, chance: np.random.Generator) -> Window:
    """Hide one span in each of as many equal stretches of the window as it takes to hide 15% of it."""
    num_spans = max(1, round(HIDDEN * len(ids) / SPAN))
    bounds = np.linspace(0, len(ids), num_spans + 1).astype(int)
    read: list[int] = []
    written: list[int] = []
    hidden: list[int] = []
    for number, (first, end) in enumerate(pairwise(bounds.tolist())):
        start = int(chance.integers(first, end - SPAN))  # never the last of a stretch: spans do not touch
        sentinel = tokenizer.convert_tokens_to_ids(SENTINEL.format(number))
        read += [*ids[first:start], sentinel, *ids[start + SPAN : end]]
        hidden += range(len(written) + 1, len(written) + 1 + SPAN)
        written += [sentinel, *ids[start : start + SPAN]]
    stop = tokenizer.eos_token_id
    return Window(np.array([*read, stop]), np.array([*written, stop]), np.array(hidden))


def _told(model: Any, windows: Sequence[Window], tokenizer: Any, given: Given) -> tuple[Floats, Floats, Floats]:
    """For each window: the nats of its hidden tokens, how many were the likeliest token, and how many whole spans."""
    import torch

    nats, right, exact = (np.zeros(len(windows)) for _ in range(3))
    for first in range(0, len(windows), AT_ONCE):
        batch = windows[first : first + AT_ONCE]
        read, seen = _padded([window.read for window in batch], tokenizer.pad_token_id)
        before = [np.concatenate([[model.config.decoder_start_token_id], window.written[:-1]]) for window in batch]
        written, _ = _padded(before, tokenizer.pad_token_id)
        with torch.inference_mode():
            logits = model(input_ids=read, attention_mask=seen, decoder_input_ids=written, use_cache=False).logits
        for row, window in enumerate(batch):
            logs = logits[row, torch.from_numpy(window.hidden)].log_softmax(-1)
            wanted = torch.from_numpy(window.written[window.hidden])
            hits = (logs.argmax(-1) == wanted).numpy()
            nats[first + row] = float(-logs.gather(-1, wanted[:, None]).double().sum())
            right[first + row], exact[first + row] = hits.sum(), hits.reshape(-1, SPAN).all(1).sum()
        given.report({"done": first + len(batch), "total": len(windows), "unit": "held-out windows"})
    return nats, right, exact


def _padded(rows: Sequence[Ids], pad: int) -> tuple[Any, Any]:
    """int64 (rows, longest), filled up on the right, and 1 where there is text."""
    import torch

    longest = max(map(len, rows))
    ids = [[*row.tolist(), *[pad] * (longest - len(row))] for row in rows]
    return torch.tensor(ids), torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])


def _frequencies(tokenizer: Any, texts: Sequence[str]) -> Floats:
    """The log-probability of each token of the vocabulary, in nats."""
    counts = np.bincount(np.concatenate(encode(tokenizer, texts)), minlength=len(tokenizer)) + 1.0
    logs: Floats = np.log(counts / counts.sum())
    return logs


def _filled(model: Any, tokenizer: Any, prompt: str, length: int) -> dict[str, str]:
    """{"prompt", "text"}: the likeliest spans for the sentinels of `prompt`; one comes at its end, where it has none."""
    import torch

    asked = prompt if SENTINEL.format(0) in prompt else f"{prompt}{SENTINEL.format(0)}"
    ids = tokenizer(asked, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        found = model.generate(input_ids=ids, max_new_tokens=length, do_sample=False, num_beams=1)[0]
    ends = {tokenizer.pad_token_id, tokenizer.eos_token_id}
    return {"prompt": asked, "text": tokenizer.decode([token for token in found.tolist() if token not in ends])}


MEASURE = Measure(measure, page)
