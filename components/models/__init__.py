"""Model families, found by their file: `family("llama")` is `FAMILY` of llama.py."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from components.errors import StoreError, UnknownName
from components.models.base import ModelFamily


def families() -> list[str]:
    """Every family that has a file here."""
    return sorted(module.name for module in iter_modules(__path__) if module.name not in ("base", "encoders", "folder"))


def family(name: str) -> ModelFamily:
    """The family called `name`; raises UnknownName with the known ones."""
    if name not in families():
        raise UnknownName("model family", name, families())
    found: ModelFamily = import_module(f"{__name__}.{name}").FAMILY
    return found


def family_of(folder: Path) -> ModelFamily:
    """The family of the model in an exported folder, by the architecture that its config.json names.

    A decoder of no family here (an adopted one) is measured and served as the others are. Raises StoreError where the
    architecture is neither.
    """
    try:
        named = str((json.loads((folder / "config.json").read_text())["architectures"] or ["none"])[0])
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{folder} does not say what model it holds: {error}.") from None
    known = [found for found in map(family, families()) if named in found.architectures]
    if not known and named.endswith(("ForCausalLM", "LMHeadModel")):
        return replace(family("llama"), name=named, architectures=(named,), sizes={})
    if not known:
        raise StoreError(f"{folder} holds a {named}, which is of no family. Known: {', '.join(families())}.")
    return known[0]
