"""What in the tables of a recipe does not go together."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.recipe.images import wrong_images

if TYPE_CHECKING:
    from components.recipe.phase import TrainPhase
    from components.recipe.whole import Recipe

DATA_ROLES = {"sft": "instructions", "dpo": "preferences"}
"""What the source of a phase must be read as, for objectives that do not learn from the corpus."""


def disagreements(recipe: "Recipe") -> Iterator[str]:
    """What is wrong with `recipe`, the first first."""
    yield from _names(recipe)
    yield from _beginning(recipe)
    earlier: list[str] = []
    for phase in recipe.train:
        yield from _start(recipe, phase, earlier)
        yield from _data(recipe, phase)
        earlier.append(phase.name)
    yield from _scaling(recipe)
    yield from _judging(recipe)


def _names(recipe: "Recipe") -> Iterator[str]:
    for what, names in (("source", [s.name for s in recipe.sources]), ("phase", [p.name for p in recipe.train])):
        if twice := sorted({name for name in names if names.count(name) > 1}):
            yield f"two {what}s are called {', '.join(twice)}"


def _beginning(recipe: "Recipe") -> Iterator[str]:
    if len(recipe.with_role("base")) > 1:
        yield "two sources have the role 'base': a model starts from one"
    if wrong := wrong_images(recipe):
        yield wrong
    if (recipe.base is None) == (recipe.size is None):
        yield "give either size, or one source with the role 'base', which has a size of its own"
    if wrong := _wrong_parts(recipe):
        yield wrong
    if recipe.base and recipe.base.name == recipe.name:
        yield f"the base and the model that comes out are both called {recipe.name!r}"


def _wrong_parts(recipe: "Recipe") -> str | None:
    from components.models import families, family

    kind = family(recipe.family) if recipe.size and recipe.family in families() else None
    wanted, more = (kind.parts, kind.optional_parts) if kind else ((), ())
    given = [source.name for source in recipe.with_role("part")]
    if sorted(name for name in given if name not in more) == sorted(wanted):
        return None
    if not wanted:
        return f"{recipe.family} is joined from no parts: leave {', '.join(given)} out"
    return f"{recipe.family} is joined from {' and '.join(wanted)}: give each as a source of that name with the role 'part'"


def _start(recipe: "Recipe", phase: "TrainPhase", earlier: list[str]) -> Iterator[str]:
    kind, _, name = phase.init.partition(":")
    if kind == "phase" and name not in earlier:
        known = ", ".join(earlier) or "none"
        yield f"phase {phase.name} starts from {name!r}, which is no earlier phase ({known})"
    if phase.init == "parts" and not recipe.with_role("part"):
        yield f"phase {phase.name} starts from parts, and no source has the role 'part'"
    if recipe.base and phase.init not in (f"source:{recipe.base.name}", *(f"phase:{name}" for name in earlier)):
        yield f"phase {phase.name} must start from source:{recipe.base.name} or an earlier phase"
    if kind == "source" and _roles(recipe).get(name) != "base":
        yield f"phase {phase.name} starts from {name!r}, which is no source with the role 'base'"


def _data(recipe: "Recipe", phase: "TrainPhase") -> Iterator[str]:
    kind, _, name = phase.data.partition(":")
    role = DATA_ROLES.get(phase.objective, "documents" if kind == "corpus" else "instructions")
    if kind == "source" and _roles(recipe).get(name) != role:
        yield f"phase {phase.name} trains on {name!r}, which is no source with the role {role!r}"
    if kind == "corpus" and role != "documents":
        yield (f'phase {phase.name}: {phase.objective} needs data = "source:NAME" of a source with the role {role!r}')


def _scaling(recipe: "Recipe") -> Iterator[str]:
    first = recipe.train[0]
    pretrains = recipe.size is not None and first.objective == "causal_lm" and first.init == "random"
    if recipe.scale and not pretrains:
        yield f"[scale] needs a size, and a first phase of causal_lm from random weights, not {first.name}"
    if recipe.scale and first.tokens is None:
        yield f"[scale] needs a first phase that gives tokens, not {first.name}"


def _judging(recipe: "Recipe") -> Iterator[str]:
    for task in recipe.evaluate.tasks:
        if _roles(recipe).get(task.source) != "evaluation":
            yield f"task {task.name} needs {task.source!r} as a source with the role 'evaluation'"
    for rule in recipe.gate.rules:
        if rule.base_regression is not None and not recipe.base:
            yield f"the rule on {rule.metric} compares with a base, and no source has the role 'base'"


def _roles(recipe: "Recipe") -> dict[str, str]:
    return {source.name: source.role for source in recipe.sources}
