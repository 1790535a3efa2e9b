"""The likelihood of held-out documents under a causal language model, and standard errors of ratios."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.errors import HeadwaterError

Floats = NDArray[np.float64]

WINDOWS_AT_ONCE = 16
LOGITS_AT_ONCE = 2**27
"""Logits of one forward pass: half a gibibyte in fp32."""


class Window(NamedTuple):
    """One forward pass over part of a document: it reads from `begin` to `end` and scores from `first` on."""

    document: int
    begin: int
    first: int
    end: int


def windows(document: int, num_tokens: int, context: int) -> Iterator[Window]:
    """Windows of at most `context` tokens that score every token once, later ones after half a context of history."""
    first = 0
    while first < num_tokens:
        begin = max(0, first - context // 2)
        end = min(begin + context, num_tokens)
        yield Window(document, begin, first, end)
        first = end


def encode(tokenizer: Any, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Token ids of each text alone: no special token is added, and one that is spelt out in a text stays text."""
    if not texts:
        return []
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        verbose=False,  # a document may well be longer than the context
    )
    return [np.asarray(ids, dtype=np.int64) for ids in encoded["input_ids"]]


def negative_log_likelihoods(
    model: Any,
    documents: Sequence[NDArray[np.int64]],
    *,
    start: int,
    context: int,
    progress: Callable[[int, int], None],
) -> Floats:
    """Nats of each document's tokens, shape (documents,), float64.

    The first token is predicted from `start`, the token that stands before every document in training. Windows are
    padded on the right, where a causal model does not look. `progress` is called with tokens done and in all. Raises
    HeadwaterError where the model's loss is not finite.
    """
    nats, done, total = np.zeros(len(documents)), 0, sum(map(len, documents))
    pending = [w for i, ids in enumerate(documents) for w in windows(i, len(ids), context)]
    pending.sort(key=lambda w: w.end - w.begin)  # so that a batch holds little padding
    at_once = max(1, min(WINDOWS_AT_ONCE, LOGITS_AT_ONCE // (context * model.config.vocab_size)))
    for i in range(0, len(pending), at_once):
        batch = pending[i : i + at_once]
        for window, losses in zip(batch, _losses(model, batch, documents, start), strict=True):
            nats[window.document] += losses[window.first - window.begin : window.end - window.begin].sum()
            done += window.end - window.first
        progress(done, total)
    if not np.isfinite(nats).all():
        document = int(np.flatnonzero(~np.isfinite(nats))[0])
        raise HeadwaterError(f"The model's loss on held-out document {document} is not finite: its weights are broken.")
    return nats


def _losses(model: Any, batch: Sequence[Window], documents: Sequence[NDArray[np.int64]], start: int) -> Floats:
    """Cross entropy in nats at each position, shape (batch, time); what lies after a window's end means nothing."""
    import torch
    from torch.nn.functional import cross_entropy

    longest = max(window.end - window.begin for window in batch)
    inputs = torch.zeros((len(batch), longest), dtype=torch.long)
    targets = torch.zeros((len(batch), longest), dtype=torch.long)
    for row, window in enumerate(batch):
        ids = torch.from_numpy(np.concatenate([[start], documents[window.document]])[window.begin : window.end + 1])
        inputs[row, : len(ids) - 1], targets[row, : len(ids) - 1] = ids[:-1], ids[1:]
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=inputs, use_cache=False).logits
        losses = cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    return losses.view(len(batch), longest).double().numpy()


def ratio(numerators: Floats, denominators: Floats) -> tuple[float, float | None]:
    """sum(numerators) / sum(denominators) and its standard error by the delta method.

    The n pairs (one per document or sample) are the independent draws: with r the ratio, the variance is
    n / (n - 1) * sum((numerator - r * denominator)^2) / sum(denominators)^2 (Cochran 1977, "Sampling Techniques",
    ch. 6). The error is None for fewer than two pairs.
    """
    n, whole = len(denominators), float(denominators.sum())
    value = float(numerators.sum()) / whole
    if n < 2:
        return value, None
    residuals = numerators - value * denominators
    return value, float(np.sqrt(n / (n - 1) * np.square(residuals).sum()) / whole)
