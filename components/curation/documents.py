"""The work on each document, on Ray Data: read, extract, mask, cut, identify, measure, judge, sign."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from components.artifacts import Report
from components.curation import extraction, filters, privacy, quality, reading
from components.recipe import CurateConfig

if TYPE_CHECKING:
    import pyarrow as pa

SMALLEST_BLOCK, LARGEST_BLOCK, FEW_BLOCKS = 2**18, 2**25, 8
"""Bytes of files in a block of Ray Data, and how many there are until blocks have grown to the largest."""
FILES_PER_BATCH = 64
TEXTS: dict[str, Callable[[str], str]] = {
    "page": extraction.main_text,
    "mail": str,
    "passages": str,
    "text": extraction.without_frame,
    "lines": extraction.without_frame,
}
"""What is a document of what a file of each kind holds."""


def documents(config: CurateConfig, files: Sequence[reading.File], report: Report) -> list[dict[str, Any]]:
    """Every document of `files`, in their order, judged by language and filters but not yet against each other.

    Keys: id, source, path, text, language, language_confidence, quality (JSON), rule and reason (None where it
    passes), masked (JSON counts, on the first document of a text), key (exact duplicates), signature (bytes of uint32).
    """
    import pyarrow as pa
    import ray

    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    blocks = [pa.Table.from_pylist([asdict(file) for file in block]) for block in _blocks(files)]
    judged = ray.data.from_arrow(blocks).map_batches(
        partial(judge, config=config), batch_size=FILES_PER_BATCH, batch_format="pyarrow"
    )
    order = {(file.source, file.path): number for number, file in enumerate(files)}
    found: list[dict[str, Any]] = []
    done: set[tuple[str, str]] = set()
    for batch in judged.iter_batches(batch_size=None, batch_format="pyarrow"):
        rows = cast("pa.Table", batch).to_pylist()
        found += rows
        done.update((row["source"], row["path"]) for row in rows)
        report({"done": len(done), "total": len(files), "unit": "files"})
    # Blocks come back as they are ready; within one, rows keep their order.
    return sorted(found, key=lambda row: order[row["source"], row["path"]])


def judge(files: "pa.Table", config: CurateConfig) -> "pa.Table":
    """The documents of a batch of files, as a table with the keys of `documents`."""
    import pyarrow as pa

    rules = filters.filters(config.filters)
    rows = [row for file in files.to_pylist() for row in _of_file(reading.File(**file), config, rules)]
    return pa.Table.from_pylist(rows, schema=_schema())


def _of_file(file: reading.File, config: CurateConfig, rules: dict[str, filters.Rule]) -> Iterator[dict[str, Any]]:
    ordinal = 0
    for raw in reading.texts(file):
        text = TEXTS[file.kind](raw)
        # Masked before it is cut, so that no cut goes through what must not be seen.
        text, masked = privacy.masked(text, config.mask)
        for part in extraction.parts(text, config.max_characters):
            yield {
                "id": extraction.document_id(file.source, file.path, ordinal, part),
                "source": file.source,
                "path": file.path,
                "text": part,
                "masked": json.dumps(masked),
                **_judged(part, config, rules),
            }
            masked = {}
            ordinal += 1


def _judged(text: str, config: CurateConfig, rules: dict[str, filters.Rule]) -> dict[str, Any]:
    from components.curation import language
    from components.curation.dedup import exact, minhash

    spoken, confidence = language.identify(text)
    measured = quality.measure(text)
    if spoken not in config.languages or confidence < config.language_confidence:
        refusal: tuple[str | None, str | None] = ("language", f"{spoken} with probability {confidence:.2f}")
    else:
        refusal = filters.first_refusal(text, measured, rules) or (None, None)
    signed = config.near_duplicates == "minhash" and refusal[0] is None
    return {
        "language": spoken,
        "language_confidence": confidence,
        "quality": json.dumps(asdict(measured)),
        "rule": refusal[0],
        "reason": refusal[1],
        "key": exact.key(text),
        "signature": minhash.signature(text).tobytes() if signed else None,
    }


def _blocks(files: Sequence[reading.File]) -> list[list[reading.File]]:
    """`files` in order, cut into runs of about equal size in bytes: few, for each start of a worker costs a second."""
    sizes = [Path(file.place).stat().st_size for file in files]
    count = max(min(math.ceil(sum(sizes) / SMALLEST_BLOCK), FEW_BLOCKS), math.ceil(sum(sizes) / LARGEST_BLOCK))
    share = sum(sizes) / count
    blocks: list[list[reading.File]] = [[]]
    filled = 0
    for file, size in zip(files, sizes, strict=True):
        if blocks[-1] and filled + size / 2 > share * len(blocks):
            blocks.append([])
        blocks[-1].append(file)
        filled += size
    return blocks


def _schema() -> "pa.Schema":
    import pyarrow as pa

    texts = ("id", "source", "path", "text", "masked", "language", "quality", "rule", "reason")
    fields = {name: pa.string() for name in texts}
    return pa.schema(fields | {"language_confidence": pa.float64(), "key": pa.binary(), "signature": pa.binary()})
