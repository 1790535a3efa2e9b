"""Evaluations of a ladder to a prediction: the laws, what is optimal, and the loss of a run that is still to come.

What is predicted is what one of the two laws says: the one that, fitted to the smaller budgets, comes nearer to the runs of
the largest. Small runs lie far above what text itself holds and leave Hoffmann's constant E, which stands for that, undetermined: where
they alone decide, it comes out at two to three times what large models reach. So it is held to what is known of text.
"""

import json
from collections.abc import Callable, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from components.artifacts import Evaluation, Facts, Report
from components.planning.fitting import Fit, Form, HoffmannForm, KaplanForm, Runs, fit
from components.planning.ladder import LEAST_RUNGS, Rung
from components.planning.laws import Law, optimum
from components.recipe.fields import Budget, Strict

FORMS: dict[str, type[Form[Any]]] = {"hoffmann": HoffmannForm, "kaplan": KaplanForm}
SAME_BUDGET = 0.9
"""Runs of so much of the largest compute count as of the largest budget."""
MOST_ENTROPY = 0.6
"""Bits per byte that text holds at most: Hoffmann et al.'s E as Besiroglu et al. 2024 fit it, 1.82 nats per token, over the 4.5
bytes of a token in their text (Rae et al. 2021: 10.5 TB, of which 300B tokens are 12.8%)."""
LEVEL = 0.8
"""The part of the resamples that an interval holds."""
REACH = 100.0
"""How many times beyond the sizes that were trained an optimum may lie: further out, the runs do not determine it."""
SHOWN = ("bits_per_byte", "known_words")
"""Scores beside those of tasks that are drawn along the ladder."""


class PredictConfig(Strict):
    """What was trained, and what it is to predict."""

    rungs: tuple[Rung, ...]
    """In the order of the evaluations."""
    target: Rung
    resamples: int
    seed: int
    budget_seconds: Budget = 60


def predict(config: PredictConfig, *evaluations: Evaluation, out: Path, scratch: Path, report: Report) -> Facts:
    """Fill `out` with prediction.json and report.html.

    The loss of a run is the logarithm of its perplexity on the held-out documents, in nats per token. Raises InputError
    where there are fewer runs than the law has coefficients.
    """
    scores = [evaluation.json("report.json")["scores"] for evaluation in evaluations]
    losses = [log(each["perplexity"]["value"]) for each in scores]
    runs = Runs.of([(r.parameters, r.tokens, loss) for r, loss in zip(config.rungs, losses, strict=True)])
    most_floor = MOST_ENTROPY * losses[0] / scores[0]["bits_per_byte"]["value"]  # the same ratio in every run
    found, missed = dict[str, Fit[Any]](), dict[str, float | None]()
    for done, (name, form) in enumerate(FORMS.items()):
        report({"done": done, "total": len(FORMS), "unit": "laws"})
        found[name] = fit(form, runs, most_floor=most_floor, resamples=config.resamples, seed=config.seed)
        missed[name] = _missed(form, runs, most_floor, config.seed)
    best = min(FORMS, key=lambda name: missed[name] or 0.0)  # the first where none could be tried
    law, target = found[best], config.target
    content = {
        "target": {**target.model_dump(), "flops": target.flops},
        "predicted": {"by": best, **_predicted(law, target)},
        "laws": {name: {"missed": missed[name], **_told(each, config)} for name, each in found.items()},
        "rungs": [
            {
                **rung.model_dump(),
                "flops": rung.flops,
                "loss": loss,
                "fitted": float(law.law.loss(rung.parameters, rung.tokens)),
                "scores": each,
            }
            for rung, loss, each in zip(config.rungs, losses, scores, strict=True)
        ],
        "level": LEVEL,
    }
    content = _rounded(content)
    (out / "prediction.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    (out / "report.html").write_text(_page(content, {name: each.law for name, each in found.items()}), "utf-8")
    return {"predicted_loss": content["predicted"]["loss"], "rungs": len(config.rungs)}


def _missed(form: type[Form[Any]], runs: Runs, most_floor: float, seed: int) -> float | None:
    """By how much a law misses the runs of the largest budget when it is fitted to all others: the mean of the ratios' logarithms.

    None where fewer others are left than a law needs.
    """
    flops = runs.parameters * runs.tokens
    largest = flops > SAME_BUDGET * flops.max()
    if (~largest).sum() < LEAST_RUNGS:
        return None
    law = fit(form, runs.chosen(np.flatnonzero(~largest)), most_floor=most_floor, seed=seed).law
    told = [float(law.loss(n, d)) for n, d in zip(runs.parameters[largest], runs.tokens[largest], strict=True)]
    return float(np.abs(np.log(np.array(told) / runs.losses[largest])).mean())


def _predicted(found: Fit[Any], target: Rung) -> dict[str, Any]:
    """The loss of the target, and where the resamples put it."""
    low, high = found.loss_interval(target.parameters, target.tokens, LEVEL)
    return {"loss": float(found.law.loss(target.parameters, target.tokens)), "interval": [low, high]}


def _told(found: Fit[Any], config: PredictConfig) -> dict[str, Any]:
    """A law: its coefficients, how near it comes, and the best use of the target's compute where the runs determine it."""
    best = optimum(found.law, config.target.flops)
    sizes = [rung.parameters for rung in (*config.rungs, config.target)]
    told = {"parameters": best.parameters, "tokens": best.tokens, "loss": best.loss, "gain_per_flop": best.gain}
    return {
        "coefficients": {
            name: {"value": value, "interval": list(found.interval(name, LEVEL))}
            for name, value in vars(found.law).items()
        },
        "objective": found.objective,
        "target": _predicted(found, config.target),
        "optimum": told if min(sizes) / REACH <= best.parameters <= max(sizes) * REACH else None,
    }


def _rounded(value: Any) -> Any:
    """Floats with 9 significant digits: what a processor does to the last ones is no result."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value


def _page(content: dict[str, Any], laws: dict[str, Law]) -> str:
    from components.reports import render
    from components.reports.plots import points

    rungs, target = content["rungs"], content["target"]
    seen = _along(rungs, lambda rung: rung["loss"])
    reach = np.geomspace(min(r["flops"] for r in rungs), 2 * target["flops"], 60)
    curves = {
        f"optimum ({name})": (reach.tolist(), [optimum(each, flops).loss for flops in reach.tolist()])
        for name, each in laws.items()
        if content["laws"][name]["optimum"]
    }
    predicted = {"prediction": ([target["flops"]], [content["predicted"]["loss"]])}
    names = [n for n in rungs[0]["scores"] if n in SHOWN or n.endswith("_accuracy")]
    figures = {
        "losses": points(
            seen | predicted, curves, "training FLOPs", "nats per token", "Held-out loss along the ladder"
        ),
        **{f"score_{name}": points(_along(rungs, _score(name)), {}, "training FLOPs", name, name) for name in names},
    }
    return render("scaling", {**content, "names": names}, figures)


def _score(name: str) -> Callable[[dict[str, Any]], float]:
    return lambda rung: float(rung["scores"][name]["value"])


def _along(
    rungs: Sequence[dict[str, Any]], value: Callable[[dict[str, Any]], float]
) -> dict[str, tuple[list[float], list[float]]]:
    """A value over compute, size by size."""
    series: dict[str, tuple[list[float], list[float]]] = {}
    for rung in rungs:
        flops, values = series.setdefault(rung["size"], ([], []))
        flops.append(rung["flops"])
        values.append(value(rung))
    return series
