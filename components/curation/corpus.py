"""Writing a corpus: Parquet whose bytes follow from the documents alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROWS_PER_GROUP = 4096
TEXTS = ("id", "source", "licence", "origin", "path", "language", "text", "cluster", "quality")


def write(documents: Sequence[dict[str, Any]], split: str, out: Path) -> None:
    """`documents`, in their order, as `out`/`split`.parquet; the dropped ones with rule and reason."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = (*TEXTS, "rule", "reason") if split == "dropped" else TEXTS
    columns = {name: pa.array([d[name] for d in documents], pa.string()) for name in names}
    columns["language_confidence"] = pa.array([d["language_confidence"] for d in documents], pa.float64())
    pq.write_table(pa.table(columns), out / f"{split}.parquet", row_group_size=ROWS_PER_GROUP, compression="zstd")


def write_summary(summary: dict[str, Any], out: Path) -> None:
    """`summary` as `out`/summary.json."""
    (out / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
