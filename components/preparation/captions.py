"""Pictures with captions to samples for drawing: in the words of a text tower that is there, and the pixels of an autoencoder."""

from pathlib import Path
from typing import Any

import numpy as np

from components.artifacts import Corpus, Export, Facts, Report
from components.errors import EmptyResult
from components.preparation.adopted import adopt_words
from components.preparation.packing import Packing
from components.preparation.pairs import PIXELS, opened
from components.recipe import PrepareConfig
from components.recipe.images import WORDLESS


def prepare_captions(
    config: PrepareConfig,
    corpus: Corpus,
    clip: Export,
    pipeline: Export | None = None,
    *,
    out: Path,
    scratch: Path,
    report: Report,
) -> Facts:
    """Fill `out` with samples of kind "pairs": tokens of captions by the tokenizer of `clip`, and pixels in [-1, 1].

    Every tenth picture is learnt once more without words, which guidance needs. A caption longer than the context is left out
    and counted in the facts. A `pipeline` brings tokenizers of its own for its readers. Raises EmptyResult where no caption
    is left, RecipeError where `clip` reads fewer tokens than the context.
    """
    import pyarrow.parquet as pq
    from transformers import AutoTokenizer

    rows = pq.read_table(corpus.documents("train")).to_pylist()
    adopt_words(clip, pipeline, out / "processor", config.context)
    tokenizer = AutoTokenizer.from_pretrained(out / "processor", local_files_only=True)
    encoded = [tokenizer(row["text"], split_special_tokens=True)["input_ids"] for row in rows]
    fitting = [(number, ids) for number, ids in enumerate(encoded) if len(ids) <= config.context]
    num_too_long = len(rows) - len(fitting)
    if not fitting:
        raise EmptyResult(f"None of {len(rows)} captions fits into the context of {config.context} tokens: raise it.")
    fitting += [(number, tokenizer("")["input_ids"]) for number in range(0, len(rows), WORDLESS)]
    packing = Packing(out, kind="pairs", vocab_size=len(tokenizer))
    for number, ids in fitting:
        row = rows[number]
        packing.add(ids, id=row["id"], source=row["source"], licence=row["licence"])
    pixels = np.stack([_numbers(row["image"]) for row in rows])
    np.save(out / f"{PIXELS}.npy", pixels[[number for number, _ in fitting]])
    report({"done": len(rows), "total": len(rows), "unit": "images"})
    described = packing.close(
        context=config.context,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        image_size=pixels.shape[-1],
        arrays=[PIXELS],
        beside=[f"{PIXELS}.npy"],
    )
    counts = {name: described[name] for name in ("num_documents", "num_tokens", "vocab_size")}
    return {**counts, "num_too_long": num_too_long}


def _numbers(png: bytes) -> Any:
    """A picture as an autoencoder reads it, fp16 (3, size, size) in [-1, 1]."""
    return (np.asarray(opened(png), dtype=np.float32) / 127.5 - 1).transpose(2, 0, 1).astype(np.float16)
