"""The models that a recipe starts from: a base, taken into the store once and registered as what it is, or parts."""

from components.recipe import Source
from components.steps import Input, Step
from components.store import Stored
from flows.passage import Passage
from flows.registering import registered
from flows.step import step

JOIN = Step("join", 1, "components.bases.join:join", "components.bases.join:JoinConfig", "export", "job")
TAKE = Step("take", 1, "components.bases.take:take", "components.bases.take:TakeConfig", "export", "job")


def taken_base(run: Passage) -> Stored | None:
    """The export that the recipe's base became, registered in MLflow; None where the recipe has no base."""
    from components.bases.take import TakeConfig

    source = run.recipe.base
    if source is None:
        return None
    base = step(run, TAKE, TakeConfig(), run.source(source.name))
    if run.dry is None:
        run.act("register-base", lambda: _registered(run, source, base))
        run.outcome["base"] = {"name": source.name, "digest": base.digest}
    return base


def joined_parts(run: Passage, samples: Stored) -> Stored | None:
    """The model that the recipe's parts become; None where it has none."""
    from components.bases.join import JoinConfig
    from components.models import family

    if not run.recipe.with_role("part"):
        return None
    assert run.recipe.size is not None
    config = JoinConfig(family=run.recipe.family, size=run.recipe.size, seed=run.recipe.train[0].seed)
    parts = [run.part(name) for name in family(run.recipe.family).parts]
    return step(run, JOIN, config, Input("samples", samples.kind, samples.digest), *parts)


def _registered(run: Passage, source: Source, base: Stored) -> bool:
    tags = {
        **run.tags(),
        "headwater.kind": "base",
        "headwater.licences": f"{source.name}: {source.licence}",
        "headwater.origin": source.origin,
        "headwater.source": run.resolved["sources"][source.name]["digest"],
    }
    card = f"# {source.name}\n\nA model that others start from, as it was found: {source.origin}.\n\nLicence: {source.licence}.\n"
    return registered(run, source.name, base.digest, base.path, tags=tags, card=card, scores={})[1]
