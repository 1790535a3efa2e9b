"""Registered versions: one for each digest, with its tags and aliases."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from components.errors import ServiceError, UnknownRef
from components.registry.connection import (
    DIGEST,
    FILES,
    create_unless_there,
    experiment_id,
    mlflow_client,
    run_by_identity,
)
from components.registry.logged import expected_files, logged_model


@dataclass(frozen=True)
class Version:
    """A registered version as MLflow shows it."""

    name: str
    version: str
    digest: str
    aliases: tuple[str, ...]
    tags: dict[str, str] = field(default_factory=dict)


def register(
    name: str,
    digest: str,
    export: Path,
    *,
    tags: dict[str, str],
    card: str,
    scores: dict[str, float],
    example: dict[str, str],
    experiment: str,
) -> str:
    """The version of `name` that holds `digest`: the one that is there, or a new one. `example`: {"input": text}.

    The weights are copied once. Version and tags are created in one call, and if two processes were at it at once the
    lower number stays. Raises ServiceError.
    """
    with mlflow_client() as client:
        version = _with_digest(client, name, digest)
        if version is None:
            place = experiment_id(client, experiment)
            run = run_by_identity(client, place, f"{name} {digest[:8]}", f"version-{name}-{digest}", {DIGEST: digest})
            model = logged_model(
                client, place, name, digest, export, run_id=run.info.run_id, card=card, example=example
            )
            _log_scores(client, run, model, scores)
            create_unless_there(lambda: client.create_registered_model(name))
            all_tags = {**tags, DIGEST: digest, FILES: model.tags[FILES]}
            client.create_model_version(
                name, model.artifact_location, run.info.run_id, all_tags, description=card, model_id=model.model_id
            )
            version = _with_digest(client, name, digest)
        for key, value in tags.items():
            if version.tags.get(key) != value:
                client.set_model_version_tag(name, version.version, key, value)
    return str(version.version)


def alias(name: str, alias: str, version: str) -> bool:
    """Point `alias` of `name` at `version`; whether it pointed elsewhere. Raises ServiceError."""
    with mlflow_client() as client:
        if client.get_registered_model(name).aliases.get(alias) == str(version):
            return False
        client.set_registered_model_alias(name, alias, str(version))
    return True


def unalias(name: str, alias: str) -> bool:
    """Remove `alias` from `name`; whether it was there. Raises ServiceError."""
    with mlflow_client() as client:
        if alias not in client.get_registered_model(name).aliases:
            return False
        client.delete_registered_model_alias(name, alias)
    return True


def look(name: str) -> list[Version]:
    """The versions of `name`, oldest first; none if there is no such model. Raises ServiceError."""
    with mlflow_client() as client:
        rows = _versions(client, name)
        aliases: dict[str, list[str]] = {}
        if rows:
            for word, version in client.get_registered_model(name).aliases.items():
                aliases.setdefault(str(version), []).append(word)
        return [
            Version(
                name, str(v.version), v.tags.get(DIGEST, ""), tuple(sorted(aliases.get(str(v.version), ()))), v.tags
            )
            for v in rows
        ]


def copies(name: str, version: str, artifacts_root: Path) -> list[tuple[Path, str]]:
    """Every file of MLflow's copy with the SHA-256 it must have; `artifacts_root` is the server's artifact folder.

    Raises ServiceError, and UnknownRef for a version that is not there.
    """
    with mlflow_client() as client:
        found = [row for row in _versions(client, name) if str(row.version) == str(version)]
        if not found:
            raise UnknownRef(f"MLflow has no version {name}/{version}.")
        place = urlparse(client.get_model_version_download_uri(name, str(version)))
        files = found[0].tags.get(FILES, "")
    folder = artifacts_root / unquote(place.path).lstrip("/")
    if place.scheme != "mlflow-artifacts" or not folder.resolve().is_relative_to(artifacts_root.resolve()):
        raise ServiceError(f"The files of {name}/{version} are not under {artifacts_root}: {place.geturl()}.")
    return expected_files(folder, files)


def _versions(client: Any, name: str) -> list[Any]:
    rows: list[Any] = []
    token = None
    while token is None or token:
        page = client.search_model_versions(f"name = '{name}'", max_results=200, page_token=token or None)
        rows, token = rows + list(page), page.token or ""
    return sorted(rows, key=lambda row: int(row.version))


def _with_digest(client: Any, name: str, digest: str) -> Any:
    """The lowest version that holds `digest`; higher ones without an alias come from a race and are removed."""
    found = [row for row in _versions(client, name) if row.tags.get(DIGEST) == digest]
    for surplus in found[1:]:
        if not client.get_model_version(name, surplus.version).aliases:
            client.delete_model_version(name, surplus.version)
    return found[0] if found else None


def _log_scores(client: Any, run: Any, model: Any, scores: dict[str, float]) -> None:
    """The scores on the run that stands for this version, tied to the model; then the run is over."""
    import time

    from mlflow.entities import Metric

    now = int(1000 * time.time())
    fresh = [
        Metric(key, float(value), now, 0, model_id=model.model_id, run_id=run.info.run_id)
        for key, value in scores.items()
        if key not in run.data.metrics
    ]
    if fresh:
        client.log_batch(run.info.run_id, metrics=fresh)
    if run.info.status != "FINISHED":
        client.set_terminated(run.info.run_id, "FINISHED")
