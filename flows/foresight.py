"""What a run would do, without doing it: the same flows, in which steps are only looked at."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from components.ledger import queries, work
from components.recipe import identity_fields
from components.steps import Input, Step, finished, identity
from components.store import Stored
from flows.passage import Passage

UNKNOWN = "unknown"
"""The digest of what an earlier step would make."""


def dry(run: Passage) -> Passage:
    """`run`, in which steps are only looked at."""
    return replace(run, dry=[])


def foreseen(run: Passage, what: Step, config: BaseModel, inputs: Sequence[Input], label: str) -> Stored:
    """Note whether a step would run, be skipped, or cannot be foreseen, and why; what it gave, or an unknown."""
    assert run.dry is not None
    if any(given.digest == UNKNOWN for given in inputs):
        waits = next(given.role for given in inputs if given.digest == UNKNOWN)
        run.dry.append({"name": label, "would": "unknown", "because": f"a step that would run makes its {waits}"})
        return Stored(UNKNOWN, what.kind, Path(), 0, 0)
    name = identity(what, config, inputs)
    row = work.step(run.ledger, name)
    known = finished(run.ledger, run.store, row) if row else None
    if known:
        run.dry.append({"name": label, "would": "skip", "because": f"{known.kind} {known.digest[:8]} is there"})
        return known
    run.dry.append({"name": label, "would": "run", "because": _because(run, what, config, inputs, label)})
    return Stored(UNKNOWN, what.kind, Path(), 0, 0)


def _because(run: Passage, what: Step, config: BaseModel, inputs: Sequence[Input], label: str) -> str:
    """The first field or digest in which this step differs from the last one of its name in this recipe."""
    last = queries.last_finished(run.ledger, run.recipe.name, label)
    if last is None:
        return "it was never done"
    if last.version != what.version:
        return f"its code is version {what.version}, was {last.version}"
    differences = [*_changed(identity_fields(config), last.config, what.name), *_moved(inputs, last.inputs)]
    return "; ".join(differences[:3]) or "its artifact is gone"


def _changed(new: dict[str, Any], old: dict[str, Any], where: str) -> list[str]:
    found = []
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            found += _changed(value, before, f"{where}.{key}")
        elif value != before:
            found.append(f"{where}.{key} is {value!r}, was {before!r}")
    return found


def _moved(new: Sequence[Input], old: list[dict[str, Any]]) -> list[str]:
    before = {given["role"]: given for given in old}
    found = []
    for given in new:
        was = before.pop(given.role, None)
        if was is None:
            found.append(f"{given.role} is new")
        elif given.identity() != {key: value for key, value in was.items() if key != "path"}:
            change = (
                f"{was['digest'][:8]} -> {given.digest[:8]}"
                if was["digest"] != given.digest
                else "its licence or origin changed"
            )
            found.append(f"{given.role}: {change}")
    return found + [f"{role} is gone" for role in before]
