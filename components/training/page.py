"""The training report: the curves of a phase on one page, made from its progress."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.reports import render
from components.reports.plots import lines
from components.training.progress import Line

CURVES = {
    "loss": "nats",
    "bits_per_byte": "bits/byte",
    "grad_norm": "length",
    "learning_rate": "rate",
    "tokens_per_second": "tokens/s",
}
"""What is drawn, with its unit."""


def write_page(progress: Path, title: str, facts: dict[str, Any], page: Path) -> None:
    """Write `page` from the JSON lines of `progress`, in which a step done again counts as it was the last time."""
    points, texts = {}, []
    for line in _lines(progress):
        if "loss" in line and "step" in line:
            points[line["step"]] = line
        if "text" in line:
            texts.append(line)
    curve = [points[step] for step in sorted(points)]
    figures = {name: _figure(name, unit, curve) for name, unit in CURVES.items() if any(name in p for p in curve)}
    page.write_text(render("training", {"title": title, "facts": facts, "texts": texts}, figures), encoding="utf-8")


def _figure(name: str, unit: str, curve: list[Line]) -> str:
    shown = [point for point in curve if name in point]
    steps, values = [point["step"] for point in shown], [point[name] for point in shown]
    return lines({name: (steps, values)}, "step", unit, name.replace("_", " ").capitalize())


def _lines(progress: Path) -> Iterator[Line]:
    for text in progress.read_text(errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # empty, or torn by a kill
            continue
        if isinstance(line, dict):
            yield line
