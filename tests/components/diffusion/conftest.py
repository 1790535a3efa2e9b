"""A model that draws, joined to a CLIP; both with random weights."""

import pytest
import torch
from drawings import draw as draw_pictures

from components.artifacts import Corpus, Export, Samples, SourceFiles
from components.bases.join import JoinConfig, join
from components.curation.images import curate_images
from components.models import family
from components.models.folder import save
from components.preparation.captions import prepare_captions
from components.preparation.pairs import prepare_pairs
from components.recipe import ImagesConfig, ImageSet, PrepareConfig

QUIET = {"report": lambda row: None}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Samples of drawings, the export of a CLIP with random weights, and the model that is joined to it."""
    place = tmp_path_factory.mktemp("sd3")
    folders = {name: place / name for name in ("corpus", "pairs", "clip", "samples", "joined")}
    for folder in folders.values():
        folder.mkdir()
    chosen = ImageSet(source="filled", style="filled", caption="a {label}")
    source = SourceFiles("filled", draw_pictures(place / "drawn", "filled"), "CC0-1.0", "drawn here", "")
    curate_images(ImagesConfig(sets=(chosen,)), source, out=folders["corpus"], scratch=place, **QUIET)
    config = PrepareConfig(vocab_size=320, context=24, processor="captions")
    corpus = Corpus(folders["corpus"])
    prepare_pairs(config, corpus, out=folders["pairs"], scratch=place, **QUIET)
    torch.manual_seed(0)
    pairs = Samples(folders["pairs"])
    clip = family("clip").build("debug", **family("clip").described(pairs.json("samples.json")))
    save(clip, pairs.processor, folders["clip"])
    shorter = config.model_copy(update={"context": 16})
    prepare_captions(shorter, corpus, Export(folders["clip"]), out=folders["samples"], scratch=place, **QUIET)
    samples = Samples(folders["samples"])
    settings = JoinConfig(family="sd3", size="debug", parts=("clip",))
    join(settings, samples, Export(folders["clip"]), out=folders["joined"], scratch=place, **QUIET)
    return clip, samples, folders["joined"], folders["clip"], corpus
