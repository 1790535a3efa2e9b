"""Documents of several sources to samples with labels."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from components.artifacts import Corpus, Export, Samples
from components.errors import EmptyResult
from components.models import family
from components.preparation.labelled import prepare_labelled
from components.preparation.processors import processor
from components.recipe import PrepareConfig

QUIET = {"report": lambda row: None}
CONFIG = PrepareConfig(context=48)


@pytest.fixture
def encoder(tmp_path):
    """One that reads 16 tokens at once."""
    kind = processor("wordpiece")
    tokenizer = kind.train(["Buy now! It was a truth universally acknowledged."] * 4, 320)
    kind.save(tokenizer, tmp_path / "encoder", 16)
    torch.manual_seed(0)
    family("modernbert").build("debug", vocab_size=tokenizer.get_vocab_size(), context=16).save_pretrained(
        tmp_path / "encoder"
    )
    return Export(tmp_path / "encoder")


def prepared(tmp_path, encoder, *sources):
    rows = [
        {"id": f"{n}", "source": s, "licence": "CC0-1.0", "text": "Buy now! " * (n + 1)} for n, s in enumerate(sources)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    (tmp_path / "samples").mkdir()
    prepare_labelled(CONFIG, Corpus(tmp_path), encoder, out=tmp_path / "samples", scratch=tmp_path, **QUIET)
    return Samples(tmp_path / "samples")


def test_a_label_is_the_name_of_a_source_and_long_texts_are_cut(tmp_path, encoder):
    samples = prepared(tmp_path, encoder, *["spam", "ham"] * 12)
    assert samples.json("samples.json")["labels"] == ["ham", "spam"]
    assert np.load(samples.path / "labels.npy").tolist() == [1, 0] * 12
    lengths = np.diff(np.load(samples.path / "offsets.npy"))
    assert lengths.max() == 48
    assert lengths[0] < 10


def test_one_label_is_none(tmp_path, encoder):
    with pytest.raises(EmptyResult, match=r"documents are left of \['ham'\]: two are needed"):
        prepared(tmp_path, encoder, "ham", "ham")
