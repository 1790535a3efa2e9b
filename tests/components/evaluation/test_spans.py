"""The loss on hidden spans, against transformers' own loss."""

import json

import pytest
import torch

from components.artifacts import Export
from components.evaluation.measures.span_corruption import _hide
from components.models import family
from components.preparation.processors import processor
from components.recipe import EvaluateConfig


@pytest.fixture
def filler(texts, tmp_path):
    """An encoder-decoder with random weights."""
    kind, folder = processor("sentinels"), tmp_path / "filler"
    tokenizer = kind.train(texts[0], 500)
    kind.save(tokenizer, folder, 64)
    torch.manual_seed(0)
    ends = {"eos_token_id": tokenizer.token_to_id("</s>"), "pad_token_id": tokenizer.token_to_id("<pad>")}
    family("t5").build("debug", vocab_size=tokenizer.get_vocab_size(), context=64, **ends).save_pretrained(folder)
    return Export(folder)


def test_the_loss_is_that_of_transformers_on_the_hidden_tokens(run_evaluate, filler, texts):
    import numpy as np
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    config = EvaluateConfig(prompts=("She was <extra_id_0>.", "It was"), seed=3, sample_tokens=6)
    out, _, _ = run_evaluate(config, export=filler)
    content = json.loads((out / "report.json").read_text())
    model, tokenizer = (
        T5ForConditionalGeneration.from_pretrained(filler.path),
        AutoTokenizer.from_pretrained(filler.path),
    )
    total = count = number = 0
    for text in filter(None, texts[1]):
        ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"])
        for start in range(0, len(ids), 64):
            if len(ids[start : start + 64]) <= 6:
                continue
            window = _hide(ids[start : start + 64], tokenizer, np.random.default_rng([3, number]))
            labels = torch.full((1, len(window.written)), -100)
            labels[0, window.hidden] = torch.from_numpy(window.written[window.hidden])
            # the labels decide what transformers' decoder reads too, so those that do not count are put back there
            before = torch.from_numpy(np.concatenate([[model.config.decoder_start_token_id], window.written[:-1]]))
            with torch.no_grad():
                loss = model(
                    input_ids=torch.from_numpy(window.read)[None], decoder_input_ids=before[None], labels=labels
                ).loss
            total, count, number = total + float(loss) * len(window.hidden), count + len(window.hidden), number + 1
    assert (content["hidden"], content["windows"]) == (count, number)
    assert content["scores"]["span_loss"]["value"] == pytest.approx(total / count, rel=1e-5)
    margin = content["scores"]["unigram_loss"]["value"] - content["scores"]["span_loss"]["value"]
    assert content["scores"]["unigram_margin"]["value"] == pytest.approx(margin)
    assert [text["prompt"] for text in content["texts"]] == ["She was <extra_id_0>.", "It was<extra_id_0>"]
    assert "It was&lt;extra_id_0&gt;" in (out / "report.html").read_text()
