"""Export and corpus to report: scores with standard errors, beside baselines, and what people want to see."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.artifacts import Corpus, Export, Facts, Report, SourceFiles
from components.errors import EmptyResult
from components.recipe import EvaluateConfig

THREADS = 1
"""CPU threads: part of the arithmetic, so the same everywhere. One, because at these sizes two wait for each other."""


def evaluate(
    config: EvaluateConfig,
    export: Export,
    corpus: Corpus,
    *items: SourceFiles,
    out: Path,
    scratch: Path,
    report: Report,
) -> Facts:
    """Fill `out` with report.json and report.html. On one machine the same inputs give the same bytes.

    What is measured is the family's choice: see components.evaluation.measures. `items` are the sources of
    config.tasks. Raises EmptyResult where a split has no text, and StoreError where model and tokenizer do not fit
    together.
    """
    from components.evaluation.measures import measure
    from components.evaluation.measures.base import Clock, Given
    from components.models import family_of

    clock, how = Clock(), measure(family_of(export.path).evaluation)
    train = [text for text in _texts(corpus, "train") if text]
    held_out = [text for text in _texts(corpus, "held_out") if text][: config.held_out_documents]
    if not train or not held_out:
        raise EmptyResult(
            f"The corpus has {len(train)} training and {len(held_out)} held-out documents with text, and evaluation "
            "needs some of both: add documents or raise curate.held_out."
        )
    with exact_arithmetic(THREADS):
        content = how.measure(Given(config, export, corpus, train, held_out, items, scratch, report, clock))
    content["scores"] = {name: _rounded(score) for name, score in content["scores"].items()}
    (out / "report.json").write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    (out / "report.html").write_text(how.page(config, content), "utf-8")
    clock.lap("page")
    return {"documents": len(held_out), "seconds": clock.seconds}


@contextmanager
def exact_arithmetic(threads: int) -> Iterator[None]:
    """So many threads and only deterministic kernels while inside; the process is as before afterwards."""
    import torch

    threads_before, deterministic_before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(deterministic_before)


def _texts(corpus: Corpus, split: str) -> list[str]:
    import pyarrow.parquet as pq

    texts: list[str] = pq.read_table(corpus.documents(split), columns=["text"])["text"].to_pylist()
    return texts


def _rounded(score: Mapping[str, Any]) -> dict[str, Any]:
    """Floats with 9 significant digits: more than any standard error, and short to read."""
    return {key: float(f"{entry:.9g}") if isinstance(entry, float) else entry for key, entry in score.items()}
