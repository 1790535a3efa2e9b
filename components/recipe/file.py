"""Reading recipes: from a TOML file with settings applied, or from JSON values, with errors a person can act on."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.errors import RecipeError
from components.packages.names import is_package
from components.recipe import (
    Adapter,
    CurateConfig,
    EvaluateConfig,
    GateConfig,
    ImagesConfig,
    ImageSet,
    PrepareConfig,
    Recipe,
    Rollout,
    Rule,
    ScaleConfig,
    Source,
    Task,
    TrainPhase,
)
from components.recipe.fields import Strict
from components.recipe.sources import MODEL


def read_recipe(path: Path, settings: Iterable[str] = ()) -> Recipe:
    """The recipe in the TOML file `path`, with `key.sub=value` settings applied and source paths made absolute.

    Raises RecipeError with one line that names the file and the key.
    """
    if path.is_dir():
        raise RecipeError(f"{path} is a folder, not a recipe: give one of its .toml files.")
    try:
        content = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise RecipeError(f"No recipe at {path}.") from None
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text (byte {error.start}), so it is no recipe.") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML: {error}.") from None
    if not content:
        raise RecipeError(f"{path} is empty: a recipe needs at least name, size, sources, train and gate.")
    for setting in settings:
        _apply(content, setting)
    recipe = validated(content, str(path))
    folder = path.resolve().parent
    sources = tuple(s.model_copy(update={"path": _absolute(s.path, folder)}) for s in recipe.sources)
    return recipe.model_copy(update={"sources": sources})


def validated(content: dict[str, Any], where: str) -> Recipe:
    """`content` as a Recipe; raises RecipeError naming each wrong key on one line."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        places = [e["loc"] for e in error.errors()]
        found = [e for e in error.errors() if not any(_is_inside(place, e["loc"]) for place in places)]
        unknown_first = sorted(found, key=lambda e: e["type"] != "extra_forbidden")
        wrong = [_explain(e, content) for e in unknown_first]
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise RecipeError(f"{where}: {'; '.join(wrong[:3])}{more}.") from None


def _is_inside(place: tuple[int | str, ...], of: tuple[int | str, ...]) -> bool:
    """Whether an error at `place` is why there is another at `of`: a list is short of what could not be read."""
    return len(place) > len(of) and place[: len(of)] == of


def _explain(error: Any, content: Any) -> str:
    names = []
    for part in error["loc"]:
        content = (
            content[part] if isinstance(content, list) or (isinstance(content, dict) and part in content) else None
        )
        named = isinstance(part, int) and isinstance(content, dict) and "name" in content
        names.append(str(content["name"] if named else part))  # type: ignore[index]
    where = ".".join(names) or "recipe"
    if error["type"] == "extra_forbidden":
        return f"{where}: no such key. Known here: {', '.join(_known(error['loc'][:-1]))}"
    given = f", got {error['input']!r:.60}" if not isinstance(error["input"], dict | list | tuple) else ""
    return f"{where}: {error['msg'].removeprefix('Value error, ')}{given}"


def _known(path: tuple[int | str, ...]) -> list[str]:
    """The keys of the model that stands at `path` of a recipe."""
    inner: dict[str, type[Strict]] = {
        "sources": Source,
        "curate": CurateConfig,
        "prepare": PrepareConfig,
        "train": TrainPhase,
        "adapter": Adapter,
        "evaluate": EvaluateConfig,
        "tasks": Task,
        "gate": GateConfig,
        "rules": Rule,
        "rollout": Rollout,
        "scale": ScaleConfig,
        "images": ImagesConfig,
        "sets": ImageSet,
    }
    names = [part for part in path if isinstance(part, str)]
    return list((inner[names[-1]] if names else Recipe).model_fields)


def _apply(content: dict[str, Any], setting: str) -> None:
    """Set `a.b=value` in `content`; a list is entered by index or by the `name` of one of its tables."""
    key, equals, text = setting.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z0-9_.-]+", key):
        raise RecipeError(f"--set {setting!r}: expected KEY=VALUE, as in --set prepare.vocab_size=4096.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.split(".")
    place: Any = content
    for part in parents:
        place = _enter(place, part, key)
    if isinstance(place, list):
        raise RecipeError(f"--set {key}: {last!r} names an entry, not one of its keys.")
    place[last] = value


def _enter(place: Any, part: str, key: str) -> Any:
    if isinstance(place, list):
        entries = {str(e.get("name", i)) if isinstance(e, dict) else str(i): e for i, e in enumerate(place)}
        entry = entries.get(part, place[int(part)] if part.isdigit() and int(part) < len(place) else None)
        if not isinstance(entry, dict):
            raise RecipeError(f"--set {key}: no {part!r} here. Known: {', '.join(entries)}.")
        return entry
    inside = place.setdefault(part, {})
    if not isinstance(inside, dict | list):
        raise RecipeError(f"--set {key}: {part!r} is a value and has no keys.")
    return inside


def _absolute(path: str, folder: Path) -> str:
    if path.startswith(("shipped:", MODEL)) or is_package(path):
        return path
    try:
        return str((folder / Path(path).expanduser()).resolve())
    except (RuntimeError, ValueError, OSError) as error:
        raise RecipeError(f"{path!r} is no path: {error}.") from None
