"""Evaluation: the scores of a model, and the gate that compares them with thresholds and with the champion's."""

import json
from dataclasses import dataclass
from typing import Any

from prefect.artifacts import create_markdown_artifact

from components.errors import GateRefused
from components.ledger import promotion
from components.steps import Input, Step
from components.store import Stored
from flows.curation import as_input
from flows.passage import Passage
from flows.step import step

EVALUATE = Step(
    "evaluate", 1, "components.evaluation.evaluate:evaluate", "components.recipe:EvaluateConfig", "evaluation", "job"
)
GATE = Step("gate", 1, "components.evaluation.gate:gate", "components.recipe:GateConfig", "verdict", "here")
NO_CHAMPION = Input("baseline", "none", "no champion")


@dataclass(frozen=True)
class Judged:
    """A model with everything that a decision about it is bound to."""

    model: Stored
    evaluation: Stored
    verdict: Stored
    baseline: str
    """The digest of the champion that it was compared with, or empty"""
    scores: dict[str, dict[str, Any]]
    passed: bool


def evaluation(run: Passage, corpus: Stored, model: Stored, base: Stored | None) -> Judged:
    """The model's scores and the gate's verdict. Raises GateRefused when the gate does not pass it."""
    report, verdict, baseline = judge(run, corpus, model, base)
    scores = json.loads((report.path / "report.json").read_text())["scores"]
    gate = json.loads((verdict.path / "gate.json").read_text())
    run.reports |= {"evaluation": str(report.path / "report.html"), "gate": str(verdict.path / "report.html")}
    run.outcome["reports"] = run.reports
    run.outcome["scores"] = {name: score["value"] for name, score in scores.items()}
    run.outcome["stderr"] = {name: score["stderr"] for name, score in scores.items()}
    run.outcome["gate"] = [rule["explanation"] for rule in gate["rules"]]
    create_markdown_artifact(
        key="gate-report", markdown=_as_markdown(gate, scores), description=f"The gate of {run.id}"
    )
    if not gate["passed"]:
        failed = "; ".join(rule["explanation"] for rule in gate["rules"] if not rule["passed"])
        raise GateRefused(f"The gate refuses {run.recipe.name}: {failed}.")
    return Judged(model, report, verdict, baseline, scores, gate["passed"])


def judge(run: Passage, corpus: Stored, model: Stored, base: Stored | None) -> tuple[Stored, Stored, str]:
    """The steps alone: the evaluation, the verdict, and the digest of the champion compared with, or empty."""
    report = evaluated(run, corpus, model, "evaluate")
    baseline = _baseline(run, model)
    compared = NO_CHAMPION
    if baseline:
        champion = run.store.open(baseline)
        compared = as_input("baseline", evaluated(run, corpus, champion, "evaluate:champion"))
    inputs = [as_input("evaluation", report), compared]
    if base:
        inputs.append(as_input("base", evaluated(run, corpus, base, "evaluate:base")))
    return report, step(run, GATE, run.recipe.gate, *inputs), baseline


def evaluated(run: Passage, corpus: Stored, model: Stored, label: str) -> Stored:
    """The evaluation of a model by the recipe's own measures."""
    items = [run.source(name) for name in dict.fromkeys(task.source for task in run.recipe.evaluate.tasks)]
    return step(
        run, EVALUATE, run.recipe.evaluate, as_input("export", model), as_input("corpus", corpus), *items, label=label
    )


def _baseline(run: Passage, model: Stored) -> str:
    """The champion when the run began; for a model that is the champion itself, what it was gated against."""
    champion = run.resolved["champion"]
    if champion is None or champion != model.digest:
        return champion or ""
    known = promotion.latest_candidate(run.ledger, run.recipe.name, model.digest)
    return known.baseline if known else ""


def _as_markdown(gate: dict[str, Any], scores: dict[str, dict[str, Any]]) -> str:
    rules = "\n".join(
        f"- {'passed' if rule['passed'] else '**refused**'}: {rule['explanation']}" for rule in gate["rules"]
    )
    rows = "\n".join(f"| {name} | {score['value']:.4g} | {_error(score)} |" for name, score in scores.items())
    title = f"# The gate {'passed' if gate['passed'] else 'refused'} this model"
    return f"{title}\n\n{rules}\n\n| score | value | standard error |\n|---|---|---|\n{rows}\n"


def _error(score: dict[str, Any]) -> str:
    return "" if score["stderr"] is None else f"{score['stderr']:.2g}"
