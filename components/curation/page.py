"""The report of a curation: one page with the waterfall, the sources and examples of what was dropped and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXAMPLES = 3
EXCERPT = 280


def write(summary: dict[str, Any], documents: Sequence[dict[str, Any]], out: Path) -> None:
    """`out`/report.html. What it quotes has been masked like everything else."""
    from components.reports import render
    from components.reports.plots import waterfall

    stages = summary["stages"]
    names = [stage["stage"].replace("_", " ") for stage in stages]
    changes = [stages[0]["documents"], *(-sum(stage["dropped"].values()) for stage in stages[1:])]
    figures = {"waterfall": waterfall(names, changes, "documents", "What is left after each stage")}
    data = {"summary": summary, "examples": _examples(documents), "splits": _splits(documents)}
    (out / "report.html").write_text(render("curation", data, figures), encoding="utf-8")


def _examples(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each rule that dropped something, its first document from each of the first few files."""
    rules = dict.fromkeys(document["rule"] for document in documents if document["rule"] is not None)
    examples = []
    for rule in rules:
        dropped = [document for document in documents if document["rule"] == rule]
        of_file: dict[tuple[str, str], dict[str, Any]] = {}
        for document in dropped:
            of_file.setdefault((document["source"], document["path"]), document)
        shown = [
            {"place": f"{d['source']}/{d['path']}", "reason": d["reason"], "text": d["text"][:EXCERPT]}
            for d in list(of_file.values())[:EXAMPLES]
        ]
        examples.append({"rule": rule, "count": len(dropped), "shown": shown})
    return examples


def _splits(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for split in ("train", "held_out", "dropped"):
        texts = [document["text"] for document in documents if document["split"] == split]
        found.append({"name": split.replace("_", " "), "documents": len(texts), "characters": sum(map(len, texts))})
    return found
