"""/v1/embeddings over real HTTP, by the OpenAI client, against plain transformers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch

from components.digests import digest, folder_content
from components.models import family
from components.preparation.processors import processor
from components.serving.answering import Answering, LocalBackend
from components.serving.catalogue import Catalogue, Served
from components.serving.engines import open_engine
from components.serving.smoke import smoke_test

KEY = "sk-test"
TEXTS = ["It was a truth universally acknowledged.", "She was.", "Emma Woodhouse, handsome, clever and rich"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with random weights."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("encoder") / "model"
    kind = processor("wordpiece")
    tokenizer = kind.train(TEXTS * 4, 320)
    kind.save(tokenizer, place, 32)
    model: Any = family("bert").build("debug", vocab_size=tokenizer.get_vocab_size(), context=32)
    model.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def url(folder: Path, export: tuple[Path, str], serving: Any) -> Iterator[str]:
    places = {"encoder": (folder, digest(folder_content(folder, "export"))), "decoder": export}
    rows = [Served(name, "1", found[1], name, True, 0).row() for name, found in places.items()]
    engines = {name: Answering(open_engine(*found, threads=1)) for name, found in places.items()}
    with serving(LocalBackend(Catalogue(rows), engines)) as address:
        yield f"{address}/v1"


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        yield client


def test_vectors_are_the_mean_states_of_transformers_whatever_is_beside_them(
    client: openai.OpenAI, folder: Path
) -> None:
    from transformers import AutoTokenizer, BertModel

    model, tokenizer = BertModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    whole = client.embeddings.create(model="encoder", input=TEXTS)  # the client asks for base64
    plain = client.embeddings.create(model="encoder", input=TEXTS, encoding_format="float")
    assert whole.usage.prompt_tokens == sum(len(tokenizer(text)["input_ids"]) for text in TEXTS)
    for text, packed, row in zip(TEXTS, whole.data, plain.data, strict=True):
        with torch.no_grad():
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        expected = (mean / mean.norm()).tolist()
        assert packed.embedding == pytest.approx(expected, abs=1e-5)
        assert row.embedding == pytest.approx(expected, abs=1e-5)
    ids = tokenizer(TEXTS[0])["input_ids"]
    assert client.embeddings.create(model="encoder", input=ids).data[0].embedding == pytest.approx(
        whole.data[0].embedding, abs=1e-5
    )


def test_the_smoke_test_knows_an_encoder(url: str) -> None:
    assert smoke_test(url, KEY, "encoder", "She was", "encoder")["width"] == 32


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"model": "encoder", "input": ""}, "an empty text has no embedding"),
        ({"model": "encoder", "input": ["She", ""]}, "an empty text has no embedding"),
        ({"model": "encoder", "input": [9999]}, "Token id 9999 is outside"),
        ({"model": "encoder", "input": "she " * 40}, "context holds 32"),
        ({"model": "encoder", "input": "She", "dimensions": 8}, "dimensions"),
        ({"model": "decoder", "input": "She"}, "answers /v1/completions and /v1/chat/completions, not /v1/embeddings"),
    ],
)
def test_what_cannot_be_embedded_is_refused(client: openai.OpenAI, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        client.embeddings.create(**asked)


def test_an_encoder_does_not_complete(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="answers /v1/embeddings, not /v1/completions"):
        client.completions.create(model="encoder", prompt="She was")
