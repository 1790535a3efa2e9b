"""A CLIP that transformers saved is taken whole, and tells a model what to draw like one that was made here."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from components.artifacts import Export, Samples, SourceFiles
from components.bases.join import JoinConfig, join
from components.bases.take import TakeConfig, take
from components.diffusion.model import TextToImage
from components.errors import SourceError
from components.models import family_of
from components.preparation.captions import prepare_captions
from components.recipe import PrepareConfig

QUIET = {"report": lambda row: None}


@pytest.fixture
def saved(made, tmp_path):
    folder = tmp_path / "saved"
    for part in (CLIPModel, AutoTokenizer, AutoImageProcessor):
        part.from_pretrained(made[3]).save_pretrained(folder)
    return folder


def taken(folder, place):
    (place / "taken").mkdir()
    source = SourceFiles("clip", folder, "MIT", "made here", "")
    return take(TakeConfig(), source, out=place / "taken", scratch=place, **QUIET), place / "taken"


def test_it_is_taken_whole_and_tells_a_model_what_to_draw(made, saved, tmp_path):
    facts, out = taken(saved, tmp_path)
    assert family_of(out).name == "clip"
    theirs, ours = (CLIPModel.from_pretrained(place).state_dict() for place in (saved, out))
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(weight, ours[name]) for name, weight in theirs.items())
    assert (facts["vocab_size"], facts["context"]) == (len(AutoTokenizer.from_pretrained(saved)), 24)
    folders = [tmp_path / name for name in ("samples", "joined")]
    for folder in folders:
        folder.mkdir()
    config = PrepareConfig(vocab_size=320, context=16, processor="captions")
    prepare_captions(config, made[4], Export(out), out=folders[0], scratch=tmp_path, **QUIET)
    settings = JoinConfig(family="sd3", size="debug", parts=("clip",))
    join(settings, Samples(folders[0]), Export(out), out=folders[1], scratch=tmp_path, **QUIET)
    reads = TextToImage.from_pretrained(folders[1]).text_encoder.text_projection.weight
    assert torch.equal(reads, ours["text_projection.weight"])


def lose_a_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["logit_scale"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return "missing weights, logit_scale"


def lose_what_reads_images(folder):
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").unlink(missing_ok=True)
    return "cannot be loaded"


def fill_with_nothing(folder):
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "pad_token": None}))
    return "lacks a token that ends a text or one that fills it"


def pickle_it(folder):
    shutil.move(folder / "model.safetensors", folder / "pytorch_model.bin")
    return "only safetensors are taken"


@pytest.mark.parametrize("spoil", [lose_a_weight, lose_what_reads_images, fill_with_nothing, pickle_it])
def test_what_cannot_be_taken_is_refused_in_one_line(saved, tmp_path, spoil):
    says = spoil(saved)
    with pytest.raises(SourceError, match=says) as refused:
        taken(saved, tmp_path)
    assert len(str(refused.value).splitlines()) == 1
