"""Model families, found by their file: `family("llama")` is `FAMILY` of llama.py."""

from importlib import import_module
from pkgutil import iter_modules

from components.errors import UnknownName
from components.models.base import ModelFamily


def families() -> list[str]:
    """Every family that has a file here."""
    return sorted(module.name for module in iter_modules(__path__) if module.name not in ("base", "folder"))


def family(name: str) -> ModelFamily:
    """The family called `name`; raises UnknownName with the known ones."""
    if name not in families():
        raise UnknownName("model family", name, families())
    found: ModelFamily = import_module(f"{__name__}.{name}").FAMILY
    return found
