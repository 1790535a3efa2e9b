"""How long a phase is: its optimizer steps and tokens."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from components.models import family
from components.planning.compute import bytes_per_token
from components.recipe import Recipe, TrainPhase
from components.recipe.images import ONCE_MORE, WORDLESS

MARKS = 4
"""Tokens that stand for the turns of a chat of one question and its answer, by the template that Headwater brings."""
CAPTION = 18
"""Tokens of a caption with tags."""
SHORT_CAPTION = 9
"""Of one to draw by, which mostly has none."""
QUESTIONS, QUESTION = 3, 30
"""Questions about each picture, and the tokens of one with its picture."""
SYNTAX = 28
"""Bytes of a line of JSON that are not text: its braces, quotation marks and the names prompt and completion."""


class Data(NamedTuple):
    """What is known of a recipe's data before it is read."""

    source_bytes: Mapping[str, int]
    """Size of every source, by name."""
    line_bytes: Mapping[str, tuple[int, ...]] = {}
    """Size of every line of those that are JSON lines: the samples of a phase that trains on them."""
    corpus_tokens: int | None = None
    """Tokens of the prepared corpus, where there is one already."""
    corpus_bytes_per_token: float | None = None
    """Of its text, where it is prepared."""
    corpus_vocab_size: int | None = None
    """Of its tokenizer, which a small corpus makes smaller than the recipe asks for."""
    num_images: int | None = None
    """Files of the sources of images."""
    corpus_documents: int | None = None
    """How many there are, where they are prepared."""
    source_files: Mapping[str, int] = {}
    """How many files every source has, by name."""
    base: Path | None = None
    """Where the model lies that the recipe starts from."""
    chat_marks: int = MARKS
    """Tokens of a chat that are none of its text."""

    def bytes_per_token(self, recipe: Recipe) -> float:
        """As the prepared corpus has it, else as English does."""
        return self.corpus_bytes_per_token or bytes_per_token(recipe.prepare.vocab_size)

    def chat_tokens(self, phase: TrainPhase, recipe: Recipe) -> tuple[int, ...]:
        """Tokens of each chat that a phase learns from, without those longer than the context; empty for a corpus."""
        lines = self.line_bytes.get(phase.data.removeprefix("source:"), ())
        each = self.bytes_per_token(recipe)
        found = (max(2, self.chat_marks + round(max(0, size - SYNTAX) / each)) for size in lines)
        return tuple(length for length in found if length <= recipe.prepare.context)


def length(phase: TrainPhase, recipe: Recipe, data: Data) -> tuple[int, int]:
    """(steps, tokens) of `phase`: enough to spend its token budget or its epochs, the last step in full."""
    if recipe.images:
        return _pairs(phase, recipe, data)
    if family(recipe.family).samples in ("labelled", "answers"):
        return _labelled(phase, recipe, data)
    chats = data.chat_tokens(phase, recipe)
    each = sum(chats) / len(chats) - 1 if chats else recipe.prepare.context  # padding does not count
    if phase.tokens is not None:
        samples = phase.tokens / each
    else:
        assert phase.epochs is not None
        samples = phase.epochs * (len(chats) or _tokens(phase, recipe, data) / each)
    steps = max(1, math.ceil(samples / phase.batch_size))
    return steps, round(steps * phase.batch_size * each)


def _pairs(phase: TrainPhase, recipe: Recipe, data: Data) -> tuple[int, int]:
    """The same of images with captions, all of which have labels, as far as anybody knows before they are read."""
    assert recipe.images is not None
    styles = 1 - recipe.images.held_out_styles / max(1, len(recipe.images.sets))
    images = (data.num_images or 1) * (1 - recipe.images.held_out) * styles
    styled = sum(bool(chosen.style_caption) for chosen in recipe.images.sets) / len(recipe.images.sets)
    times, each = {
        "pairs": (1 + styled / ONCE_MORE, CAPTION),
        "captions": (1 + 1 / WORDLESS, each_caption(recipe)),
        "questions": (QUESTIONS, QUESTION),
    }[family(recipe.family).samples]
    samples = phase.tokens / each if phase.tokens is not None else (phase.epochs or 0) * images * times
    steps = max(1, math.ceil(samples / phase.batch_size))
    return steps, steps * phase.batch_size * each


def each_caption(recipe: Recipe) -> int:
    """Tokens that are read of a picture's caption."""
    return SHORT_CAPTION if family(recipe.family).samples == "captions" else CAPTION


def _labelled(phase: TrainPhase, recipe: Recipe, data: Data) -> tuple[int, int]:
    """The same of documents of which the beginning is read.

    Before they are prepared, each file of a folder is one; what is in a single file is taken to be as long as the context.
    """
    total, context = _tokens(phase, recipe, data), recipe.prepare.context
    files = sum(data.source_files.get(source.name, 0) for source in recipe.with_role("documents"))
    several = files * (1 - recipe.curate.held_out) if files > len(recipe.with_role("documents")) else 0
    documents = data.corpus_documents or several or max(1.0, total / context)
    each = min(context, total / documents)
    samples = phase.tokens / each if phase.tokens is not None else (phase.epochs or 0) * documents
    steps = max(1, math.ceil(samples / phase.batch_size))
    return steps, round(steps * phase.batch_size * each)


def _tokens(phase: TrainPhase, recipe: Recipe, data: Data) -> float:
    """Tokens of the data of a phase that reads it in windows."""
    if phase.data == "corpus" and data.corpus_tokens is not None:
        return data.corpus_tokens
    names = (
        [s.name for s in recipe.with_role("documents")] if phase.data == "corpus" else [phase.data[len("source:") :]]
    )
    size = sum(data.source_bytes[name] for name in names)
    kept = 1 - recipe.curate.held_out if phase.data == "corpus" else 1
    return size * kept / data.bytes_per_token(recipe)
