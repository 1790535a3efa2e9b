"""/v1/completions of an encoder-decoder, over real HTTP by the OpenAI client, against plain transformers."""

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
    """An encoder-decoder with random weights."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("spans") / "model"
    kind = processor("sentinels")
    tokenizer = kind.train(TEXTS * 4, 420)
    kind.save(tokenizer, place, 48)
    ends = {"eos_token_id": tokenizer.token_to_id("</s>"), "pad_token_id": tokenizer.token_to_id("<pad>")}
    model: Any = family("t5").build("debug", vocab_size=tokenizer.get_vocab_size(), context=48, **ends)
    model.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def url(folder: Path, serving: Any) -> Iterator[str]:
    found = digest(folder_content(folder, "export"))
    row = Served("spans", "1", found, "spans", True, 0).row()
    with serving(
        LocalBackend(Catalogue([row]), {"spans": Answering(open_engine(folder, found, threads=1))})
    ) as address:
        yield f"{address}/v1"


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [("She was <extra_id_0> and <extra_id_1>.", "She was <extra_id_0> and <extra_id_1>."), ("She", "She<extra_id_0>")],
)
def test_answers_are_those_of_transformers(client: openai.OpenAI, folder: Path, prompt: str, asked: str) -> None:
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    model, tokenizer = T5ForConditionalGeneration.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(asked, return_tensors="pt")["input_ids"]
    expected = model.generate(ids, max_new_tokens=12, do_sample=False)[0, 1:].tolist()
    kept = [token for token in expected if token not in (tokenizer.eos_token_id, tokenizer.pad_token_id)]
    found = client.completions.create(model="spans", prompt=prompt, max_tokens=12, temperature=0, logprobs=1)
    assert found.choices[0].text == tokenizer.decode(kept)
    with torch.no_grad():
        logits = model(input_ids=ids, decoder_input_ids=torch.tensor([[model.config.decoder_start_token_id]])).logits
    logprobs = found.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    assert logprobs.token_logprobs[0] == pytest.approx(float(logits[0, -1].log_softmax(-1).max()), abs=1e-4)


def test_the_smoke_test_knows_it(url: str) -> None:
    assert "said" in smoke_test(url, KEY, "spans", "She was <extra_id_0>.", "seq2seq")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"prompt": "She", "echo": True}, "echo is not for it"),
        ({"prompt": "she " * 60}, "context holds 48"),
        ({"prompt": [9999]}, "Token id 9999 is outside"),
    ],
)
def test_what_cannot_be_filled_is_refused(client: openai.OpenAI, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        client.completions.create(model="spans", max_tokens=4, **asked)
