"""Filters: one file per rule, found by its name. A rule refuses a document with a reason, or lets it pass."""

from collections.abc import Callable, Iterable
from importlib import import_module
from pkgutil import iter_modules

from components.curation.quality import Quality
from components.errors import UnknownName

Rule = Callable[[str, Quality], str | None]
"""`refuse(text, quality)`: why the document is dropped, or None. A reason never quotes the text."""


def known() -> list[str]:
    """Every rule that has a file here."""
    return sorted(module.name for module in iter_modules(__path__))


def filters(names: Iterable[str]) -> dict[str, Rule]:
    """The rules called `names`, in that order; raises UnknownName with the known ones."""
    rules: dict[str, Rule] = {}
    for name in names:
        if name not in known():
            raise UnknownName("filter", name, known())
        rules[name] = import_module(f"{__name__}.{name}").refuse
    return rules


def first_refusal(text: str, quality: Quality, rules: dict[str, Rule]) -> tuple[str, str] | None:
    """The first rule that refuses a document, and its reason."""
    for name, refuse in rules.items():
        if (reason := refuse(text, quality)) is not None:
            return name, reason
    return None
