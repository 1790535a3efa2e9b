"""Encoders made elsewhere: taken without their heads, and the start of what marks answers or tells labels."""

import json

import pytest
import torch
from transformers import AutoModel, BertConfig, BertForMaskedLM, BertModel

from components.artifacts import Export, Samples, SourceFiles
from components.bases.join import JoinConfig, join
from components.bases.take import TakeConfig, take
from components.errors import SourceError
from components.models import family, family_of
from components.preparation.processors import processor

IDS = torch.tensor([[2, 9, 20, 31, 3]])
BERT = family("bert").fields("debug", vocab_size=320, max_position_embeddings=64)


@pytest.fixture
def folder(tmp_path):
    """A tokenizer, to which a test adds a model."""
    kind = processor("wordpiece")
    kind.save(kind.train(["It was a truth universally acknowledged."] * 4, 320), tmp_path / "model", 64)
    torch.manual_seed(0)
    return tmp_path / "model"


def config(**changed):
    return BertConfig(**{**BERT, **changed})


def taken(folder, tmp_path):
    out = tmp_path / "taken"
    out.mkdir()
    source = SourceFiles("small", folder, "CC0-1.0", "made here", "0" * 64)
    take(TakeConfig(), source, out=out, scratch=tmp_path, report=lambda row: None)
    return out


def with_head(family_name, out, tmp_path, **described):
    """The model of `family_name` that the encoder in `out` becomes."""
    samples = tmp_path / "samples"
    (samples / "processor").mkdir(parents=True)
    described = {"context": 16, "vocab_size": 320, "pad_token_id": 0, "eos_token_id": 3, **described}
    (samples / "samples.json").write_text(json.dumps(described))
    made = tmp_path / family_name
    made.mkdir()
    wanted = JoinConfig(family=family_name, size="bert-debug", parts=("encoder",))
    join(wanted, Samples(samples), Export(out), out=made, scratch=tmp_path, report=lambda row: None)
    return made


@pytest.mark.parametrize("kind", ["with a pooler", "without one", "with a head"])
def test_an_encoder_is_taken_without_its_head_and_gets_another(folder, tmp_path, kind):
    made = {
        "with a pooler": lambda: BertModel(config()),
        "without one": lambda: BertModel(config(), add_pooling_layer=False),
        "with a head": lambda: BertForMaskedLM(config()),
    }[kind]()
    made.save_pretrained(folder)
    out = taken(folder, tmp_path)
    assert family_of(out).name == "bert"
    body = made.eval().bert if kind == "with a head" else made.eval()
    expected = body(IDS).last_hidden_state
    assert torch.equal(AutoModel.from_pretrained(out).eval()(IDS).last_hidden_state, expected)
    for name, more in {"reader": {}, "classifier": {"labels": ["a", "b", "c"]}}.items():
        where = tmp_path / f"for-{name}"
        where.mkdir()
        joined = with_head(name, out, where, **more)
        found, loaded = AutoModel.from_pretrained(joined, output_loading_info=True)
        assert torch.allclose(found.eval()(IDS).last_hidden_state, expected, atol=1e-6)
        assert all(key.startswith("pooler.") for key in loaded["missing_keys"])
        assert family_of(joined).name == name


def test_an_encoder_of_another_shape_does_not_fit(folder, tmp_path):
    BertModel(config(intermediate_size=48)).save_pretrained(folder)
    with pytest.raises(SourceError, match=r"The part 'encoder' does not fit: its .* has the shape \(48,\)"):
        with_head("reader", taken(folder, tmp_path), tmp_path)


def test_weights_that_are_missing_or_no_numbers_are_refused(folder, tmp_path):
    model = BertModel(config())
    model.save_pretrained(folder)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "num_hidden_layers": 3}))
    with pytest.raises(SourceError, match=r"missing weights, encoder\.layer\.2"):
        taken(folder, tmp_path)
    with torch.no_grad():
        model.pooler.dense.bias[0] = float("inf")
    model.save_pretrained(folder)
    (tmp_path / "taken").rmdir()
    with pytest.raises(SourceError, match=r"pooler\.dense\.bias holds values that are not finite"):
        taken(folder, tmp_path)


def test_a_tokenizer_that_separates_nothing_is_refused(folder, tmp_path):
    BertModel(config()).save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "sep_token": None, "eos_token": None}))
    with pytest.raises(SourceError, match="lacks a token that separates"):
        taken(folder, tmp_path)
