"""Documents to samples with labels: the label of a document is the name of its source."""

from pathlib import Path

import numpy as np

from components.artifacts import Corpus, Export, Facts, Report
from components.errors import EmptyResult
from components.preparation.adopted import adopt_encoder
from components.preparation.packing import Packing
from components.recipe import PrepareConfig

LABELS = "labels"


def prepare_labelled(
    config: PrepareConfig, corpus: Corpus, encoder: Export, *, out: Path, scratch: Path, report: Report
) -> Facts:
    """Fill `out` with samples of kind "labelled": the beginning of each document, and the number of its label.

    The tokenizer is that of `encoder`, a text that is longer than the context is cut. Raises EmptyResult where
    there is one label only, and RecipeError where `encoder` reads fewer tokens at once than the context.
    """
    import pyarrow.parquet as pq
    from transformers import AutoTokenizer

    rows = pq.read_table(corpus.documents("train"), columns=["id", "source", "licence", "text"]).to_pylist()
    labels = sorted({row["source"] for row in rows})
    if len(labels) < 2:
        raise EmptyResult(
            f"A label is the name of a source, and documents are left of {labels or 'none'}: two are needed."
        )
    vocab_size = adopt_encoder(encoder, out / "processor", config.context)
    tokenizer = AutoTokenizer.from_pretrained(out / "processor", local_files_only=True)
    packing = Packing(out, kind="labelled", vocab_size=vocab_size)
    for done, row in enumerate(rows, 1):
        ids = tokenizer(row.pop("text"), truncation=True, max_length=config.context, split_special_tokens=True)[
            "input_ids"
        ]
        packing.add(ids, **row)
        if done % 256 == 0 or done == len(rows):
            report({"done": done, "total": len(rows), "unit": "documents"})
    np.save(out / f"{LABELS}.npy", np.array([labels.index(row["source"]) for row in rows], dtype=np.int64))
    described = packing.close(
        context=config.context,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        labels=labels,
        arrays=[LABELS],
        beside=[f"{LABELS}.npy"],
    )
    counts = {name: described[name] for name in ("num_documents", "num_tokens", "vocab_size")}
    return {**counts, "labels": labels}
