"""A request that a served model answers: what is shown to people when a run has ended."""

from collections.abc import Callable
from typing import Any

from components.passages import question_of
from components.serving.smoke import WHITE

Body = dict[str, Any]
MAX_TOKENS = 32


def example(engine: str, model: str, prompt: str) -> dict[str, Any]:
    """{"path", "body"} of a request to `model` with the prompt of its recipe, by the engine that holds it."""
    path, body = EXAMPLES[engine]
    return {"path": path, "body": {"model": model, **body(prompt)}}


def _chat(prompt: str) -> Body:
    return {"messages": [{"role": "user", "content": prompt}], "max_tokens": MAX_TOKENS}


def _look(prompt: str) -> Body:
    parts = [{"type": "image_url", "image_url": {"url": WHITE}}, {"type": "text", "text": prompt}]
    return {"messages": [{"role": "user", "content": parts}], "max_tokens": MAX_TOKENS}


def _complete(prompt: str) -> Body:
    return {"prompt": prompt, "max_tokens": MAX_TOKENS}


def _input(prompt: str) -> Body:
    return {"input": prompt}


def _ask(prompt: str) -> Body:
    question, passage = question_of(prompt)
    return {"question": question, "passage": passage}


def _prompt(prompt: str) -> Body:
    return {"prompt": prompt}


EXAMPLES: dict[str, tuple[str, Callable[[str], Body]]] = {
    "classifier": ("classifications", _input),
    "decoder": ("chat/completions", _chat),
    "encoder": ("embeddings", _input),
    "images": ("images/generations", _prompt),
    "reader": ("answers", _ask),
    "seq2seq": ("completions", _complete),
    "towers": ("embeddings", _input),
    "visual": ("chat/completions", _look),
}
