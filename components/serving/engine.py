"""One model in memory that answers requests: text token by token, and log-probabilities of what it was given."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.serving.api_errors import ApiError
from components.serving.forward import Forward
from components.serving.loading import load
from components.serving.prompts import Prompt, read_prompts
from components.serving.sampling import Sampler, logprobs
from components.serving.text import Detokenizer, StopScanner

Event = dict[str, Any]
"""start {prompt_tokens}, then piece {index, text, tokens, finish}..., then end {completion_tokens}; or error."""


class Engine:
    """An export that has been checked against its digest, ready to answer.

    Answers are events: the pieces of one answer, joined, are the whole answer, because there is no other way to it.
    """

    endpoints: tuple[str, ...] = ("completions", "chat/completions")
    loader = "AutoModelForCausalLM"

    def __init__(self, folder: Path, digest: str, threads: int) -> None:
        """Raises StoreError if `folder` is not what `digest` says or holds code."""
        import torch

        torch.set_num_threads(threads)
        self.digest = digest
        self.loaded = load(folder, digest, self.loader)

    def answers(self, job: dict[str, Any], cancelled: Callable[[], bool]) -> Iterator[Event]:
        """The events of `job` (see schema.py); raises ApiError before the first one if it cannot be done."""
        prompts = self.prompts(job)
        yield {"type": "start", "prompt_tokens": sum(len(prompt.ids) for prompt in prompts)}
        completion_tokens = 0
        for index in range(len(prompts) * job["n"]):
            for piece in self._answer(prompts[index // job["n"]], job, index, cancelled):
                completion_tokens += piece.pop("sampled")
                yield {"type": "piece", "index": index, **piece}
        yield {"type": "end", "completion_tokens": completion_tokens}

    def score(self, ids: list[int], num_top: int) -> list[tuple[float, list[tuple[int, float]]] | None]:
        """For each token its log-probability given those before it and the likeliest (id, logprob); None for the first."""
        forward = Forward(self.loaded.model)
        rows: list[tuple[float, list[tuple[int, float]]] | None] = [None]
        for logits, start in forward.chunks(ids, all_logits=True):
            following = ids[start + 1 : start + 1 + len(logits)]
            rows += [logprobs(row, token, num_top) for row, token in zip(logits, following, strict=False)]
        return rows

    def prompts(self, job: dict[str, Any]) -> list[Prompt]:
        """What `job` asks to be read, each within the context. Raises ApiError (400)."""
        if any(message.get("images") for message in job["messages"] or ()):
            raise ApiError(400, "This model reads no images.", param="messages")
        return read_prompts(self.loaded, job)

    def room(self, prompt: Prompt) -> int:
        """Tokens that an answer to `prompt` may have: the last one is predicted and never read."""
        return self.loaded.context + 1 - len(prompt.ids)

    def forward(self) -> Any:
        """One sequence on its way through the model."""
        return Forward(self.loaded.model)

    def _answer(
        self, prompt: Prompt, job: dict[str, Any], index: int, cancelled: Callable[[], bool]
    ) -> Iterator[Event]:
        offset = 0
        if job["echo"]:
            yield _piece(prompt.text, self._echoed(prompt, job), sampled=0)
            offset = len(prompt.text)
        seed = None if job["seed"] is None else (job["seed"] + index % job["n"]) % 2**63
        sampler = Sampler(job["temperature"], job["top_p"], seed)
        room = self.room(prompt)
        limit = room if job["max_tokens"] is None else min(job["max_tokens"], room)
        yield from self._generate(prompt.ids, sampler, limit, job, offset, cancelled)

    def _generate(
        self,
        ids: list[int],
        sampler: Sampler,
        limit: int,
        job: dict[str, Any],
        offset: int,
        cancelled: Callable[[], bool],
    ) -> Iterator[Event]:
        forward, detokenizer, scanner = self.forward(), Detokenizer(self._decode), StopScanner(job["stop"])
        waiting: list[Event] = []  # tokens whose text has not been given out
        read = given = token = 0  # characters detokenised, and given out
        for step in range(limit):
            logits = forward.step(token) if step else forward.prefill(ids, cancelled)
            if cancelled():
                return
            token = sampler.choose(logits)
            waiting.append(self._described(token, logits, job["logprobs"], offset + read))
            if token in self.loaded.end_tokens:
                yield _last(detokenizer, scanner, waiting, offset + given, "stop", sampled=1)
                return
            text = detokenizer.add(token)
            read += len(text)
            text, stopped = scanner.add(text)
            given += len(text)
            if stopped:
                yield _piece(text, _before(waiting, offset + given), "stop")
                return
            released, waiting = (waiting, []) if text and read == given else ([], waiting)
            yield _piece(text, released)
        yield _last(detokenizer, scanner, waiting, offset + given, "length", sampled=0)

    def _described(self, token: int, logits: Any, num_top: int | None, offset: int) -> Event:
        if num_top is None:
            return {"offset": offset}
        chosen, top = logprobs(logits, token, num_top)
        return self._row(token, offset, chosen, top)

    def _row(self, token: int, offset: int, logprob: float | None, top: list[tuple[int, float]] | None) -> Event:
        named = None if top is None else [(self._name(other), value) for other, value in top]
        return {"text": self._name(token), "offset": offset, "logprob": logprob, "top": named}

    def _echoed(self, prompt: Prompt, job: dict[str, Any]) -> list[Event]:
        if job["logprobs"] is None:
            return []
        rows, offset, detokenizer = [], 0, Detokenizer(self._decode)
        for token, scored in zip(prompt.ids, self.score(prompt.ids, job["logprobs"]), strict=True):
            rows.append(self._row(token, offset, *(scored or (None, None))))
            offset += len(detokenizer.add(token))
        return rows

    def _decode(self, tokens: Any) -> str:
        return self.loaded.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _name(self, token: int) -> str:
        return self.loaded.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _piece(text: str, tokens: list[Event], finish: str | None = None, sampled: int = 1) -> Event:
    return {"text": text, "tokens": [row for row in tokens if "logprob" in row], "finish": finish, "sampled": sampled}


def _before(tokens: list[Event], end: int) -> list[Event]:
    """The tokens whose text starts before `end`, where a stop string was cut off."""
    return [row for row in tokens if row["offset"] < end]


def _last(
    detokenizer: Detokenizer, scanner: StopScanner, waiting: list[Event], given: int, finish: str, sampled: int
) -> Event:
    """What was still held back; an unfinished character may complete a stop string only now."""
    text, stopped = scanner.add(detokenizer.finish())
    if stopped:
        return _piece(text, _before(waiting, given + len(text)), "stop", sampled)
    return _piece(text + scanner.finish(), waiting, finish, sampled)
