"""Chats about pictures over real HTTP, against plain transformers."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
from drawings import draw

from components.artifacts import Export
from components.digests import digest, folder_content
from components.models import family
from components.preparation.pairs import save_image_processor
from components.preparation.processors import processor
from components.preparation.questions import add_pictures, num_places
from components.serving.answering import Answering, LocalBackend
from components.serving.catalogue import Catalogue, Served
from components.serving.engines import open_engine
from components.serving.smoke import smoke_test

KEY = "sk-test"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = draw(tmp_path_factory.mktemp("drawn") / "filled", "filled")
    return [path.read_bytes() for path in sorted(folder.glob("*.png"))[:2]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pictures: list[bytes]) -> Path:
    """A model with random weights that reads pictures."""
    torch.manual_seed(0)
    eyes, place = tmp_path_factory.mktemp("eyes") / "model", tmp_path_factory.mktemp("visual") / "model"
    kind = processor("byte_bpe")
    kind.save(kind.train(["What is this? A red square. Is this a blue circle? Yes. No."] * 4, 320), place, 96)
    size = save_image_processor(pictures[0], eyes)
    tower: Any = family("clip").build("debug", image_size=size)
    tower.save_pretrained(eyes)
    image_token = add_pictures(place, Export(eyes))
    vocab_size = len(json.loads((place / "tokenizer.json").read_text())["model"]["vocab"]) + 1
    shape = {"vocab_size": vocab_size, "context": 96, "image_size": size, "image_token_id": image_token}
    model: Any = family("llava").build("debug", **shape, eos_token_id=0, pad_token_id=1)
    assert model.config.image_seq_length == num_places(Export(eyes))
    with torch.no_grad():  # fresh weights say almost the same to any picture
        for parameter in model.parameters():
            parameter.mul_(4)
    model.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def url(folder: Path, serving: Any) -> Iterator[str]:
    found = digest(folder_content(folder, "export"))
    row = Served("visual", "1", found, "visual", True, 0).row()
    engines = {"visual": Answering(open_engine(folder, found, threads=1))}
    with serving(LocalBackend(Catalogue([row]), engines)) as address:
        yield f"{address}/v1"


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=url, api_key=KEY, max_retries=0, http_client=openai.DefaultHttpxClient(trust_env=False)
    ) as opened:
        yield opened


def message(text: str, *pngs: bytes) -> dict[str, Any]:
    uris = [f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in pngs]
    parts = [{"type": "image_url", "image_url": {"url": uri}} for uri in uris]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def plain(folder: Path, text: str, png: bytes) -> str:
    """What transformers' own processor and `generate` say."""
    import io

    from PIL import Image
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model: Any = LlavaForConditionalGeneration.from_pretrained(folder).eval()
    processor: Any = AutoProcessor.from_pretrained(folder)
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
    rendered = processor.apply_chat_template(asked, add_generation_prompt=True)
    image = Image.open(io.BytesIO(png)).convert("RGB")
    inputs = processor(text=rendered, images=image, return_tensors="pt", add_special_tokens=False)
    inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        found = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    said: str = processor.decode(found[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return said


def test_an_answer_is_that_of_plain_transformers(client, folder, pictures):
    for png in pictures:
        asked = {"model": "visual", "messages": [message("What is this?", png)], "max_tokens": 8, "temperature": 0}
        assert client.chat.completions.create(**asked).choices[0].message.content == plain(folder, "What is this?", png)


def test_the_picture_is_part_of_what_is_read(client, pictures):
    asked = {"model": "visual", "max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 5}
    found = [
        client.chat.completions.create(messages=[message("What is this?", *seen)], **asked)
        for seen in (pictures[:1], pictures[1:], [])
    ]
    likelihoods = [tuple(top.logprob for top in row.choices[0].logprobs.content[0].top_logprobs) for row in found]
    assert len(set(likelihoods)) == 3  # and each of 40 pixels has 25 patches and the token of the tower
    assert found[0].usage.prompt_tokens == found[1].usage.prompt_tokens == found[2].usage.prompt_tokens + 26


def test_it_passes_the_smoke_test(url):
    assert set(smoke_test(url, KEY, "visual", "What is this?", engine="visual")) == {"model", "said"}


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ([{"type": "image_url", "image_url": {"url": "http://example.com/a.png"}}], "data:image/png;base64"),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}], "cannot be read"),
        ([{"type": "input_audio", "input_audio": {}}], "neither text nor image_url"),
        ("what is <image> this?", "token that stands for a picture"),
    ],
)
def test_what_is_no_picture_is_refused(url, content, wrong):
    body = {"model": "visual", "messages": [{"role": "user", "content": content}]}
    with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {KEY}"}) as http:
        answer = http.post(f"{url}/chat/completions", json=body)
    assert answer.status_code == 400
    assert wrong in answer.json()["error"]["message"]


def test_a_prompt_alone_is_sent_to_the_chat(client):
    with pytest.raises(openai.BadRequestError, match="chat/completions"):
        client.completions.create(model="visual", prompt="What")
