"""Scaling: a ladder of small runs, the law that they follow, and what it says of the recipe's own run before that is paid for."""

import json
from math import log
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger
from prefect.states import Completed, State

from components.ledger import queries, work
from components.recipe import Recipe
from components.steps import Step, identity
from components.store import Stored
from flows.cancelling import released
from flows.curation import as_input, curation, preparation
from flows.display import in_words
from flows.evaluation import evaluated
from flows.passage import Passage
from flows.single import alone
from flows.step import step
from flows.training import NOTHING, TRAIN

PREDICT = Step(
    "predict",
    3,
    "components.planning.predict:predict",
    "components.planning.predict:PredictConfig",
    "prediction",
    "here",
)


@flow(name="scaling", persist_result=True, result_serializer="json", on_cancellation=[released])
def scaling(recipe: Recipe) -> State[str]:
    """Train and evaluate the ladder of `recipe`, and write down what its first phase will reach; then train that, if asked."""
    with alone(recipe) as run:
        corpus = curation(run)
        samples = preparation(run, corpus, None)
        predicted(run, corpus, samples)
        if recipe.scale and recipe.scale.run_target:
            compared(run, corpus, samples)
        return Completed(message=in_words(run.outcome["scaling"]), data=run.id)


def predicted(run: Passage, corpus: Stored, samples: Stored) -> None:
    """Write the prediction down, once every run of the ladder is trained and evaluated."""
    from components.planning.ladder import ladder, target
    from components.planning.predict import PredictConfig

    scale, vocab_size = run.recipe.scale, _vocab_size(samples)
    rungs = ladder(run.recipe, vocab_size)
    assert scale is not None, "a ladder comes from it"
    evaluations = []
    for rung, phase in rungs:
        config = _train_config(run, rung.size, phase)
        model = step(run, TRAIN, config, as_input("samples", samples), NOTHING, label=f"train:{rung.name}", trains=True)
        evaluations.append(as_input(f"rung:{rung.name}", evaluated(run, corpus, model, f"evaluate:{rung.name}")))
    config = PredictConfig(
        rungs=tuple(rung for rung, _ in rungs),
        target=target(run.recipe, vocab_size),
        resamples=scale.resamples,
        seed=scale.seed,
    )
    made = step(run, PREDICT, config, *evaluations)
    run.outcome["scaling"] = _told(run, made)
    run.reports["scaling"] = str(made.path / "report.html")
    run.outcome["reports"] = run.reports
    create_markdown_artifact(
        key="scaling", markdown=in_words(run.outcome["scaling"]), description=f"The prediction of {run.id}"
    )
    get_run_logger().info(in_words(run.outcome["scaling"]))


def compared(run: Passage, corpus: Stored, samples: Stored) -> None:
    """Train and evaluate the target, and put its loss beside the prediction, with which of the two came first."""
    config, given = _train_config(run, run.recipe.size, run.recipe.train[0]), (as_input("samples", samples), NOTHING)
    label = f"train:{run.recipe.train[0].name}"  # as in the lifecycle, which then finds it done
    model = step(run, TRAIN, config, *given, label=label, trains=True)
    evaluation = evaluated(run, corpus, model, "evaluate:target")
    loss = log(json.loads((evaluation.path / "report.json").read_text())["scores"]["perplexity"]["value"])
    foretold, trained = run.outcome["scaling"], work.step(run.ledger, identity(TRAIN, config, given))
    assert trained is not None, "it has just been carried out"
    written = foretold["written"]
    run.outcome["scaling"] = {
        **foretold,
        "found": {
            "loss": loss,
            "off": foretold["predicted"]["loss"] / loss - 1,
            "foretold": written is not None and trained.started is not None and written < trained.started,
        },
    }


def _told(run: Passage, prediction: Stored) -> dict[str, Any]:
    """What the run records of a prediction, with what money buys by the home's table of prices."""
    from components.planning.accelerators import accelerators

    content = json.loads((prediction.path / "prediction.json").read_text())
    best = content["laws"][content["predicted"]["by"]]["optimum"]
    table = accelerators(run.here.home)
    bought = table.flops_per_money(run.recipe.train[0].precision)
    row = queries.maker(run.ledger, prediction.digest)
    return {
        "prediction": prediction.digest,
        "written": row.finished if row else None,
        "target": content["target"],
        "predicted": content["predicted"],
        "optimum": best,
        "laws": content["laws"],
        "rungs": content["rungs"],
        "currency": table.currency,
        "gain_per_money": {name: best["gain_per_flop"] * flops for name, flops in bought.items()} if best else {},
    }


def _train_config(run: Passage, size: str | None, phase: Any) -> Any:
    from components.training.config import TrainConfig

    return TrainConfig(family=run.recipe.family, size=size, phase=phase)


def _vocab_size(samples: Stored) -> int:
    return int(json.loads((samples.path / "samples.json").read_text())["vocab_size"])
