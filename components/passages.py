"""Passages with questions about them: as the text of a document, and as what a model reads (Rajpurkar et al. 2016).

A document is the passage, an empty line, and for each question a line `Question: ...` with one or more lines
`Answer (at 17): ...`, whose number is the character of the passage at which the answer begins.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

ASKED, ANSWERED = "Question: ", re.compile(r"^Answer \(at (\d+)\): (.*)$")
QUESTION_TOKENS = 48
"""Of a question that is longer, the rest is not read."""


@dataclass(frozen=True)
class Answer:
    """A part of a passage, by characters."""

    start: int
    text: str


@dataclass(frozen=True)
class Asked:
    """A question about a passage, and the answers that are right."""

    question: str
    answers: tuple[Answer, ...]


def as_text(passage: str, asked: Sequence[Asked]) -> str:
    """The document that holds `passage` and what is asked about it."""
    lines = [" ".join(passage.split("\n")), ""]
    for each in asked:
        lines.append(f"{ASKED}{' '.join(each.question.split())}")
        lines += [f"Answer (at {answer.start}): {' '.join(answer.text.split(chr(10)))}" for answer in each.answers]
    return "\n".join(lines)


def of_text(text: str) -> tuple[str, list[Asked]]:
    """The passage of a document and the questions that have an answer in it.

    An answer that is not where the document says is taken where it stands nearest to that; one that stands nowhere, as
    it was masked perhaps, is left out.
    """
    passage, _, rest = text.partition(f"\n\n{ASKED}")
    found = []
    for block in rest.split(f"\n{ASKED}") if rest else ():
        question, *lines = block.split("\n")
        places = [ANSWERED.match(line) for line in lines]
        answers = [nearest(passage, place[2], int(place[1])) for place in places if place]
        if kept := tuple(answer for answer in answers if answer):
            found.append(Asked(question.strip(), kept))
    return passage, found


def question_of(text: str) -> tuple[str, str]:
    """The first question of a document, answered or not, and its passage; of a text without one, what it is about."""
    passage, _, rest = text.partition(f"\n\n{ASKED}")
    return rest.partition("\n")[0].strip() or "What is this about?", passage


def nearest(passage: str, answer: str, start: int) -> Answer | None:
    """Where `answer` stands in `passage`, nearest to the character `start`; None where it does not."""
    if not answer:
        return None
    places = [match.start() for match in re.finditer(re.escape(answer), passage)]
    return Answer(min(places, key=lambda place: abs(place - start)), answer) if places else None


@dataclass(frozen=True)
class Window:
    """What a model reads at once: a question and a part of the passage."""

    ids: list[int]
    first: int
    """The place of the passage's first token."""
    spans: list[tuple[int, int]]
    """Characters of the passage in each of its tokens."""

    def places(self, answer: Answer) -> tuple[int, int] | None:
        """The places of the first and the last token of `answer`; None where it is not whole in this window."""
        end = answer.start + len(answer.text)
        inside = [n for n, (a, b) in enumerate(self.spans) if a < end and b > answer.start]
        if not inside or self.spans[0][0] > answer.start or self.spans[-1][1] < end:
            return None
        return self.first + inside[0], self.first + inside[-1]


def windows(tokenizer: Any, question: str, passage: str, context: int) -> Iterator[Window]:
    """The question with each part of the passage that goes with it into `context` tokens; parts share half of their tokens.

    As BERT reads a pair: the token that begins, the question, the one that separates, the passage, that one again.
    """
    encode = {"add_special_tokens": False, "split_special_tokens": True}
    asked = tokenizer(question, **encode)["input_ids"][: min(QUESTION_TOKENS, context // 3)]
    read = tokenizer(passage, return_offsets_mapping=True, **encode)
    begin = [] if tokenizer.cls_token_id is None else [tokenizer.cls_token_id]
    head, end = [*begin, *asked, tokenizer.sep_token_id], [tokenizer.sep_token_id]
    room = context - len(head) - len(end)
    ids, spans = read["input_ids"], read["offset_mapping"]
    for start in range(0, max(1, len(ids)), max(1, room // 2)):
        part = ids[start : start + room]
        yield Window([*head, *part, *end], len(head), spans[start : start + room])
        if start + room >= len(ids):
            return


LONGEST = 30
"""Most tokens of an answer."""


@dataclass(frozen=True)
class Marked:
    """What a model takes for the answer, and how likely it thinks both of its ends are, of all places of that window."""

    answer: Answer
    score: float
    tokens: int
    """That were read for it, all windows together."""


def mark(model: Any, tokenizer: Any, question: str, passage: str, context: int) -> Marked:
    """The part of `passage` that a model with beginnings and ends of answers takes for the answer.

    Of all windows, the one whose two ends have the highest logits together. `passage` holds at least one token.
    """
    import torch

    best: tuple[float, Window, int, int, float] | None = None
    read = 0
    for window in windows(tokenizer, question, passage, context):
        ids = torch.tensor([window.ids])
        read += len(window.ids)
        with torch.inference_mode():
            found = model(input_ids=ids, attention_mask=torch.ones_like(ids))
        inside = slice(window.first, window.first + len(window.spans))
        starts, ends = (logits[0].float() for logits in (found.start_logits, found.end_logits))
        pairs = starts[inside, None] + ends[None, inside]
        allowed = torch.ones_like(pairs, dtype=torch.bool).triu().tril(LONGEST - 1)
        place = int(pairs.masked_fill(~allowed, -torch.inf).argmax())
        first, last = divmod(place, len(window.spans))
        if best is None or pairs[first, last] > best[0]:
            chance = pairs[first, last] - starts.logsumexp(0) - ends.logsumexp(0)
            best = float(pairs[first, last]), window, first, last, float(chance.exp())
    assert best is not None
    _, window, first, last, chance = best
    start, end = window.spans[first][0], window.spans[last][1]
    return Marked(Answer(start, passage[start:end]), chance, read)
