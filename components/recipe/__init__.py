"""A recipe: everything about one run that is not a fact of a machine, in one frozen model.

A recipe is one TOML file. What changes bits is in it; addresses, folders and credentials never are
(`components.settings`). Fields marked `PLACE` say how work is done and not what comes out of it, so they are left
out of a step's identity.
"""

from components.recipe.fields import PLACE, Strict
from components.recipe.identity import identity_fields
from components.recipe.images import ImagesConfig, ImageSet
from components.recipe.phase import Adapter, TrainPhase
from components.recipe.sources import Source
from components.recipe.tables import (
    CurateConfig,
    EvaluateConfig,
    GateConfig,
    PrepareConfig,
    Rollout,
    Rule,
    ScaleConfig,
    Task,
)
from components.recipe.whole import Recipe

__all__ = [
    "PLACE",
    "Adapter",
    "CurateConfig",
    "EvaluateConfig",
    "GateConfig",
    "ImageSet",
    "ImagesConfig",
    "PrepareConfig",
    "Recipe",
    "Rollout",
    "Rule",
    "ScaleConfig",
    "Source",
    "Strict",
    "Task",
    "TrainPhase",
    "identity_fields",
]
