"""/v1/answers over real HTTP: a part of the passage, the same as is marked in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from components.digests import digest, folder_content
from components.models import family
from components.passages import mark
from components.preparation.processors import processor
from components.serving.answering import Answering, LocalBackend
from components.serving.catalogue import Catalogue, Served
from components.serving.engines import open_engine
from components.serving.examples import example
from components.serving.smoke import smoke_test

KEY = "sk-test"
PASSAGE = "It was a truth universally acknowledged. Emma lived at Hartfield, where nothing was wanted."
PROMPT = f"{PASSAGE}\n\nQuestion: Where did Emma live?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader with random weights, which reads 32 tokens at once."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("reader") / "model"
    kind = processor("wordpiece")
    tokenizer = kind.train([PASSAGE] * 4, 320)
    kind.save(tokenizer, place, 32)
    model: Any = family("reader").build("debug", vocab_size=tokenizer.get_vocab_size(), context=32)
    model.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def url(folder: Path, serving: Any) -> Iterator[str]:
    found = digest(folder_content(folder, "export"))
    engines = {"answers": Answering(open_engine(folder, found, threads=1))}
    with serving(
        LocalBackend(Catalogue([Served("answers", "1", found, "answers", True, 0).row()]), engines)
    ) as address:
        yield f"{address}/v1"


def ask(url: str, **asked: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.post(f"{url}/answers", json={"model": "answers", "question": "Where?", **asked}, headers=headers)


@pytest.mark.parametrize("times", [1, 5])
def test_an_answer_is_a_part_of_the_passage_however_long_that_is(url: str, folder: Path, times: int) -> None:
    passage = " ".join([PASSAGE] * times)
    answer = ask(url, passage=passage).json()
    assert answer["answer"] == passage[answer["start"] : answer["end"]] != ""
    model, tokenizer = (
        AutoModelForQuestionAnswering.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    expected = mark(model, tokenizer, "Where?", passage, 32)
    assert (answer["answer"], answer["start"]) == (expected.answer.text, expected.answer.start)
    assert answer["score"] == pytest.approx(expected.score, rel=1e-4)


def test_the_smoke_test_and_the_example_know_it(url: str) -> None:
    assert smoke_test(url, KEY, "answers", PROMPT, "reader")["said"] in PASSAGE
    asked = example("reader", "answers", PROMPT)
    assert asked["body"]["question"] == "Where did Emma live?"
    assert ask(url, **asked["body"]).status_code == 200


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"passage": " \n "}, "passage has 0 tokens: between 1 and 2048 can be read"),
        ({"passage": "word " * 3000}, "passage has"),
        ({"passage": ""}, "at least 1 character"),
        ({"passage": PASSAGE, "question": ""}, "at least 1 character"),
        ({"passage": PASSAGE, "context": "x"}, "context"),
        ({}, "passage"),
    ],
)
def test_what_cannot_be_read_is_refused(url: str, asked: dict[str, Any], wrong: str) -> None:
    answer = ask(url, **asked)
    assert answer.status_code == 400
    assert wrong in answer.json()["error"]["message"]
