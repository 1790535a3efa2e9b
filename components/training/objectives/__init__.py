"""Objectives, found by their file: `objective("sft")` is `OBJECTIVE` of sft.py."""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from components.errors import UnknownName

if TYPE_CHECKING:
    from components.training.objectives.base import Objective


def objectives() -> list[str]:
    """Every objective that has a file here."""
    return sorted(module.name for module in iter_modules(__path__) if module.name != "base")


def objective(name: str) -> "Objective":
    """The objective called `name`; raises UnknownName with the known ones."""
    if name not in objectives():
        raise UnknownName("objective", name, objectives())
    found: Objective = import_module(f"{__name__}.{name}").OBJECTIVE
    return found
