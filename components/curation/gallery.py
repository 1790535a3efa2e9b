"""Writing a corpus of images: Parquet, counts, and a page with examples of what is kept and what was dropped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.artifacts import SourceFiles
from components.curation.corpus import ROWS_PER_GROUP, write_summary
from components.recipe.images import ImagesConfig

COLUMNS = ("id", "source", "licence", "origin", "path", "concept", "style", "text", "style_text", "held")
EXAMPLES, SHOWN = 3, 24


def write(config: ImagesConfig, sources: Sequence[SourceFiles], rows: Sequence[dict[str, Any]], out: Path) -> None:
    """`rows`, in their order, as the files of a corpus."""
    for split in ("train", "held_out", "dropped"):
        _parquet([row for row in rows if row["split"] == split], split, out)
    summary = _summary(sources, rows)
    write_summary(summary, out)
    _page(config, summary, rows, out)


def _parquet(rows: Sequence[dict[str, Any]], split: str, out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = (*COLUMNS, "rule", "reason") if split == "dropped" else COLUMNS
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in names}
    columns["image"] = pa.array([row["image"] for row in rows], pa.binary())
    pq.write_table(pa.table(columns), out / f"{split}.parquet", row_group_size=ROWS_PER_GROUP, compression="zstd")


def _summary(sources: Sequence[SourceFiles], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """In the form of a curation of documents, where a document is an image and its characters are its caption's."""
    from components.curation.images import RULES

    left, stages = list(rows), [_stage("images", rows, {})]
    for rule in RULES:
        remaining = [row for row in left if row["rule"] != rule]
        stages.append(_stage(rule, remaining, {rule: len(left) - len(remaining)} if len(remaining) < len(left) else {}))
        left = remaining
    return {"stages": stages, "sources": [_source(s, rows) for s in sources], "masked": {}}


def _stage(name: str, left: Sequence[dict[str, Any]], dropped: dict[str, int]) -> dict[str, Any]:
    characters = sum(len(row["text"]) for row in left)
    return {"stage": name, "documents": len(left), "characters": characters, "dropped": dropped}


def _source(source: SourceFiles, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    own = [row for row in rows if row["source"] == source.name]
    kept = [row for row in own if row["rule"] is None]
    return {
        "name": source.name,
        "licence": source.licence,
        "origin": source.origin,
        "documents_read": len(own),
        "documents_kept": len(kept),
        "characters_kept": sum(len(row["text"]) for row in kept),
    }


def _page(config: ImagesConfig, summary: dict[str, Any], rows: Sequence[dict[str, Any]], out: Path) -> None:
    from components.reports import data_uri, render
    from components.reports.plots import waterfall

    stages = summary["stages"]
    changes = [stages[0]["documents"], *(-sum(stage["dropped"].values()) for stage in stages[1:])]
    figure = waterfall([s["stage"] for s in stages], changes, "images", "What is left after each stage")
    kept = [row for row in rows if row["rule"] is None]
    step = max(1, len(kept) // SHOWN)
    data = {
        "summary": summary,
        "size": config.size,
        "splits": [
            {"name": n.replace("_", " "), "images": sum(r["split"] == n for r in rows)}
            for n in ("train", "held_out", "dropped")
        ],
        "held": {kind: sum(row["held"] == kind for row in kept) for kind in ("concept", "style")},
        "gallery": [{"text": row["text"], "image": data_uri(row["image"])} for row in kept[::step][:SHOWN]],
        "examples": [_examples(rule, rows) for rule in dict.fromkeys(r["rule"] for r in rows if r["rule"])],
    }
    (out / "report.html").write_text(render("images", data, {"waterfall": figure}), encoding="utf-8")


def _examples(rule: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    dropped = [row for row in rows if row["rule"] == rule]
    shown = [{"place": f"{row['source']}/{row['path']}", "reason": row["reason"]} for row in dropped[:EXAMPLES]]
    return {"rule": rule, "count": len(dropped), "shown": shown}
