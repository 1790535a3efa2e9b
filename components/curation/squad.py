"""SQuAD's JSON (Rajpurkar et al. 2016, version 1.1) as documents: each passage with its questions and answers."""

import json
from typing import Any

from components.errors import SourceError
from components.passages import Answer, Asked, as_text

EXPECTED = (
    'expected {"data": [{"paragraphs": [{"context", "qas": [{"question", "answers": [{"text", "answer_start"}]}]}]}]}'
)


def is_squad(beginning: bytes) -> bool:
    """Whether a JSON file that begins so is one of questions and answers."""
    return b'"paragraphs"' in beginning and b'"data"' in beginning


def texts(raw: bytes, where: str) -> list[str]:
    """A document for each passage. Raises SourceError for what is no JSON of that form."""
    try:
        rows = [row for article in json.loads(raw)["data"] for row in article["paragraphs"]]
        return [as_text(row["context"], [_asked(each) for each in row["qas"]]) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SourceError(f"{where} is no file of questions and answers: {EXPECTED}.") from None


def _asked(row: dict[str, Any]) -> Asked:
    found = dict.fromkeys((int(answer["answer_start"]), str(answer["text"])) for answer in row["answers"])
    return Asked(str(row["question"]), tuple(Answer(start, text) for start, text in found))
