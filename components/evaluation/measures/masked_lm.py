"""Encoders: how many hidden tokens of held-out text are told right, beside the best guess that reads nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import StoreError
from components.evaluation.measures.base import Content, Given, Measure, load, score
from components.evaluation.scoring import Floats, encode, ratio
from components.recipe import EvaluateConfig

Ids = NDArray[np.int64]
HIDDEN = 0.15
"""Of the tokens that are text, as in training; here the mask token stands for all of them."""
AT_ONCE = 16
FILLS = 3
"""Likeliest tokens shown for a mask."""


def measure(given: Given) -> Content:
    """masked_accuracy and masked_perplexity on held-out text, with standard errors over windows of the context.

    unigram_accuracy is that of the one token that is the most frequent in the training split, on the same hidden
    tokens; times_unigram_accuracy is the quotient. Which tokens are hidden follows from config.seed.
    """
    model, tokenizer = load(given.export, "AutoModelForMaskedLM")
    if tokenizer.mask_token_id is None:
        raise StoreError(f"The tokenizer of {given.export.path} has no mask token.")
    given.clock.lap("load")
    windows = _windows(tokenizer, given.held_out, min(model.config.max_position_embeddings, 4096))
    hidden = [_hidden(ids, tokenizer, given.config.seed, number) for number, ids in enumerate(windows)]
    counts, right, nats = _told(model, windows, hidden, tokenizer, given)
    likeliest = _most_frequent(tokenizer, given.train)
    guessed = np.array([(ids[h] == likeliest).sum() for ids, h in zip(windows, hidden, strict=True)], dtype=np.float64)
    accuracy, guess = ratio(right, counts), ratio(guessed, counts)
    per_token, error = ratio(nats, counts)
    perplexity = float(np.exp(per_token))
    times, times_error = ratio(right, guessed) if guessed.sum() else (float(right.sum()), None)
    given.clock.lap("scoring")
    scores = {
        "masked_accuracy": score(*accuracy, "fraction"),
        "unigram_accuracy": score(*guess, "fraction"),
        "times_unigram_accuracy": score(times, times_error, "times"),
        "masked_perplexity": score(perplexity, None if error is None else perplexity * error, "per hidden token"),
    }
    texts = [_filled(model, tokenizer, prompt) for prompt in given.config.prompts]
    given.clock.lap("texts")
    sizes = {"documents": len(given.held_out), "tokens": sum(map(len, windows)), "hidden": int(counts.sum())}
    return {"scores": scores, "texts": texts, "guess": tokenizer.decode([likeliest]), **sizes}


def page(config: EvaluateConfig, content: Content) -> str:
    """The accuracy beside the best guess, and filled masks."""
    from components.reports import render
    from components.reports.plots import bars

    shown = [content["scores"][name] for name in ("masked_accuracy", "unigram_accuracy")]
    values, errors = [s["value"] for s in shown], [s["stderr"] for s in shown]
    names = ["model", f"always {content['guess']!r}"]
    figure = bars(names, values, errors, "hidden tokens told right", "Held-out text: higher is better")
    return render("evaluation_masked", content, {"baseline": figure})


def _windows(tokenizer: Any, texts: Sequence[str], context: int) -> list[Ids]:
    """The texts as training reads them: one stream of [CLS] text [SEP], cut every `context` tokens."""
    start, end = [tokenizer.cls_token_id], [tokenizer.sep_token_id]
    stream = np.concatenate([np.concatenate([start, ids, end]) for ids in encode(tokenizer, texts)]).astype(np.int64)
    whole = [stream[i : i + context] for i in range(0, len(stream), context)]
    return [ids for ids in whole if not np.isin(ids, tokenizer.all_special_ids).all()]


def _hidden(ids: Ids, tokenizer: Any, seed: int, number: int) -> Ids:
    """The places of one window that are hidden: 15% of the text, at least one, without replacement."""
    text = np.flatnonzero(~np.isin(ids, tokenizer.all_special_ids))
    chance = np.random.default_rng([seed, number])
    return np.sort(chance.choice(text, max(1, round(HIDDEN * len(text))), replace=False))


def _told(
    model: Any, windows: Sequence[Ids], hidden: Sequence[Ids], tokenizer: Any, given: Given
) -> tuple[Floats, Floats, Floats]:
    """For each window: hidden tokens, how many of them were the likeliest token, and their nats; each (windows,)."""
    import torch

    counts = np.array([len(places) for places in hidden], dtype=np.float64)
    right, nats = np.zeros(len(windows)), np.zeros(len(windows))
    for first in range(0, len(windows), AT_ONCE):
        batch = windows[first : first + AT_ONCE]
        longest = max(map(len, batch))
        inputs = torch.full((len(batch), longest), tokenizer.pad_token_id)
        for row, (ids, places) in enumerate(zip(batch, hidden[first : first + AT_ONCE], strict=True)):
            inputs[row, : len(ids)] = torch.from_numpy(ids)
            inputs[row, torch.from_numpy(places)] = tokenizer.mask_token_id
        seen = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in batch])
        with torch.inference_mode():
            logits = model(input_ids=inputs, attention_mask=seen).logits.float()
        for row, (ids, places) in enumerate(zip(batch, hidden[first : first + AT_ONCE], strict=True)):
            logs = logits[row, torch.from_numpy(places)].log_softmax(-1)
            targets = torch.from_numpy(ids[places])
            right[first + row] = float((logs.argmax(-1) == targets).sum())
            nats[first + row] = float(-logs.gather(-1, targets[:, None]).double().sum())
        given.report({"done": first + len(batch), "total": len(windows), "unit": "held-out windows"})
    return counts, right, nats


def _most_frequent(tokenizer: Any, texts: Sequence[str]) -> int:
    """The most frequent token of the training split; of equals the one with the lowest id."""
    counts = np.bincount(np.concatenate(encode(tokenizer, texts)), minlength=len(tokenizer))
    counts[tokenizer.all_special_ids] = 0
    return int(counts.argmax())


def _filled(model: Any, tokenizer: Any, prompt: str) -> dict[str, Any]:
    """{"prompt", "fills": [{"text", "probability"}]}: the likeliest tokens for the first mask of `prompt`.

    A prompt without a mask is taken for a beginning: the mask comes after it, then a full stop.
    """
    import torch

    text = prompt if tokenizer.mask_token in prompt else f"{prompt} {tokenizer.mask_token} ."
    ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=model.config.max_position_embeddings)
    place = int((ids["input_ids"][0] == tokenizer.mask_token_id).nonzero()[0])
    with torch.inference_mode():
        chances = model(input_ids=ids["input_ids"]).logits[0, place].float().softmax(-1)
    best = chances.topk(FILLS)
    fills = [
        {"text": tokenizer.decode([token]).strip(), "probability": round(chance, 4)}
        for token, chance in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    return {"prompt": text, "fills": fills}


MEASURE = Measure(measure, page)
