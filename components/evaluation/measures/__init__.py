"""Measures, found by their file: `measure("masked_lm")` is `MEASURE` of masked_lm.py."""

from importlib import import_module
from pkgutil import iter_modules

from components.errors import UnknownName
from components.evaluation.measures.base import Measure


def measures() -> list[str]:
    """Every measure that has a file here."""
    return sorted(module.name for module in iter_modules(__path__) if module.name != "base")


def measure(name: str) -> Measure:
    """The measure called `name`; raises UnknownName with the known ones."""
    if name not in measures():
        raise UnknownName("measure", name, measures())
    found: Measure = import_module(f"{__name__}.{name}").MEASURE
    return found
