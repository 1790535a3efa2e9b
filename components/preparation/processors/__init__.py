"""Kinds of tokenizers that are trained here, found by their file: `processor("wordpiece")` is `PROCESSOR` of wordpiece.py."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from components.errors import UnknownName

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Processor:
    """One kind of tokenizer. Files beside this one hold one each, called `PROCESSOR`."""

    train: Callable[[Iterable[str], int], "Tokenizer"]
    """train(texts, vocab_size): a tokenizer of at most so many tokens; the same texts give the same one."""
    save: Callable[["Tokenizer", Path, int], None]
    """save(tokenizer, folder, context): the new folder that AutoTokenizer loads, whose settings name an eos_token, which
    ends a document, and a pad_token."""


def processors() -> list[str]:
    """Every kind that has a file here."""
    return sorted(module.name for module in iter_modules(__path__))


def processor(name: str) -> Processor:
    """The kind called `name`; raises UnknownName with the known ones."""
    if name not in processors():
        raise UnknownName("processor", name, processors())
    found: Processor = import_module(f"{__name__}.{name}").PROCESSOR
    return found
