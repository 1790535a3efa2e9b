"""The gate: scores against the recipe's thresholds and the champion's scores, each judgement in words."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.artifacts import Evaluation, Facts, Report
from components.errors import UnknownName
from components.recipe import GateConfig, Rule

Scores = dict[str, dict[str, Any]]
"""{metric: {"value": float, "stderr": float or None, "unit": str}}"""
Judgement = tuple[bool, str]
"""Whether a bound holds, and why in words with numbers."""


def gate(
    config: GateConfig,
    evaluation: Evaluation,
    baseline: Evaluation | None,
    base: Evaluation | None = None,
    *,
    out: Path,
    scratch: Path,
    report: Report,
) -> Facts:
    """Fill `out` with a Verdict; it passes when every bound of every rule holds. `scratch` stays empty.

    `baseline` is the champion's evaluation, None where there is no champion; `base` that of the model which training
    started from. Raises UnknownName, before anything is
    written, for a metric that the report lacks.
    """
    from components.reports import render

    scores: Scores = evaluation.json("report.json")["scores"]
    champion: Scores | None = None if baseline is None else baseline.json("report.json")["scores"]
    started: Scores | None = None if base is None else base.json("report.json")["scores"]
    rules = [_judged(rule, scores, champion, started) for rule in config.rules]
    verdict = {"passed": all(rule["passed"] for rule in rules), "rules": rules}
    page = render(
        "gate",
        {"verdict": verdict, "scores": _compared(rules, scores, champion, started), "based": base is not None},
        {},
    )
    (out / "gate.json").write_text(json.dumps(verdict, indent=2, sort_keys=True) + "\n")
    (out / "report.html").write_text(page)
    report({"done": len(rules), "total": len(rules), "unit": "rules"})
    return {"passed": verdict["passed"]}


def _judged(rule: Rule, scores: Scores, champion: Scores | None, base: Scores | None) -> dict[str, Any]:
    for metric in (rule.metric, rule.below, rule.above):
        if metric is not None and metric not in scores:
            raise UnknownName("metric", metric, sorted(scores))
    judgements = list(_bounds(rule, scores, champion, base))
    return {
        "metric": rule.metric,
        "passed": all(passed for passed, _ in judgements),
        "explanation": "; ".join(words for _, words in judgements),
        "rule": rule.model_dump(exclude_none=True),
    }


def _bounds(rule: Rule, scores: Scores, champion: Scores | None, base: Scores | None) -> Iterator[Judgement]:
    value = scores[rule.metric]["value"]
    if rule.min is not None:
        yield _at_least(rule.metric, value, rule.min)
    if rule.max is not None:
        yield _at_most(rule.metric, value, rule.max)
    if rule.below is not None:
        yield _apart(rule.metric, value, rule.below, scores[rule.below]["value"], "below")
    if rule.above is not None:
        yield _apart(rule.metric, value, rule.above, scores[rule.above]["value"], "above")
    if rule.regression is not None:
        yield _regression(rule, value, rule.regression, champion, "champion")
    if rule.base_regression is not None:
        yield _regression(rule, value, rule.base_regression, base, "base")


def _at_least(metric: str, value: float, bound: float) -> Judgement:
    shown, limit = _numbers(value, bound)
    if value >= bound:
        return True, f"{metric} {shown} reaches the minimum {limit}"
    return False, f"{metric} {shown} is under the minimum {limit}"


def _at_most(metric: str, value: float, bound: float) -> Judgement:
    shown, limit = _numbers(value, bound)
    if value <= bound:
        return True, f"{metric} {shown} keeps to the maximum {limit}"
    return False, f"{metric} {shown} is over the maximum {limit}"


def _apart(metric: str, value: float, other: str, bound: float, side: str) -> Judgement:
    shown, limit = _numbers(value, bound)
    holds = value < bound if side == "below" else value > bound
    return holds, f"{metric} {shown} is {'' if holds else 'not '}{side} {other} {limit}"


def _regression(rule: Rule, value: float, accepted: float, others: Scores | None, whose: str) -> Judgement:
    shown = f"{value:.4g}"
    if others is None:
        return True, f"{rule.metric} {shown} has no {whose} to compare with"
    if rule.metric not in others:
        return False, f"{rule.metric} {shown} cannot be compared: the {whose}'s report lacks it"
    theirs = others[rule.metric]["value"]
    worse = value - theirs if rule.lower_is_better else theirs - value
    if math.isclose(worse, accepted, rel_tol=1e-9):
        worse = accepted  # 0.79 - 0.74 is a little above 0.05 in binary: that is rounding, not a regression
    ours, other = _numbers(value, theirs)
    against = f"{rule.metric} {ours} against the {whose}'s {other}"
    if accepted < 0:
        amount, limit = _numbers(-worse, -accepted)
        return worse <= accepted, f"{against} is {amount} better, {limit} is wanted"
    if worse <= 0:
        return True, f"{against} is no worse"
    amount, limit = _numbers(worse, accepted)
    if worse <= accepted:
        return True, f"{against} is {amount} worse, {limit} is accepted"
    return False, f"{against} is {amount} worse, only {limit} is accepted"


def _numbers(value: float, bound: float) -> tuple[str, str]:
    """Both numbers with as few digits, four or more, as tell them apart."""
    for digits in range(4, 17):
        texts = f"{value:.{digits}g}", f"{bound:.{digits}g}"
        if texts[0] != texts[1] or value == bound:
            break
    return texts


def _compared(
    rules: list[dict[str, Any]], scores: Scores, champion: Scores | None, base: Scores | None
) -> list[dict[str, Any]]:
    ruled = {rule["metric"] for rule in rules}
    return [
        {
            "metric": metric,
            "ruled": metric in ruled,
            "value": f"{score['value']:.4g}",
            "stderr": "" if score.get("stderr") is None else f"± {score['stderr']:.2g}",
            "unit": score.get("unit", ""),
            "champion": _shown(champion, metric),
            "base": _shown(base, metric),
        }
        for metric, score in sorted(scores.items())
    ]


def _shown(scores: Scores | None, metric: str) -> str:
    return f"{scores[metric]['value']:.4g}" if scores and metric in scores else ""
