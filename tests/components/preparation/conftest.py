from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.artifacts import Corpus
from components.preparation.prepare import prepare
from components.recipe import PrepareConfig

LICENCE_TEXT = Path(__file__).parents[3] / "LICENSE"
CONFIG = PrepareConfig(vocab_size=512, context=64)


def write_corpus(folder: Path, texts: list[str]) -> Corpus:
    folder.mkdir(parents=True, exist_ok=True)
    rows = {
        "id": [f"document-{i}" for i in range(len(texts))],
        "source": ["apache"] * len(texts),
        "licence": ["Apache-2.0"] * len(texts),
        "text": texts,
    }
    pq.write_table(pa.table(rows), folder / "train.parquet")
    return Corpus(folder)


@pytest.fixture(scope="session")
def texts():
    return [part for part in LICENCE_TEXT.read_text().split("\n\n") if part.strip()]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory, texts):
    return write_corpus(tmp_path_factory.mktemp("corpus"), texts)


@pytest.fixture
def run_prepare(tmp_path):
    def run(corpus, config=CONFIG, name="samples"):
        out = tmp_path / name
        out.mkdir()
        reports = []
        facts = prepare(config, corpus, out=out, scratch=tmp_path, report=reports.append)
        return out, facts, reports

    return run


@pytest.fixture
def make_corpus():
    return write_corpus
