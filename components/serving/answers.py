"""Answers in OpenAI's shapes, whole and in chunks, made from the engine's events."""

import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from components.serving.api_errors import ApiError, from_event
from components.serving.catalogue import Served
from components.serving.engine import Event

DONE = b"data: [DONE]\n\n"


class Answer(ABC):
    """One response: gathers the events of its request, and words them."""

    kind = ""  # the `object` of a whole response
    chunk_kind = ""
    prefix = ""

    def __init__(self, served: Served, *, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._envelope = {
            "id": f"{self.prefix}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": served.id,
            "system_fingerprint": served.digest[:16],
        }
        self._prompt_tokens = self._completion_tokens = 0
        self._pieces: dict[int, Event] = {}

    def take(self, event: Event) -> None:
        """Add an event to the whole; raises ApiError if it is an error."""
        if event["type"] == "error":
            raise from_event(event)
        if event["type"] == "start":
            self._prompt_tokens = event["prompt_tokens"]
        elif event["type"] == "end":
            self._completion_tokens = event["completion_tokens"]
        else:
            whole = self._pieces.setdefault(event["index"], {**event, "text": "", "tokens": []})
            whole["text"] += event["text"]
            whole["tokens"] += event["tokens"]
            whole["finish"] = event["finish"]

    def whole(self, wants_logprobs: bool) -> dict[str, Any]:
        """The response as one JSON object."""
        choices = [self.choice(piece, wants_logprobs) for _, piece in sorted(self._pieces.items())]
        return {**self._envelope, "object": self.kind, "choices": choices, "usage": self._usage()}

    async def chunks(self, events: AsyncGenerator[Event], wants_logprobs: bool) -> AsyncGenerator[bytes]:
        """The response as server-sent events; a cut stream ends in an error event, never in silence."""
        begun: set[int] = set()
        try:
            async with aclosing(events):
                async for event in events:
                    if event["type"] == "piece":
                        for choice in self.deltas(event, wants_logprobs, first=event["index"] not in begun):
                            yield self._chunk([choice])
                        begun.add(event["index"])
                    else:
                        self.take(event)
        except ApiError as error:
            yield _sent(error.body())
            return
        if self._include_usage:
            yield self._chunk([], usage=self._usage())
        yield DONE

    @abstractmethod
    def choice(self, piece: Event, wants_logprobs: bool) -> dict[str, Any]:
        """One choice of a whole response."""

    @abstractmethod
    def deltas(self, piece: Event, wants_logprobs: bool, first: bool) -> Iterator[dict[str, Any]]:
        """The choices by which a stream carries `piece`."""

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return _sent({**self._envelope, "object": self.chunk_kind, "choices": choices, **more})

    def _usage(self) -> dict[str, int]:
        prompt, completion = self._prompt_tokens, self._completion_tokens
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


class CompletionAnswer(Answer):
    """The answer of /v1/completions."""

    kind = chunk_kind = "text_completion"
    prefix = "cmpl"

    def choice(self, piece: Event, wants_logprobs: bool) -> dict[str, Any]:
        """Text, with logprobs as parallel lists: the legacy shape that lm-eval reads."""
        logprobs = _parallel(piece["tokens"]) if wants_logprobs else None
        return {"index": piece["index"], "text": piece["text"], "logprobs": logprobs, "finish_reason": piece["finish"]}

    def deltas(self, piece: Event, wants_logprobs: bool, first: bool) -> Iterator[dict[str, Any]]:
        """The same shape as a whole choice; nothing for a piece that says nothing."""
        if piece["text"] or piece["tokens"] or piece["finish"]:
            yield self.choice(piece, wants_logprobs)


class ChatAnswer(Answer):
    """The answer of /v1/chat/completions."""

    kind, chunk_kind = "chat.completion", "chat.completion.chunk"
    prefix = "chatcmpl"

    def choice(self, piece: Event, wants_logprobs: bool) -> dict[str, Any]:
        """A message of the assistant."""
        message = {"role": "assistant", "content": piece["text"], "refusal": None}
        logprobs = _listed(piece["tokens"]) if wants_logprobs else None
        return {"index": piece["index"], "message": message, "logprobs": logprobs, "finish_reason": piece["finish"]}

    def deltas(self, piece: Event, wants_logprobs: bool, first: bool) -> Iterator[dict[str, Any]]:
        """The role, then text, then the reason for the end, each in a chunk of its own."""
        if first:
            yield self._delta(piece, {"role": "assistant", "content": ""})
        if piece["text"] or piece["tokens"]:
            logprobs = _listed(piece["tokens"]) if wants_logprobs else None
            yield self._delta(piece, {"content": piece["text"]}, logprobs=logprobs)
        if piece["finish"]:
            yield self._delta(piece, {}, finish=piece["finish"])

    def _delta(
        self, piece: Event, delta: dict[str, str], logprobs: Any = None, finish: str | None = None
    ) -> dict[str, Any]:
        return {"index": piece["index"], "delta": delta, "logprobs": logprobs, "finish_reason": finish}


def _parallel(tokens: list[Event]) -> dict[str, Any]:
    return {
        "tokens": [token["text"] for token in tokens],
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [_by_text(token) for token in tokens],
        "text_offset": [token["offset"] for token in tokens],
    }


def _by_text(token: Event) -> dict[str, float] | None:
    """Text to logprob of the likeliest tokens and the chosen one; of two that read alike the likelier stays."""
    if token["top"] is None:
        return None
    by_text: dict[str, float] = {}
    for text, logprob in [*token["top"], (token["text"], token["logprob"])]:
        by_text.setdefault(text, logprob)
    return by_text


def _listed(tokens: list[Event]) -> dict[str, Any]:
    rows = [
        _entry(token["text"], token["logprob"])
        | {"top_logprobs": [_entry(text, value) for text, value in token["top"]]}
        for token in tokens
    ]
    return {"content": rows, "refusal": None}


def _entry(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _sent(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n"
