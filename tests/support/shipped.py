"""Samples of the shipped texts, for benchmarks."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.artifacts import Corpus, Samples
from components.preparation.prepare import prepare
from components.recipe import PrepareConfig

DATA = Path(__file__).parents[2] / "flows" / "recipes" / "data"


def shipped_corpus(folder: Path) -> Corpus:
    """Four paragraphs of Austen each as documents."""
    files = sorted(DATA.glob("austen/*.txt"))
    parts = [part for file in files for part in file.read_text().split("\n\n") if part.strip()]
    texts = ["\n\n".join(parts[start : start + 4]) for start in range(0, len(parts), 4)]
    column = [str(number) for number in range(len(texts))]
    rows = {"id": column, "source": ["austen"] * len(texts), "licence": ["public domain"] * len(texts), "text": texts}
    pq.write_table(pa.table(rows), folder / "train.parquet")
    return Corpus(folder)


def shipped_samples(folder: Path, config: PrepareConfig) -> Samples:
    """Windows over those documents, in a folder `texts` of `folder`."""
    (folder / "texts").mkdir()
    prepare(config, shipped_corpus(folder), out=folder / "texts", scratch=folder, report=lambda line: None)
    return Samples(folder / "texts")


def novels_and_plays(folder: Path, config: PrepareConfig) -> Samples:
    """Windows over the novels and the plays, divided at two empty lines, in a folder `samples` of `folder`."""
    files = [file for source in ("austen", "shakespeare") for file in sorted((DATA / source).rglob("*.txt"))]
    texts = [part for file in files for part in file.read_text().split("\n\n\n") if part.strip()]
    rows = {**dict.fromkeys(("id", "source", "licence"), ["x"] * len(texts)), "text": texts}
    pq.write_table(pa.table(rows), folder / "train.parquet")
    (folder / "samples").mkdir()
    prepare(config, Corpus(folder), out=folder / "samples", scratch=folder, report=lambda line: None)
    return Samples(folder / "samples")
