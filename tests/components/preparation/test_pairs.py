"""Images with captions to samples: what is learnt of each picture."""

import json
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from drawings import draw

from components.artifacts import Corpus, SourceFiles
from components.curation.images import curate_images
from components.preparation.pairs import prepare_pairs
from components.recipe import ImagesConfig, ImageSet, PrepareConfig
from components.recipe.images import ONCE_MORE

QUIET = {"report": lambda row: None}


@pytest.fixture
def prepared(tmp_path):
    """A function: the training rows of drawings with a caption of their style, and the samples made of them."""

    def prepare(style_caption):
        for name in ("corpus", "samples"):
            (tmp_path / name).mkdir()
        chosen = ImageSet(source="filled", style="filled", caption="a {label}", style_caption=style_caption)
        source = SourceFiles("filled", draw(tmp_path / "drawn", "filled"), "CC0-1.0", "drawn here", "")
        curate_images(ImagesConfig(sets=(chosen,)), source, out=tmp_path / "corpus", scratch=tmp_path, **QUIET)
        config = PrepareConfig(vocab_size=320, context=24, processor="captions")
        prepare_pairs(config, Corpus(tmp_path / "corpus"), out=tmp_path / "samples", scratch=tmp_path, **QUIET)
        return pq.read_table(tmp_path / "corpus" / "train.parquet").to_pylist(), tmp_path / "samples"

    return prepare


def test_every_fourth_picture_is_learnt_once_more_by_its_style(prepared):
    from transformers import AutoTokenizer

    rows, samples = prepared("a {style} drawing")
    tokens, offsets = np.fromfile(samples / "tokens.bin", dtype=np.uint16), np.load(samples / "offsets.npy")
    tokenizer = AutoTokenizer.from_pretrained(samples / "processor")
    texts = [tokenizer.decode(tokens[a:b], skip_special_tokens=True) for a, b in pairwise(offsets)]
    again = rows[::ONCE_MORE]
    assert texts == [row["text"].lower() for row in rows] + ["a filled drawing"] * len(again)
    pixels = np.load(samples / "pixel_values.npy")
    assert (pixels[len(rows) :] == pixels[: len(rows) : ONCE_MORE]).all()


def test_without_such_a_caption_every_picture_is_learnt_once(prepared):
    rows, samples = prepared("")
    assert json.loads((samples / "samples.json").read_text())["num_documents"] == len(rows)
