"""A ladder of small runs: what to train at which compute, with the hyperparameters of the run that they predict."""

from math import inf

from components.errors import InputError, RecipeError
from components.hyperparameters import advice, nearest_power_of_two, three_digits
from components.planning.architecture import architecture
from components.planning.budget import Data, length
from components.planning.compute import training_flops
from components.recipe import Recipe, TrainPhase
from components.recipe.fields import Strict

LEAST_STEPS = 100
"""A run of fewer optimizer steps says more about its warm-up than about its size."""
LEAST_RUNGS = 6
"""One more than the law has coefficients."""


class Rung(Strict):
    """One run of a ladder, or the run that the ladder predicts."""

    name: str
    size: str
    parameters: int
    """That work on a token, the embedding included."""
    tokens: int
    """That the run learns from, its last step in full."""

    @property
    def flops(self) -> float:
        """6ND."""
        return training_flops(self.parameters, self.tokens)


def target(recipe: Recipe, vocab_size: int) -> Rung:
    """The recipe's first phase as a rung."""
    assert recipe.size is not None, "the recipe says so where it has a table [scale]"
    return _rung("target", recipe, recipe.size, recipe.train[0], vocab_size)


def ladder(recipe: Recipe, vocab_size: int) -> list[tuple[Rung, TrainPhase]]:
    """The runs of the recipe's table `scale`, by rising budget, with the phase that trains each; then those of further seeds.

    Raises RecipeError where the recipe has no such table, and InputError where too few runs are left of it: those of
    fewer than LEAST_STEPS steps, those that take as much compute as the run to be predicted, and those outside the table's
    `tokens_per_parameter`, are left out.
    """
    if recipe.scale is None:
        raise RecipeError(f"{recipe.name} has no table [scale]: give it budgets and sizes (docs/recipes.md).")
    most = target(recipe, vocab_size).flops
    tried = [_climbed(recipe, size, flops, vocab_size) for flops in recipe.scale.budgets for size in recipe.scale.sizes]
    fewest, largest = recipe.scale.tokens_per_parameter or (0.0, inf)
    kept = [
        (rung, phase)
        for rung, phase, steps in tried
        if steps >= LEAST_STEPS and rung.flops < most and fewest <= rung.tokens / rung.parameters <= largest
    ]
    again = [_again(rung, phase, seed) for rung, phase in kept for seed in range(1, recipe.scale.seeds)]
    if len(kept) < LEAST_RUNGS:
        raise InputError(
            f"[scale] of {recipe.name} leaves {len(kept)} runs, and a law needs {LEAST_RUNGS}: runs of fewer than "
            f"{LEAST_STEPS} steps do not count, nor do those of {most:.2g} FLOPs and more, which the recipe's own run takes, "
            f"nor those outside tokens_per_parameter."
        )
    return kept + again


def _climbed(recipe: Recipe, size: str, flops: float, vocab_size: int) -> tuple[Rung, TrainPhase, int]:
    """The run of `size` for `flops`: (rung, phase, steps)."""
    shapes = architecture(recipe.family, size, vocab_size)
    tokens = max(1, round(flops / training_flops(shapes.active_parameters, 1)))
    name = f"{size}-{flops:.3g}".replace("+", "").replace(".", "-").lower()
    changed = {"name": f"rung-{name}", "tokens": tokens, **scaled(recipe, size, tokens)}
    phase = recipe.train[0].model_copy(update=changed)
    return _rung(name, recipe, size, phase, vocab_size), phase, length(phase, recipe, Data({}))[0]


def _again(rung: Rung, phase: TrainPhase, number: int) -> tuple[Rung, TrainPhase]:
    """The same run from another seed."""
    name = f"{rung.name}-seed-{number}"
    seeded = phase.model_copy(update={"name": f"rung-{name}", "seed": phase.seed + number})
    return rung.model_copy(update={"name": name}), seeded


def scaled(recipe: Recipe, size: str, tokens: int) -> dict[str, int | float]:
    """Batch, rate and weight decay of a rung: by rule, times the factor by which the recipe's own phase departs from it."""
    phase, shape = recipe.train[0], (recipe.prepare.vocab_size, recipe.prepare.context)
    own = advice(phase.model_dump(), recipe.family, recipe.size, *shape)
    rule = advice({"tokens": tokens}, recipe.family, size, *shape)
    batch = nearest_power_of_two(rule["batch_size"].value * phase.batch_size / own["batch_size"].value)
    rate = three_digits(rule["learning_rate"].value * phase.learning_rate / own["learning_rate"].value)
    chosen = {"tokens": tokens, "batch_size": batch, "learning_rate": rate}
    decay = advice(chosen, recipe.family, size, *shape)["weight_decay"].value
    decay = three_digits(decay * phase.weight_decay / own["weight_decay"].value)
    return {"batch_size": batch, "learning_rate": rate, "weight_decay": decay}


def _rung(name: str, recipe: Recipe, size: str, phase: TrainPhase, vocab_size: int) -> Rung:
    shapes = architecture(recipe.family, size, vocab_size)
    return Rung(name=name, size=size, parameters=shapes.active_parameters, tokens=length(phase, recipe, Data({}))[1])
