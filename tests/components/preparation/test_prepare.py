"""Preparation: text comes back from tokens, the packing leads back to documents, and nothing depends on chance."""

import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from components.artifacts import Samples
from components.digests import folder_content
from components.errors import EmptyResult
from components.preparation.processor import train_tokenizer
from components.recipe import PrepareConfig

AGAIN = """
import sys
from pathlib import Path
from components.artifacts import Corpus
from components.preparation.prepare import prepare
from components.recipe import PrepareConfig
corpus, out = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir()
prepare(PrepareConfig(vocab_size=512, context=64), Corpus(corpus), out=out, scratch=out, report=lambda r: None)
print([name for name in ("torch", "transformers") if name in sys.modules])
"""


def test_samples_describe_the_corpus(corpus, run_prepare, texts):
    out, facts, reports = run_prepare(corpus)
    samples = Samples(out)
    described = samples.json("samples.json")
    tokens = np.memmap(out / "tokens.bin", dtype=described["dtype"])
    offsets = np.load(out / "offsets.npy")
    tokenizer = AutoTokenizer.from_pretrained(samples.processor)
    assert len(tokens) == described["num_tokens"] == facts["num_tokens"] == offsets[-1]
    assert described["num_documents"] == len(texts) == len(offsets) - 1
    assert described["vocab_size"] == len(tokenizer) == 512
    for i, text in enumerate(texts):
        *ids, end = tokens[offsets[i] : offsets[i + 1]].tolist()
        assert end == described["eos_token_id"] == tokenizer.eos_token_id
        assert tokenizer.decode(ids) == text
    assert pq.read_table(out / "documents.parquet").column("id").to_pylist()[1] == "document-1"
    assert facts["bytes_per_token"] > 1.5
    assert reports[-1]["done"] == reports[-1]["total"] == len(texts)


def test_another_process_gives_the_same_digest_without_torch(corpus, run_prepare, tmp_path):
    out, _, _ = run_prepare(corpus)
    run = subprocess.run(
        [sys.executable, "-c", AGAIN, corpus.path, tmp_path / "again"], capture_output=True, text=True, check=True
    )
    assert folder_content(out, "samples") == folder_content(tmp_path / "again", "samples")
    assert run.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def round_trip(tmp_path_factory, texts):
    from components.preparation.processor import save_processor

    folder = tmp_path_factory.mktemp("processor") / "processor"
    save_processor(train_tokenizer(texts, 512), folder, 64)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return lambda text: tokenizer.decode(tokenizer.encode(text))


@given(st.text())
def test_every_text_comes_back(round_trip, text):
    assert round_trip(text) == text


@pytest.mark.parametrize("text", ["", " a  b \n\n c , d 's .", "Zoë 𝄞 \x00 \u200b", "<|end|>literal", "[CLS] ##ab ▁x"])
def test_awkward_texts_come_back(round_trip, text):
    assert round_trip(text) == text


def test_end_token_in_a_document_stays_text(make_corpus, run_prepare, tmp_path, texts):
    forged = [*texts, "before <|end|> after"]
    out, _, _ = run_prepare(make_corpus(tmp_path / "forged", forged))
    tokens = np.fromfile(out / "tokens.bin", dtype=np.uint16)
    assert (tokens == 0).sum() == len(forged)


def test_corpus_shorter_than_a_sample_is_refused(make_corpus, run_prepare, tmp_path):
    with pytest.raises(EmptyResult, match="not one sample of 4096"):
        run_prepare(make_corpus(tmp_path / "short", ["Too short."]), PrepareConfig(vocab_size=300, context=4096))
