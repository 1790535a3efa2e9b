"""Models that are there become parts of a new one: their weights in its places, and what joins them fresh."""

from pathlib import Path

from components.artifacts import Export, Facts, Report, Samples
from components.errors import RecipeError
from components.models import family
from components.models.folder import save
from components.recipe.fields import Budget, Name, Strict


class JoinConfig(Strict):
    """Which model the parts become."""

    family: Name
    size: str
    parts: tuple[Name, ...]
    """The names of the parts that are given, in their order."""
    seed: int = 0
    """Of the weights that no part brings."""
    budget_seconds: Budget = 60


def join(config: JoinConfig, samples: Samples, *parts: Export, out: Path, scratch: Path, report: Report) -> Facts:
    """Fill `out` with the model of the family's size for the vocabulary of `samples`, with the weights of `parts`.

    `parts` are in the order of config.parts. Raises SourceError where one has another shape than the size
    gives it, RecipeError where the family is not joined from parts.
    """
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    kind = family(config.family)
    if kind.join is None:
        raise RecipeError(f"{config.family} is not joined from parts.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = kind.build(config.size, **kind.described(samples.json("samples.json")))
    kind.join(model, dict(zip(config.parts, (part.path for part in parts), strict=True)))
    save(model, samples.processor, out)
    report({"done": 1, "total": 1, "unit": "models"})
    return {"parameters": sum(parameter.numel() for parameter in model.parameters()), "parts": list(config.parts)}
