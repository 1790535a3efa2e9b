"""The models that a recipe starts from: a base, taken into the store once and registered as what it is, or parts."""

import re
from pathlib import Path

from components.packages.names import is_package, package
from components.recipe import Source
from components.steps import Input, Step
from components.store import Stored
from flows.passage import Passage
from flows.registering import registered
from flows.step import step

JOIN = Step("join", 2, "components.bases.join:join", "components.bases.join:JoinConfig", "export", "job")
TAKE = Step("take", 2, "components.bases.take:take", "components.bases.take:TakeConfig", "export", "job")


def taken_base(run: Passage) -> Stored | None:
    """The export that the recipe's base became, registered in MLflow; None where the recipe has no base."""
    source = run.recipe.base
    return _taken(run, source) if source else None


def part(run: Passage, name: str) -> Input:
    """A model that becomes a part of the recipe's: one of this home as it was when the run began, or one that is taken."""
    source = next(source for source in run.recipe.with_role("part") if source.name == name)
    digest = run.resolved["sources"][name]["digest"] if source.is_made_here else _taken(run, source).digest
    return Input(f"part:{name}", "export", digest)


def _taken(run: Passage, source: Source) -> Stored:
    """The export that `source` became, registered under its name."""
    from components.bases.take import TakeConfig

    if source.name not in run.taken:
        run.taken[source.name] = taken = step(run, TAKE, TakeConfig(), run.source(source.name))
        if run.dry is None:
            run.act("register-base", lambda: _registered(run, source, taken))
            run.outcome["base"] = {"name": _known_as(source), "digest": taken.digest}
    return run.taken[source.name]


def joined_parts(run: Passage, samples: Stored) -> Stored | None:
    """The model that the recipe's parts become; None where it has none."""
    from components.bases.join import JoinConfig

    if not run.recipe.with_role("part"):
        return None
    assert run.recipe.size is not None
    names = given_parts(run)
    family, seed = run.recipe.family, run.recipe.train[0].seed
    config = JoinConfig(family=family, size=run.recipe.size, parts=names, seed=seed)
    parts = [part(run, name) for name in names]
    return step(run, JOIN, config, Input("samples", samples.kind, samples.digest), *parts)


def given_parts(run: Passage) -> tuple[str, ...]:
    """The names of the recipe's parts, in the order in which its family takes them."""
    from components.models import family

    kind, given = family(run.recipe.family), {source.name for source in run.recipe.with_role("part")}
    return tuple(name for name in (*kind.parts, *kind.optional_parts) if name in given)


def _registered(run: Passage, source: Source, base: Stored) -> bool:
    tags = {
        **run.tags(),
        "headwater.kind": "base",
        "headwater.licences": f"{_known_as(source)}: {source.licence}",
        "headwater.origin": source.origin,
        "headwater.source": run.resolved["sources"][source.name]["digest"],
    }
    card = f"# {_known_as(source)}\n\nA model that others start from, as it was found: {source.origin}.\n\nLicence: {source.licence}.\n"
    return registered(run, _known_as(source), base.digest, base.path, tags=tags, card=card, scores={})[1]


def _known_as(source: Source) -> str:
    """The name of a model that was taken: its source's; of a part, whose name is its place in the family, its package's or file's."""
    if source.role == "base":
        return source.name
    found = package(source.path).name if is_package(source.path) else Path(source.path).stem
    return re.sub(r"[^a-z0-9_-]", "-", f"{'' if found[:1].isalpha() else 'model-'}{found}".lower())[:63]
