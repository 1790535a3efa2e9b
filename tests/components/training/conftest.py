import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.artifacts import Corpus, Samples, SourceFiles
from components.preparation.chats import prepare_chats
from components.preparation.preferences import prepare_preferences
from components.preparation.prepare import prepare
from components.recipe import PrepareConfig, TrainPhase
from components.training.config import TrainConfig
from components.training.train import train

LICENCE_TEXT = Path(__file__).parents[3] / "LICENSE"
PREPARE = PrepareConfig(vocab_size=512, context=64)


def _configure(**phase):
    defaults = {"name": "pretrain", "tokens": 40_000, "batch_size": 8, "num_workers": 0, "checkpoint_seconds": 0.2}
    if "epochs" in phase:
        del defaults["tokens"]
    return TrainConfig(family="llama", size="debug", phase=TrainPhase(**{**defaults, **phase}))


@pytest.fixture(scope="session")
def configure():
    """A function that makes the configuration of a debug-sized phase, with the given fields changed."""
    return _configure


@pytest.fixture(scope="session")
def prepare_config():
    return PREPARE


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    texts = [part for part in LICENCE_TEXT.read_text().split("\n\n") if part.strip()]
    column = [str(i) for i in range(len(texts))]
    rows = pa.table({"id": column, "source": ["apache"] * len(texts), "licence": ["Apache-2.0"] * len(texts)})
    pq.write_table(rows.append_column("text", [texts]), folder / "train.parquet")
    out = folder / "samples"
    out.mkdir()
    prepare(PREPARE, Corpus(folder), out=out, scratch=folder, report=lambda r: None)
    return Samples(out)


@pytest.fixture(scope="session")
def chats(tmp_path_factory, samples):
    folder = tmp_path_factory.mktemp("chats")
    lines = [{"prompt": f"Say {n} words", "completion": "work " * n + "."} for n in range(1, 14)]
    file = folder / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    out = folder / "samples"
    out.mkdir()
    source = SourceFiles("pairs", file, "CC0-1.0", "written here", "0" * 64)
    prepare_chats(PREPARE, samples, source, out=out, scratch=folder, report=lambda r: None)
    return Samples(out)


@pytest.fixture(scope="session")
def preference_lines():
    return [
        {"prompt": f"Say {n} words", "chosen": "work " * n + ".", "rejected": "no " * (n + n % 3)} for n in range(1, 12)
    ]


@pytest.fixture(scope="session")
def preferences(tmp_path_factory, samples, preference_lines):
    folder = tmp_path_factory.mktemp("preferences")
    file = folder / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in preference_lines))
    out = folder / "samples"
    out.mkdir()
    source = SourceFiles("pairs", file, "CC0-1.0", "written here", "0" * 64)
    prepare_preferences(PREPARE, samples, source, out=out, scratch=folder, report=lambda r: None)
    return Samples(out)


@pytest.fixture
def run_train(tmp_path):
    """Train and return (out, facts, reports); `name` chooses the scratch folder, which lives on between calls."""
    runs = []

    def run(config, samples, init=None, name="run"):
        out, scratch = tmp_path / f"out-{len(runs)}", tmp_path / name
        out.mkdir()
        scratch.mkdir(exist_ok=True)
        runs.append(out)
        reports = []
        facts = train(config, samples, init, out=out, scratch=scratch, report=reports.append)
        return out, facts, reports

    return run
