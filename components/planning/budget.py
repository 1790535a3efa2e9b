"""How long a phase is: its optimizer steps and tokens."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from components.planning.compute import bytes_per_token
from components.recipe import Recipe, TrainPhase


class Data(NamedTuple):
    """What is known of a recipe's data before it is read."""

    source_bytes: Mapping[str, int]
    """Size of every source, by name."""
    source_lines: Mapping[str, int]
    """Lines of those that are JSON lines, which are the samples of a phase that trains on them."""
    corpus_tokens: int | None = None
    """Tokens of the prepared corpus, where there is one already."""


def length(phase: TrainPhase, recipe: Recipe, data: Data) -> tuple[int, int]:
    """(steps, tokens) of `phase`: enough to spend its token budget or its epochs, the last step in full."""
    context = recipe.prepare.context
    wanted = tokens(phase, recipe, data)
    lines = data.source_lines.get(phase.data.removeprefix("source:"))
    if not lines:  # windows of the whole context
        steps = max(1, math.ceil(wanted / (phase.batch_size * context)))
        return steps, steps * phase.batch_size * context
    # One chat is one sample, padded in its batch and not packed.
    each = min(context, _source_tokens(phase, recipe, data) / lines)
    samples = phase.epochs * lines if phase.epochs is not None else wanted / each
    return max(1, math.ceil(samples / phase.batch_size)), math.ceil(wanted)


def tokens(phase: TrainPhase, recipe: Recipe, data: Data) -> float:
    """The token budget of a phase, or its epochs over what its data holds."""
    if phase.tokens is not None:
        return phase.tokens
    assert phase.epochs is not None
    if phase.data != "corpus":
        return phase.epochs * _source_tokens(phase, recipe, data)
    if data.corpus_tokens is not None:
        return phase.epochs * data.corpus_tokens
    size = sum(data.source_bytes[source.name] for source in recipe.with_role("documents"))
    return phase.epochs * size * (1 - recipe.curate.held_out) / bytes_per_token(recipe.prepare.vocab_size)


def _source_tokens(phase: TrainPhase, recipe: Recipe, data: Data) -> float:
    return data.source_bytes[phase.data.removeprefix("source:")] / bytes_per_token(recipe.prepare.vocab_size)
