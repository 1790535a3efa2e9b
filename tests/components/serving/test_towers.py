"""/v1/embeddings and /v1/classifications of two towers, over real HTTP, against plain transformers."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
from drawings import draw
from PIL import Image

from components.digests import digest, folder_content
from components.models import family
from components.preparation.pairs import save_image_processor
from components.preparation.processors import processor
from components.serving.answering import Answering, LocalBackend
from components.serving.catalogue import Catalogue, Served
from components.serving.engines import open_engine
from components.serving.examples import example
from components.serving.smoke import smoke_test

KEY = "sk-test"
LABELS = ["a red square", "a blue circle", "a green bar"]


def as_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (draw(tmp_path_factory.mktemp("drawn") / "filled", "filled") / "red-square.png").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, picture: bytes) -> Path:
    """Towers with random weights."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("towers") / "model"
    kind = processor("captions")
    tokenizer = kind.train(LABELS * 4, 320)
    kind.save(tokenizer, place, 24)
    size = save_image_processor(picture, place)
    ends = {"eos_token_id": tokenizer.token_to_id("<|endoftext|>"), "pad_token_id": tokenizer.token_to_id("<|pad|>")}
    shape = {"vocab_size": tokenizer.get_vocab_size(), "context": 24, "image_size": size}
    model: Any = family("clip").build("debug", **shape, **ends)
    model.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def url(folder: Path, serving: Any) -> Iterator[str]:
    found = digest(folder_content(folder, "export"))
    row = Served("towers", "1", found, "towers", True, 0).row()
    engines = {"towers": Answering(open_engine(folder, found, threads=1))}
    with serving(LocalBackend(Catalogue([row]), engines)) as address:
        yield f"{address}/v1"


def classify(url: str, **asked: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.post(f"{url}/classifications", json={"model": "towers", **asked}, headers=headers)


def test_vectors_and_labels_are_those_of_transformers(url: str, folder: Path, picture: bytes) -> None:
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    model, tokenizer = CLIPModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    read: Any = AutoImageProcessor.from_pretrained(folder)
    pixels = read(Image.open(io.BytesIO(picture)), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        found = model(pixel_values=pixels, **tokenizer(LABELS, padding=True, return_tensors="pt"))
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        given = client.embeddings.create(model="towers", input=[as_uri(picture), LABELS[1]], encoding_format="float")
    assert given.data[0].embedding == pytest.approx(found.image_embeds[0].tolist(), abs=1e-5)
    assert given.data[1].embedding == pytest.approx(found.text_embeds[1].tolist(), abs=1e-5)
    chances = found.logits_per_image[0].softmax(-1).tolist()
    answer = classify(url, input=as_uri(picture), labels=LABELS).json()
    assert {row["label"]: row["score"] for row in answer["labels"]} == pytest.approx(
        dict(zip(LABELS, chances, strict=True)), abs=1e-5
    )
    assert [row["score"] for row in answer["labels"]] == pytest.approx(sorted(chances, reverse=True), abs=1e-5)


def test_the_example_is_answered(url: str) -> None:
    asked = example("towers", "towers", "a red square")
    answer = httpx.post(f"{url}/{asked['path']}", json=asked["body"], headers={"Authorization": f"Bearer {KEY}"})
    assert len(answer.json()["data"][0]["embedding"]) == 32


def test_a_text_is_pooled_at_its_end(folder: Path) -> None:
    """Not at the token with the largest id, as CLIP's code has it where the end token is 2."""
    from transformers import AutoTokenizer, CLIPModel

    model: Any = CLIPModel.from_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(folder)(LABELS[1], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        states = model.text_model(input_ids=ids).last_hidden_state
        pooled = model.text_model(input_ids=ids).pooler_output
    assert model.config.text_config.eos_token_id == ids[0, -1] != ids.max()
    assert torch.equal(pooled[0], states[0, -1])


def test_the_smoke_test_knows_towers(url: str) -> None:
    assert smoke_test(url, KEY, "towers", "a red square", "towers")["width"] == 32


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"input": "data:image/png;base64,AAAA", "labels": LABELS}, "cannot be read"),
        ({"input": "data:image/png;base64,???", "labels": LABELS}, "cannot be read"),
        ({"input": "data:image/png,abc", "labels": LABELS}, "data:image/png;base64"),
        ({"input": "a " * 60, "labels": LABELS}, "texts hold 24"),
        ({"input": "a", "labels": ["one"]}, "labels"),
        ({"input": "a", "labels": ["one", ""]}, "labels"),
        ({"input": "a", "labels": LABELS, "more": 1}, "more"),
    ],
)
def test_what_cannot_be_told_is_refused(url: str, asked: dict[str, Any], message: str) -> None:
    answer = classify(url, **asked)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_an_image_that_unpacks_to_too_much_is_refused(url: str) -> None:
    written = io.BytesIO()
    Image.new("1", (5000, 5000)).save(written, "PNG")
    answer = classify(url, input=as_uri(written.getvalue()), labels=LABELS)
    assert (answer.status_code, "too large" in answer.json()["error"]["message"]) == (400, True)
