"""/v1/images/generations over real HTTP, by the OpenAI client."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import torch
from PIL import Image

from components.digests import digest, folder_content
from components.models import family
from components.models.folder import save
from components.preparation.adopted import PLACES
from components.preparation.processors import processor
from components.serving.answering import Answering, LocalBackend
from components.serving.catalogue import Catalogue, Served
from components.serving.engines import open_engine
from components.serving.examples import example
from components.serving.smoke import smoke_test

KEY = "sk-test"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with random weights, which has its tokenizer where diffusers looks for it."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("images")
    kind = processor("captions")
    tokenizer = kind.train(["a red square", "a blue circle"] * 4, 300)
    kind.save(tokenizer, place / "processor", 24)
    for name in PLACES:
        kind.save(tokenizer, place / "processor" / name, 24)
    ends = {"eos_token_id": tokenizer.token_to_id("<|endoftext|>"), "pad_token_id": tokenizer.token_to_id("<|pad|>")}
    model = family("sd3").build("debug", vocab_size=tokenizer.get_vocab_size(), context=24, image_size=32, **ends)
    save(model, place / "processor", place / "model")
    return place / "model"


@pytest.fixture(scope="module")
def url(folder: Path, serving: Any) -> Iterator[str]:
    found = digest(folder_content(folder, "export"))
    engines = {"images": Answering(open_engine(folder, found, threads=1))}
    with serving(LocalBackend(Catalogue([Served("images", "1", found, "images", True, 0).row()]), engines)) as address:
        yield f"{address}/v1"


def picture(row: Any) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(row.b64_json))), dtype=int)


def test_the_same_seed_draws_the_same_pictures(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        asked: dict[str, Any] = {"model": "images", "prompt": "a red square", "size": "32x32"}
        first = client.images.generate(**asked, n=2, extra_body={"seed": 5}).data
        again = client.images.generate(**asked, n=1, extra_body={"seed": 6}).data
    assert first
    assert again
    assert [picture(row).shape for row in first] == [(32, 32, 3)] * 2
    assert np.abs(picture(first[1]) - picture(again[0])).max() <= 1
    assert np.abs(picture(first[0]) - picture(first[1])).max() > 8


def test_without_a_seed_it_says_which_one_it_took(url: str) -> None:
    asked = example("images", "images", "a red square")
    answers = [httpx.post(f"{url}/{asked['path']}", json=asked["body"], headers=HEADERS).json() for _ in range(2)]
    assert answers[0]["seed"] != answers[1]["seed"]
    again = {**asked["body"], "seed": answers[0]["seed"]}
    assert httpx.post(f"{url}/{asked['path']}", json=again, headers=HEADERS).json()["data"] == answers[0]["data"]


def test_the_smoke_test_knows_what_draws(url: str) -> None:
    assert smoke_test(url, KEY, "images", "a red square", "images")["size"] == (32, 32)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"prompt": "a square " * 30}, "this model reads 24"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "a", "size": "512x512"}, "draws 32x32, not 512x512"),
        ({"prompt": "a", "n": 9}, "n:"),
        ({"prompt": "a", "response_format": "url"}, "response_format"),
    ],
)
def test_what_cannot_be_drawn_is_refused(url: str, asked: dict[str, Any], message: str) -> None:
    answer = httpx.post(f"{url}/images/generations", json={"model": "images", **asked}, headers=HEADERS)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
