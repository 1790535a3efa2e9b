"""Passages with questions to samples of kind "answers": what is read, and where the answer begins and ends in it."""

from pathlib import Path

import numpy as np

from components.artifacts import Corpus, Export, Facts, Report
from components.errors import EmptyResult
from components.passages import Answer, Window, of_text, windows
from components.preparation.adopted import adopt_encoder
from components.preparation.packing import Packing
from components.recipe import PrepareConfig

ANSWERS = "answers"
"""The array of the places of the first and the last token of each answer."""


def prepare_answers(
    config: PrepareConfig, corpus: Corpus, encoder: Export, *, out: Path, scratch: Path, report: Report
) -> Facts:
    """Fill `out` with samples of kind "answers": a question with the part of its passage that holds the first of its answers.

    Documents are as components.passages has them, the tokenizer is that of `encoder`. Raises EmptyResult where no document
    has a question with its answer, and RecipeError where `encoder` reads fewer tokens at once than the context.
    """
    import pyarrow.parquet as pq
    from transformers import AutoTokenizer

    rows = pq.read_table(corpus.documents("train"), columns=["id", "source", "licence", "text"]).to_pylist()
    vocab_size = adopt_encoder(encoder, out / "processor", config.context)
    tokenizer = AutoTokenizer.from_pretrained(out / "processor", local_files_only=True)
    packing, places, asked = Packing(out, kind=ANSWERS, vocab_size=vocab_size), list[tuple[int, int]](), 0
    for done, row in enumerate(rows, 1):
        passage, questions = of_text(row.pop("text"))
        for each in questions:
            asked += 1
            read = list(windows(tokenizer, each.question, passage, config.context))
            if found := holding(read, each.answers[0]):
                packing.add(found[0].ids, **row)
                places.append(found[1])
        if done % 64 == 0 or done == len(rows):
            report({"done": done, "total": len(rows), "unit": "passages"})
    if not places:
        raise EmptyResult(
            f"None of the {len(rows)} documents is a passage with a question and its answer (docs/recipes.md)."
        )
    np.save(out / f"{ANSWERS}.npy", np.array(places, dtype=np.int64))
    described = packing.close(
        context=config.context,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        arrays=[ANSWERS],
        beside=[f"{ANSWERS}.npy"],
    )
    return {name: described[name] for name in ("num_documents", "num_tokens", "vocab_size")} | {"questions": asked}


def holding(read: list[Window], answer: Answer) -> tuple[Window, tuple[int, int]] | None:
    """The first window with the whole of `answer`, and where it is there."""
    return next(((window, places) for window in read if (places := window.places(answer))), None)
