"""The accuracy on hidden tokens, against a computation of its own."""

import json

import numpy as np
import pytest
import torch

from components.artifacts import Export
from components.models import family
from components.preparation.processors import processor
from components.recipe import EvaluateConfig


@pytest.fixture
def encoder(texts, tmp_path):
    """An encoder that learnt for a moment, so that it is right now and then."""
    kind, folder = processor("wordpiece"), tmp_path / "encoder"
    tokenizer = kind.train(texts[0], 400)
    kind.save(tokenizer, folder, 64)
    torch.manual_seed(0)
    model = family("bert").build("debug", vocab_size=tokenizer.get_vocab_size(), context=64)
    with torch.no_grad():
        model.cls.predictions.bias[tokenizer.token_to_id(",")] += 9.0  # it says a comma, whatever it reads
    model.save_pretrained(folder)
    return Export(folder)


def test_a_model_that_always_says_a_comma_is_as_right_as_commas_are_frequent(run_evaluate, encoder, texts):
    from transformers import AutoTokenizer

    config = EvaluateConfig(prompts=("She was [MASK] .", "It was"), seed=3)
    out, _, _ = run_evaluate(config, export=encoder)
    content = json.loads((out / "report.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(encoder.path)
    stream = [i for text in texts[1] if text for i in tokenizer(text, split_special_tokens=True)["input_ids"]]
    comma, hidden, right = tokenizer.convert_tokens_to_ids(","), 0, 0
    for number, start in enumerate(range(0, len(stream), 64)):
        window = np.array(stream[start : start + 64])
        places = np.flatnonzero(~np.isin(window, tokenizer.all_special_ids))
        count = max(1, round(0.15 * len(places)))
        chosen = np.random.default_rng([3, number]).choice(places, count, replace=False)
        hidden, right = hidden + count, right + int((window[chosen] == comma).sum())
    assert (content["hidden"], content["tokens"]) == (hidden, len(stream))
    scores = content["scores"]
    assert scores["masked_accuracy"]["value"] == pytest.approx(right / hidden)
    counts = np.bincount([i for t in texts[0] for i in tokenizer(t, add_special_tokens=False)["input_ids"]])
    assert content["guess"] == tokenizer.decode([int(counts.argmax())])
    assert scores["times_unigram_accuracy"]["value"] == pytest.approx(
        scores["masked_accuracy"]["value"] / scores["unigram_accuracy"]["value"]
    )
    assert [entry["fills"][0]["text"] for entry in content["texts"]] == [",", ","]
    assert "It was [MASK] ." in (out / "report.html").read_text()
