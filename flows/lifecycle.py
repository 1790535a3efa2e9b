"""The lifecycle: one recipe, one run, from raw documents to a served model."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.logging import get_run_logger
from prefect.states import Completed, State

from components.ledger import Ledger, runs
from components.recipe import Recipe
from components.settings import Settings
from components.store import Store, Stored
from flows.bases import taken_base
from flows.cancelling import released
from flows.curation import curation, preparation
from flows.evaluation import evaluation, judge
from flows.foresight import dry
from flows.passage import Passage, resolve
from flows.promotion import promotion, wait_for_decision
from flows.serving import serving
from flows.single import alone
from flows.training import training


@flow(name="lifecycle", persist_result=True, result_serializer="json", on_cancellation=[released])
def lifecycle(recipe: Recipe) -> State[str]:
    """Curate, prepare, train, evaluate, register, approve and serve what `recipe` describes."""
    with alone(recipe) as run:
        base = taken_base(run)
        corpus = curation(run)
        samples = preparation(run, corpus, base)
        plan(run, samples, base)
        model = training(run, samples, base)
        judged = evaluation(run, corpus, model, base)
        candidate = promotion(run, judged)
        wait_for_decision(run, candidate)
        serving(run, candidate)
        return Completed(message=ended(run), data=run.id)


def plan(run: Passage, samples: Stored, base: Stored | None) -> None:
    """Say what training will cost, before it is paid for; nothing where all of it is done."""
    ahead = dry(run)
    training(ahead, samples, base)
    if all(step["would"] == "skip" for step in ahead.dry or []):
        return
    from components.planning.words import markdown, summary
    from flows.estimates import estimate
    from flows.known import source_data

    made_here = {source.name for source in run.recipe.sources if source.is_made_here}
    places = {name: Path(given["path"]) for name, given in run.resolved["sources"].items() if name not in made_here}
    if run.recipe.base and base:
        places[run.recipe.base.name] = base.path
    data = source_data(run.recipe, places, json.loads((samples.path / "samples.json").read_text()))
    made = estimate(run.recipe, run.here, data, get_run_logger().info)
    run.outcome["plan"] = {**made.model_dump(mode="json"), "text": summary(made)}
    runs.note(run.ledger, run.id, run.outcome)
    get_run_logger().info("plan: %s", summary(made))
    create_markdown_artifact(key="plan", markdown=markdown(made), description=f"The plan of {run.id}")


def ended(run: Passage) -> str:
    """How the run ended, in a line, with links on record."""
    model, mlflow = run.outcome["model"], os.environ.get("MLFLOW_TRACKING_URI", "")
    version = f"{mlflow}/#/models/{model['name']}/versions/{model['version']}"
    create_link_artifact(key="model-version", link=version, description="The version in MLflow")
    create_link_artifact(key="endpoint", link=run.outcome["endpoint"], description="OpenAI-compatible endpoint")
    executed = [step.name for step in runs.steps_of(run.ledger, run.id) if step.status == "executed"]
    acted = [act.name for act in runs.acts_of(run.ledger, run.id) if act.changed]
    if not executed and not acted:
        return f"no change: {model['name']}/{model['version']} is the champion already"
    return f"{model['name']}/{model['version']} is the champion ({', '.join(executed + acted)})"


def foresee(
    recipe: Recipe, here: Settings, ledger: Ledger, store: Store, say: Callable[[str], None]
) -> list[dict[str, str]]:
    """Which steps a run of `recipe` would execute, and what forces each: the same flows, in which steps are only looked at."""
    seen: list[dict[str, str]] = []
    run = Passage("dry-run", recipe, resolve(recipe, ledger, here, say), 0, "none", here, ledger, store, dry=seen)
    base = taken_base(run)
    corpus = curation(run)
    judge(run, corpus, training(run, preparation(run, corpus, base), base), base)
    return seen
