"""Registering a model in MLflow so that it is there once, and known by its digest."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.ledger import promotion as decisions
from flows.passage import Passage

if TYPE_CHECKING:
    from components.registry.versions import Version


def registered(
    run: Passage, name: str, digest: str, export: Path, *, tags: dict[str, str], card: str, scores: dict[str, float]
) -> tuple["Version", bool]:
    """The version of `name` with `digest`, and whether it had to be made.

    Intent in the ledger, version in MLflow, confirmation in the ledger.
    """
    from components.registry import versions

    intent = decisions.intend(run.ledger, name, digest, run.id)
    there = [version for version in versions.look(name) if version.digest == digest]
    if there and there[0].version == intent.version and intent.copies:
        return there[0], False
    example = {"input": run.recipe.rollout.prompt}
    number = versions.register(
        name, digest, export, tags=tags, card=card, scores=scores, example=example, experiment=name
    )
    files = versions.copies(name, number, run.here.home / "mlflow" / "artifacts")
    decisions.confirm(run.ledger, name, digest, number, {str(path): sha256 for path, sha256 in files})
    return next(version for version in versions.look(name) if version.version == number), True
