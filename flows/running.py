"""The commands around runs: plan, run, scale, cancel."""

import argparse
import json
import threading
from pathlib import Path
from typing import Any

from components.errors import HeadwaterError, RecipeError, UnknownName, UnknownRef
from components.ledger import Ledger, runs
from components.ledger.tables import RunRow
from components.models import family
from components.recipe import Recipe, Source
from components.recipe.file import read_recipe
from components.settings import Settings, settings
from components.store import Store
from flows import housekeeping
from flows.recipes import shipped_recipes
from flows.summary import summary


def recipe_at(asked: argparse.Namespace) -> Recipe:
    """The recipe that was asked for, by file or by the name of a shipped one."""
    shipped = shipped_recipes()
    path = shipped.get(asked.recipe, Path(asked.recipe))
    return checked(read_recipe(path, asked.set))


def checked(recipe: Recipe) -> Recipe:
    """`recipe`, once every name in it is known to exist. Raises InputError naming the first that does not."""

    from components.curation.filters import filters
    from components.curation.privacy import known
    from components.preparation.processors import processor
    from components.training.objectives import objectives

    if recipe.size is not None:
        family(recipe.family).fields(recipe.size)
    filters(recipe.curate.filters)
    known(recipe.curate.mask)
    processor(recipe.prepare.processor)
    for phase in recipe.train:
        if phase.objective not in objectives():
            raise UnknownName("objective", phase.objective, objectives())
        if recipe.size is not None and phase.objective not in family(recipe.family).objectives:
            raise UnknownName(f"objective of {recipe.family}", phase.objective, family(recipe.family).objectives)
    if recipe.evaluate.tasks and "completions" not in family(recipe.family).endpoints:
        raise RecipeError(f"evaluate.tasks are questions to a model that writes, and {recipe.family} is none.")
    for source in recipe.sources:
        if not source.is_made_here:  # the ledger has those, and is asked when the run begins
            _readable(source)
    return recipe


def _readable(source: Source) -> None:
    """Raises SourceError where a source is missing, or a line of its items is malformed: now, not after the training."""
    from components.artifacts import SourceFiles
    from components.bases.pipeline import check_pipeline, is_pipeline
    from components.evaluation.tasks import read_items
    from components.models.folder import model_folder, read_config
    from components.preparation.chats import read_chats
    from components.preparation.preferences import read_preferences
    from components.sources import source_files
    from flows.passage import source_path

    path = source_path(source, settings().home, housekeeping.say)
    source_files(path)
    files = SourceFiles(source.name, path, source.licence, source.origin, digest="")
    if source.role == "instructions":
        for _ in read_chats(files):
            pass
    if source.role == "preferences":
        for _ in read_preferences(files):
            pass
    if source.role == "evaluation":
        read_items(files)
    if source.role == "base":
        read_config(model_folder(path))
    if source.role == "part":
        check_pipeline(path) if is_pipeline(path) else model_folder(path)


def plan(asked: argparse.Namespace) -> int:
    """What a recipe will cost on this machine."""
    from components.planning.words import markdown
    from flows.estimates import estimate
    from flows.known import source_data
    from flows.passage import source_path

    recipe = recipe_at(asked)
    here = settings()
    paths = {
        source.name: source_path(source, here.home, housekeeping.say)
        for source in recipe.sources
        if not source.is_made_here
    }
    made = estimate(recipe, here, source_data(recipe, paths), housekeeping.say)
    print(json.dumps(made.model_dump(mode="json")) if asked.json else markdown(made))
    return 0


def run(asked: argparse.Namespace) -> int:
    """Submit a recipe and watch its run, or attach to the one that is under way."""
    recipe, here = recipe_at(asked), settings()
    if asked.dry_run:
        return _dry_run(recipe, here, asked.json)
    return _submitted(asked, recipe, here, "lifecycle")


def scale(asked: argparse.Namespace) -> int:
    """Submit the ladder of a recipe and watch it, or attach to the one that is under way."""
    recipe, here = recipe_at(asked), settings()
    if recipe.scale is None:
        raise RecipeError(f"{asked.recipe}: no table [scale]: it needs budgets and sizes (docs/recipes.md).")
    for size in recipe.scale.sizes:
        family(recipe.family).fields(size)
    return _submitted(asked, recipe, here, "scaling")


def _submitted(asked: argparse.Namespace, recipe: Recipe, here: Settings, flow: str) -> int:
    """Submit `recipe` to `flow`, watch its run and say how it ended; the exit status."""
    from flows.display import Watcher, print_summary
    from flows.launch import follow, submit
    from flows.passage import part_version

    ledger = Ledger(here.ledger_url)
    for source in recipe.sources:
        if source.is_made_here:
            part_version(source, ledger)
    housekeeping.ready(here, housekeeping.say)
    row = submit(recipe, here, ledger, flow)
    housekeeping.say(f"run {row.id}")
    # A restarted Ray serves nothing: what should be served comes back while the run goes on.
    serving = [_serve_beside(here)]
    if not asked.detach:
        with Watcher(ledger) as watcher:
            row = follow(ledger, row.id, watcher, lambda: _heal(here, serving))
    found = summary(ledger, row)
    if asked.json:
        print(json.dumps(found))
    else:
        print_summary(found, housekeeping.addresses(here.home), housekeeping.key_file(here.home))
    return _exit_status(row)


def cancel(asked: argparse.Namespace) -> int:
    """Cancel a run."""
    from flows.launch import cancel as cancel_run

    here = settings()
    ledger = Ledger(here.ledger_url)
    row = runs.run(ledger, asked.run)
    if row is None:
        raise UnknownRef(f"No run {asked.run!r}: `headwater runs` lists them.")
    housekeeping.join(here)
    cancel_run(ledger, row)
    print(f"run {row.id}: cancelled")
    return 0


def _dry_run(recipe: Recipe, here: Settings, as_json: bool) -> int:
    from flows.lifecycle import foresee

    steps = foresee(recipe, here, Ledger(here.ledger_url), Store(here.store), housekeeping.say)
    if as_json:
        print(json.dumps({"steps": steps}))
    else:
        for step in steps:
            print(f"{step['would']:<8} {step['name']:<18} {step['because']}")
    return 0


def _heal(here: Settings, serving: list[threading.Thread]) -> None:
    """Bring back services that have died, and what they served."""
    started: list[str] = []
    housekeeping.ready(here, started.append)
    for line in started:
        housekeeping.say(line)
    if started and not serving[-1].is_alive():
        serving.append(_serve_beside(here))


def _serve_beside(here: Settings) -> threading.Thread:
    thread = threading.Thread(target=_serve_quietly, args=(here,), daemon=True)
    thread.start()
    return thread


def _serve_quietly(here: Settings) -> None:
    try:
        housekeeping.serve(here)
    except HeadwaterError as error:
        housekeeping.say(f"serving is not up yet: {error}")


def _exit_status(row: RunRow) -> int:
    if row.status in ("failed", "refused", "cancelled"):
        kind: Any = (row.error or {}).get("type")
        from components import errors

        known = getattr(errors, kind or "", None)
        return known.exit_status if isinstance(known, type) and issubclass(known, HeadwaterError) else 1
    return 0
