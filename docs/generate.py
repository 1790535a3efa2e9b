"""Writes the generated part of docs/recipes.md and docs/cli.md from the code: `python docs/generate.py`.

What stands above the line MARK in a page is written by hand and left alone. With `--check` nothing is written; the
exit status is 1 where a page is out of date, or quotes code (`<!-- quoted from FILE -->` before a block) that FILE does
not contain.
"""

import argparse
import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from components import recipe
from components.curation.filters import known
from components.curation.privacy import MASKS
from components.models import families, family
from components.training.objectives import objectives
from flows import cli

DOCS = Path(__file__).parent
MARK = "<!-- what follows is written by docs/generate.py -->\n"
QUOTED = re.compile(r"<!-- quoted from (\S+) -->\n```\w*\n(.*?)```", re.DOTALL)
TABLES: dict[str, type[BaseModel]] = {
    "Top of the file": recipe.Recipe,
    "[[sources]]": recipe.Source,
    "[curate]": recipe.CurateConfig,
    "[images]": recipe.ImagesConfig,
    "[[images.sets]]": recipe.ImageSet,
    "[prepare]": recipe.PrepareConfig,
    "[[train]]": recipe.TrainPhase,
    "[train.adapter]": recipe.Adapter,
    "[evaluate]": recipe.EvaluateConfig,
    "[[evaluate.tasks]]": recipe.Task,
    "[gate]": recipe.GateConfig,
    "[[gate.rules]]": recipe.Rule,
    "[rollout]": recipe.Rollout,
    "[scale]": recipe.ScaleConfig,
}
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def recipes() -> str:
    """Every key of a recipe, and the names that its values may be."""
    tables = "\n".join(f"## {title}\n\n{_table(model)}" for title, model in TABLES.items())
    sizes = "\n".join(f'- `family = "{name}"`: sizes {_code(family(name).sizes)}' for name in families())
    names = f"- `objective`: {_code(objectives())}\n- `filters`: {_code(known())}\n- `mask`: {_code(MASKS)}\n"
    return f"{tables}\n## Names that exist\n\n{sizes}\n{names}"


def commands() -> str:
    """`headwater --help`, and that of every command."""
    os.environ["COLUMNS"] = "100"
    subparsers = next(a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
    return "\n".join(
        f"## headwater {name}\n\n```\n{_help(name)}```\n".replace(" \n", "\n") for name in ("", *subparsers.choices)
    )


def stale_quotes() -> Iterator[str]:
    """The quotations in docs/ and README.md that their files do not contain, whatever the indentation."""
    for page in sorted([*DOCS.glob("*.md"), DOCS.parent / "README.md"]):
        for name, quotation in QUOTED.findall(page.read_text()):
            if _flat(quotation) not in _flat((DOCS.parent / name).read_text()):
                yield f"{page.name}: a quotation is not in {name}: {quotation.strip().splitlines()[0]}"


def _table(model: type[BaseModel]) -> str:
    rows = "\n".join(f"| `{name}` | {_default(f)} | {_meaning(name, f)} |" for name, f in model.model_fields.items())
    return f"{model.__doc__}\n\n| key | default | meaning |\n|---|---|---|\n{rows}\n"


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if isinstance(value, BaseModel):
        return "its defaults"
    return "none" if value is None else f"`{json.dumps(value)}`"


def _meaning(name: str, field: FieldInfo) -> str:
    place = isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("identity") is False
    choices = [value for value in getattr(field.annotation, "__args__", ()) if isinstance(value, str)]
    bounds = [f"{BOUNDS[key]} {value}" for rule in field.metadata for key, value in _bounds(rule) if key in BOUNDS]
    told = [field.description or f"The table `[{name}]`.", f"One of {_code(choices)}." if choices else ""]
    told += [f"({', '.join(bounds)})" if bounds else "", "*Not in the identity.*" if place else ""]
    return " ".join(filter(None, told))


def _bounds(rule: object) -> Iterator[tuple[str, object]]:
    return ((key, getattr(rule, key)) for key in BOUNDS if hasattr(rule, key))


def _help(name: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        cli.main([*filter(None, [name]), "--help"])
    return printed.getvalue()


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _flat(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def main() -> int:
    """Write the pages, or say which are out of date."""
    stale = []
    for page, text in {"recipes.md": recipes(), "cli.md": commands()}.items():
        before = (DOCS / page).read_text()
        fresh = before.partition(MARK)[0] + MARK + text
        if "--check" not in sys.argv[1:]:
            (DOCS / page).write_text(fresh)
        elif before != fresh:
            stale.append(f"docs/{page} is out of date: python docs/generate.py")
    stale += stale_quotes()
    print(*stale, sep="\n", end="\n" if stale else "")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
