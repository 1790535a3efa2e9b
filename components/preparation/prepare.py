"""Corpus to samples: train the tokenizer on the training documents or take the base's, encode them, pack them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.artifacts import Corpus, Export, Facts, Report
from components.errors import EmptyResult
from components.preparation.adopted import adopt_processor
from components.preparation.packing import Packing
from components.preparation.processor import save_processor, train_tokenizer
from components.preparation.speech import Speech
from components.recipe import PrepareConfig

DOCUMENTS_AT_ONCE = 256


def prepare(
    config: PrepareConfig, corpus: Corpus, base: Export | None = None, *, out: Path, scratch: Path, report: Report
) -> Facts:
    """Fill `out` with samples of kind "tokens" and the processor they were made with: that of `base`, or a new one.

    A corpus too small for `vocab_size` gives a smaller vocabulary, as samples.json says. Raises EmptyResult where the
    corpus does not fill one sample of `context` tokens, RecipeError where `base` reads fewer tokens than that.
    """
    if base:
        vocab_size = adopt_processor(base, out / "processor", config.context)
    else:
        tokenizer = train_tokenizer((row["text"] for row in _documents(corpus, ["text"])), config.vocab_size)
        save_processor(tokenizer, out / "processor", config.context)
        vocab_size = tokenizer.get_vocab_size()
    speech = Speech(out / "processor")
    packing = Packing(out, kind="tokens", vocab_size=vocab_size)
    num_bytes, total = 0, _num_documents(corpus)
    for rows in _batches(corpus, ["id", "source", "licence", "text"]):
        texts = [row.pop("text") for row in rows]
        num_bytes += sum(len(text.encode()) for text in texts)
        for row, encoding in zip(rows, speech.tokenizer.encode_batch_fast(texts), strict=True):
            packing.add([*encoding.ids, speech.end], **row)
        report({"done": len(packing.offsets) - 1, "total": total, "unit": "documents"})
    samples = packing.close(
        context=config.context, eos_token_id=speech.end, pad_token_id=speech.pad, num_bytes=num_bytes
    )
    if samples["num_tokens"] <= config.context:
        raise EmptyResult(
            f"The corpus has {samples['num_tokens']} tokens, which is not one sample of {config.context}: "
            "add documents, loosen [curate] or lower prepare.context."
        )
    return {
        "num_documents": samples["num_documents"],
        "num_tokens": samples["num_tokens"],
        "vocab_size": samples["vocab_size"],
        "bytes_per_token": num_bytes / samples["num_tokens"],
    }


def _num_documents(corpus: Corpus) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(corpus.documents("train")).num_rows)


def _batches(corpus: Corpus, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(corpus.documents("train")) as file:
        for batch in file.iter_batches(DOCUMENTS_AT_ONCE, columns=columns):
            yield batch.to_pylist()


def _documents(corpus: Corpus, columns: list[str]) -> Iterator[dict[str, Any]]:
    for rows in _batches(corpus, columns):
        yield from rows
