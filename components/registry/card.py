"""The model card: what a person should know before using a model, as Markdown."""

from collections.abc import Iterable, Mapping
from typing import Any


def model_card(
    *,
    name: str,
    digest: str,
    pipeline: str,
    library: str,
    summary: str,
    sources: Iterable[Mapping[str, Any]],
    scores: Mapping[str, Mapping[str, Any]],
    gate: Iterable[Mapping[str, Any]],
    intended_use: str,
    limits: Iterable[str],
    lineage: Mapping[str, str],
) -> str:
    """The card of one version. `pipeline` is the name that `library` has for its task.

    sources: {"name", "licence", "origin"}. scores: metric -> {"value", "stderr"?}, as in report.json.
    gate: {"metric", "passed", "explanation"}, as in gate.json. lineage: what each id is -> the id.
    """
    sources = list(sources)
    licences = sorted({source["licence"] for source in sources})
    parts = [
        f"---\nlibrary_name: {library}\npipeline_tag: {pipeline}\nlicense: other\n"
        f"license_name: {_quoted(', '.join(licences))}\n---",
        f"# {name}\n\n{summary}",
        "## Data\n\n" + _table(("Source", "Licence", "Origin"), map(_source, sources)),
        "## Scores\n\n"
        + _table(("Metric", "Value", "Standard error"), [_score(*item) for item in sorted(scores.items())]),
        "## Gate\n\n" + _table(("Score", "Passed", "Because"), map(_rule, gate)),
        f"## Intended use\n\n{intended_use}",
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits),
        "## Lineage\n\n"
        + _table(("What", "Id"), [("model", f"`{digest}`"), *((k, f"`{v}`") for k, v in lineage.items())]),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    """One line, and no bar that would end the cell."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _source(source: Mapping[str, Any]) -> tuple[Any, ...]:
    return source["name"], source["licence"], source["origin"]


def _score(metric: str, score: Mapping[str, Any]) -> tuple[str, str, str]:
    error = score.get("stderr")
    return metric, f"{score['value']:.4g}", "" if error is None else f"{error:.2g}"


def _rule(rule: Mapping[str, Any]) -> tuple[Any, ...]:
    return rule["metric"], "yes" if rule["passed"] else "no", rule["explanation"]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
