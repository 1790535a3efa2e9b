"""A model that draws, joined to a CLIP; both with random weights."""

import pytest
from pipelines import random_clip
from transformers import CLIPModel

from components.artifacts import Corpus, Export, Samples
from components.bases.join import JoinConfig, join
from components.preparation.captions import prepare_captions
from components.recipe import PrepareConfig

QUIET = {"report": lambda row: None}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Samples of drawings, the export of a CLIP with random weights, and the model that is joined to it."""
    place = tmp_path_factory.mktemp("sd3")
    folders = {name: place / name for name in ("samples", "joined")}
    for folder in folders.values():
        folder.mkdir()
    folders["clip"] = random_clip(place / "clip", place)
    clip, corpus = CLIPModel.from_pretrained(folders["clip"]), Corpus(place / "corpus")
    shorter = PrepareConfig(vocab_size=320, context=16, processor="captions")
    prepare_captions(shorter, corpus, Export(folders["clip"]), out=folders["samples"], scratch=place, **QUIET)
    samples = Samples(folders["samples"])
    settings = JoinConfig(family="sd3", size="debug", parts=("clip",))
    join(settings, samples, Export(folders["clip"]), out=folders["joined"], scratch=place, **QUIET)
    return clip, samples, folders["joined"], folders["clip"], corpus
