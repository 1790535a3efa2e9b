"""Texts sampled from the model, and how many of their words the training corpus knows."""

import re
from collections.abc import Iterable, Sequence
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.scoring import encode, ratio

SAMPLES_PER_PROMPT = 8
WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
"""Letters, with apostrophes and hyphens inside."""


def sample_texts(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    start: int,
    context: int,
    num_tokens: int,
    temperature: float,
    seed: int,
) -> list[dict[str, str]]:
    """{"prompt", "text"} for several samples of each prompt; one of each at temperature 0, where all are the same.

    A text ends at the end token, after `num_tokens` or where the context is full. Only the last half context of a
    longer prompt is read.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    samples = SAMPLES_PER_PROMPT if temperature > 0 else 1
    texts = []
    for prompt, ids in zip(prompts, encode(tokenizer, prompts), strict=True):
        read = [start, *ids.tolist()][-max(1, context // 2) :]
        inputs = torch.tensor([read] * samples)
        steps = min(num_tokens, context - len(read) + 1)
        for row in _continue(model, inputs, steps, temperature, tokenizer.eos_token_id, generator):
            texts.append({"prompt": prompt, "text": tokenizer.decode(row, skip_special_tokens=True)})
    return texts


def _continue(model: Any, inputs: Any, steps: int, temperature: float, end: int | None, generator: Any) -> list[Any]:
    """At most `steps` new token ids for each row of `inputs` (batch, time), each list cut before the end token."""
    import torch
    from transformers import DynamicCache

    # transformers 5 renames the argument on its way; the cache itself is filled in place.
    name = "cache" if "cache" in signature(model.forward).parameters else "past_key_values"
    chosen, cache = [], {name: DynamicCache(config=model.config)}
    with torch.inference_mode():
        for _ in range(steps):
            logits = model(input_ids=inputs, use_cache=True, **cache).logits[:, -1].double()
            if temperature > 0:
                inputs = torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=generator)
            else:
                inputs = logits.argmax(-1, keepdim=True)
            chosen.append(inputs)
    rows = torch.cat(chosen, dim=1).tolist()
    return [row[: row.index(end)] if end in row else row for row in rows]


def words(text: str) -> set[str]:
    """The distinct words of `text`, in lower case."""
    return {word.lower() for word in WORD.findall(text)}


def vocabulary(texts: Iterable[str]) -> set[str]:
    """The distinct words of all `texts`."""
    return set().union(*map(words, texts))


def continued_words(prompt: str, text: str) -> list[str]:
    """The words which `text` adds to `prompt`: also one that the prompt began, not a last one that may be cut off."""
    whole = prompt + text
    found = [match for match in WORD.finditer(whole) if len(prompt) < match.end() < len(whole)]
    return [match.group().lower() for match in found]


def known_words(texts: Sequence[dict[str, str]], known: set[str]) -> tuple[float, float | None]:
    """The part of the sampled words that are in `known`, with a standard error over samples; (0, None) without words."""
    lists = [continued_words(sample["prompt"], sample["text"]) for sample in texts]
    totals: NDArray[np.float64] = np.array([len(found) for found in lists], dtype=np.float64)
    hits = np.array([sum(word in known for word in found) for found in lists], dtype=np.float64)
    return ratio(hits, totals) if totals.sum() else (0.0, None)
