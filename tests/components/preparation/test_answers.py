"""Passages with questions to samples: what is read, where the answer is marked, and what is refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from components.artifacts import Corpus, Export, Samples
from components.errors import EmptyResult, RecipeError
from components.models import family
from components.passages import Answer, Asked, as_text
from components.preparation.answers import prepare_answers
from components.preparation.processors import processor
from components.recipe import PrepareConfig

TEXT = "It was a truth universally acknowledged that Emma lived at Hartfield with her father"


@pytest.fixture
def encoder(tmp_path):
    """A BERT that reads 32 tokens at once."""
    kind = processor("wordpiece")
    tokenizer = kind.train([TEXT] * 4, 320)
    kind.save(tokenizer, tmp_path / "encoder", 32)
    family("bert").build("debug", vocab_size=tokenizer.get_vocab_size(), context=32).save_pretrained(
        tmp_path / "encoder"
    )
    return Export(tmp_path / "encoder")


def prepared(tmp_path, encoder, texts, context=24):
    rows = [{"id": f"{n}", "source": "s", "licence": "CC0-1.0", "text": text} for n, text in enumerate(texts)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    out = tmp_path / "samples"
    out.mkdir()
    config = PrepareConfig(context=context)
    facts = prepare_answers(config, Corpus(tmp_path), encoder, out=out, scratch=tmp_path, report=lambda row: None)
    return Samples(out), facts


def test_an_answer_is_marked_wherever_it_stands(tmp_path, encoder):
    """Early and late in a passage that is longer than the context."""
    passage = " ".join([TEXT] * 4)
    late = passage.rindex("Hartfield")
    asked = [Asked("Where?", (Answer(late, "Hartfield"),)), Asked("What was it?", (Answer(7, "a truth"),))]
    samples, facts = prepared(tmp_path, encoder, [as_text(passage, asked), "A letter without any question."])
    assert (facts["questions"], facts["num_documents"]) == (2, 2)
    tokens = np.fromfile(samples.path / "tokens.bin", dtype=samples.json("samples.json")["dtype"])
    offsets, places = np.load(samples.path / "offsets.npy"), np.load(samples.path / "answers.npy")
    tokenizer = AutoTokenizer.from_pretrained(samples.processor)
    for n, answer in enumerate(("hartfield", "a truth")):
        ids = tokens[offsets[n] : offsets[n + 1]].tolist()
        assert len(ids) <= 24
        assert tokenizer.decode(ids[places[n, 0] : places[n, 1] + 1]) == answer


def test_documents_without_questions_are_refused(tmp_path, encoder):
    with pytest.raises(EmptyResult, match="None of the 1 documents is a passage with a question"):
        prepared(tmp_path, encoder, ["Only a passage."])


def test_more_than_the_encoder_has_places_for_is_refused(tmp_path, encoder):
    with pytest.raises(RecipeError, match="more than the base reads at once, 32 tokens"):
        prepared(tmp_path, encoder, ["Only a passage."], context=64)
