"""The stage: sources to a corpus.

read, extract, mask, cut    ->  documents
language, filters           ->  those worth learning from
exact, near duplicates      ->  one of each
split                       ->  train.parquet, held_out.parquet, and dropped.parquet with a reason for each
"""

import time
from pathlib import Path
from typing import Any

from components.artifacts import Facts, Report, SourceFiles
from components.curation import filters, privacy, reading
from components.curation.splits import held_out
from components.curation.summary import summarise
from components.errors import EmptyResult, SourceError
from components.recipe import CurateConfig


def curate(config: CurateConfig, *sources: SourceFiles, out: Path, scratch: Path, report: Report) -> Facts:
    """Fill `out` with a Corpus. Raises SourceError or UnknownName before any work, EmptyResult when nothing is left."""
    filters.filters(config.filters)
    privacy.known(config.mask)
    files, ignored = _checked(sources)
    started = time.monotonic()
    from components.curation.documents import documents

    found = documents(config, files, report)
    worked = time.monotonic()
    _drop_duplicates(config, found)
    report({"done": len(found), "total": len(found), "unit": "documents compared"})
    summary = summarise(config, sources, found)
    kept = [document for document in found if document["rule"] is None]
    if not kept:
        counts = ", ".join(f"{rule} {n}" for stage in summary["stages"] for rule, n in stage["dropped"].items())
        raise EmptyResult(f"No document is left of {len(found)}. Dropped by {counts or 'nothing: there was no text'}.")
    for document, is_held_out in zip(
        kept, held_out([d["cluster"] for d in kept], config.held_out, config.seed), strict=True
    ):
        document["split"] = "held_out" if is_held_out else "train"
    _write(sources, found, summary, out)
    report({"done": len(kept), "total": len(found), "unit": "documents kept"})
    return {
        "files": len(files),
        "files_ignored": ignored,
        "documents": len(found),
        "kept": len(kept),
        "held_out": sum(document["split"] == "held_out" for document in kept),
        "document_seconds": round(worked - started, 2),
        "other_seconds": round(time.monotonic() - worked, 2),
    }


def _checked(sources: tuple[SourceFiles, ...]) -> tuple[list[reading.File], int]:
    """The files of all sources, in order, each read once here: bad input is refused before an engine starts."""
    files: list[reading.File] = []
    ignored = 0
    for source in sources:
        readable, others = reading.files_of(source)
        filled = [any(text.strip() for text in reading.texts(file)) for file in readable]
        if not any(filled):
            raise SourceError(f"Source {source.name} is empty: no text in its {len(readable)} files.")
        files += readable
        ignored += others
    return files, ignored


def _drop_duplicates(config: CurateConfig, documents: list[dict[str, Any]]) -> None:
    """Give every document its cluster, the id of the one that is kept of it, and every duplicate its rule."""
    import numpy as np

    from components.curation.dedup import exact, minhash

    for document in documents:
        document["cluster"] = document["id"]
    passed = [d for d in documents if d["rule"] is None]
    for index, first in exact.duplicates([d["key"] for d in passed]).items():
        _drop(passed[index], passed[first], "exact", "the same text as")
    if config.near_duplicates == "none":
        return
    passed = [d for d in passed if d["rule"] is None]
    signatures = [np.frombuffer(d["signature"], dtype=np.uint32) for d in passed]
    for index, (first, likeness) in minhash.near_duplicates(signatures, config.similarity).items():
        _drop(passed[index], passed[first], "minhash", f"similarity {likeness:.2f} to")


def _drop(document: dict[str, Any], kept: dict[str, Any], rule: str, likeness: str) -> None:
    reason = f"{likeness} {kept['source']}/{kept['path']} ({kept['id']})"
    document.update(cluster=kept["id"], rule=rule, reason=reason)


def _write(
    sources: tuple[SourceFiles, ...], documents: list[dict[str, Any]], summary: dict[str, Any], out: Path
) -> None:
    from components.curation import corpus, page

    provenance = {source.name: {"licence": source.licence, "origin": source.origin} for source in sources}
    for document in documents:
        document.update(provenance[document["source"]])
        document.setdefault("split", "dropped")
    for split in ("train", "held_out", "dropped"):
        corpus.write([d for d in documents if d["split"] == split], split, out)
    corpus.write_summary(summary, out)
    page.write(summary, documents, out)
