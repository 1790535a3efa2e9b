"""/v1/classifications of a model with labels of its own, over real HTTP, against plain transformers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from components.digests import digest, folder_content
from components.models import family
from components.preparation.processors import processor
from components.serving.answering import Answering, LocalBackend
from components.serving.catalogue import Catalogue, Served
from components.serving.engines import open_engine
from components.serving.examples import example
from components.serving.smoke import smoke_test

KEY = "sk-test"
HEADERS = {"Authorization": f"Bearer {KEY}"}
TEXT = "It was a truth universally acknowledged."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with random weights."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("classifier") / "model"
    kind = processor("wordpiece")
    tokenizer = kind.train([TEXT] * 4, 320)
    kind.save(tokenizer, place, 32)
    build = family("classifier").build
    model: Any = build("debug", vocab_size=tokenizer.get_vocab_size(), context=32, labels=["ham", "spam", "none"])
    model.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def url(folder: Path, serving: Any) -> Iterator[str]:
    found = digest(folder_content(folder, "export"))
    engines = {"spam": Answering(open_engine(folder, found, threads=1))}
    with serving(LocalBackend(Catalogue([Served("spam", "1", found, "spam", True, 0).row()]), engines)) as address:
        yield f"{address}/v1"


def classify(url: str, **asked: Any) -> httpx.Response:
    return httpx.post(f"{url}/classifications", json={"model": "spam", **asked}, headers=HEADERS)


def test_scores_are_those_of_transformers(url: str, folder: Path) -> None:
    from transformers import pipeline

    (told,) = pipeline("text-classification", model=str(folder), top_k=None)([TEXT])
    answer = classify(url, input=TEXT).json()["labels"]
    assert [row["label"] for row in answer] == [row["label"] for row in told]
    assert [row["score"] for row in answer] == pytest.approx([row["score"] for row in told], abs=1e-5)
    asked = classify(url, input=TEXT, labels=["spam", "ham"]).json()["labels"]
    assert sorted(row["label"] for row in asked) == ["ham", "spam"]


def test_of_a_long_text_the_beginning_is_read(url: str) -> None:
    assert classify(url, input=f"{TEXT} " * 100).status_code == 200


def test_the_smoke_test_and_the_example_know_it(url: str) -> None:
    assert len(smoke_test(url, KEY, "spam", TEXT, "classifier")["labels"]) == 3
    asked = example("classifier", "spam", TEXT)
    assert httpx.post(f"{url}/{asked['path']}", json=asked["body"], headers=HEADERS).status_code == 200


def test_a_label_that_it_does_not_have_is_refused(url: str) -> None:
    answer = classify(url, input=TEXT, labels=["ham", "eggs"])
    assert answer.status_code == 400
    assert "no label 'eggs'. Known: ham, spam, none" in answer.json()["error"]["message"]
