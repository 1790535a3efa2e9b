"""Serving: an approved model becomes the champion, once the new version has answered beside the old one."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from components.ledger import Ledger, promotion
from components.ledger.tables import CandidateRow, ReleaseRow
from components.models import family_of
from components.recipe import Rollout
from components.services.secrets import secret_file
from components.services.site import site_of
from components.serving import rollout
from components.serving.examples import example
from components.serving.rollout import Release
from components.serving.smoke import smoke_test
from components.settings import Settings
from components.store import Store
from flows.passage import Passage


def serving(run: Passage, candidate: CandidateRow) -> None:
    """Release an approved candidate, and bring Ray Serve and MLflow's aliases to what the ledger then says."""
    version = run.outcome["model"]["version"]
    run.act(
        "release", lambda: released(run.here, run.ledger, run.store, candidate, version, run.recipe.rollout, run.id)
    )
    run.act("deploy", lambda: deployed(run.here, run.ledger, run.store))
    run.act("aliases", lambda: aliased(run.ledger, run.recipe.name))
    run.outcome["endpoint"] = endpoint(run.here)
    engine = family_of(run.store.open(candidate.digest).path).engine
    run.outcome["example"] = example(engine, run.recipe.name, run.recipe.rollout.prompt)


def released(
    here: Settings, ledger: Ledger, store: Store, candidate: CandidateRow, version: str, how: Rollout, run_id: str
) -> bool:
    """Try an approved version beside the champion and, when it answers, make it the champion in the ledger."""
    row = ReleaseRow(
        name=candidate.name,
        digest=candidate.digest,
        version=version,
        candidate=candidate.id,
        rollout=how.model_dump(mode="json", include={"replicas", "threads"}),
        run=run_id,
        at=time.time(),
    )
    with _alone(here):
        champion = promotion.champion(ledger, candidate.name)
        if champion and (champion.digest, champion.rollout) == (row.digest, row.rollout):
            return False
        promotion.may_be_released(ledger, row)
        if champion is None or champion.digest != row.digest:
            _bring(here, [*releases(ledger, store), release_of(row, store, champion=False)])
            try:
                key = site_of(here.home).secret("api_key")
                engine = family_of(store.open(row.digest).path).engine
                smoke_test(endpoint(here), key, f"{row.name}/{row.version}", how.prompt, engine)
            except Exception:
                _bring(here, releases(ledger, store))
                raise
        return promotion.release(ledger, row)


def deployed(here: Settings, ledger: Ledger, store: Store) -> bool:
    """Bring Ray Serve to exactly the champions of the ledger."""
    with _alone(here):
        return _bring(here, releases(ledger, store))


def aliased(ledger: Ledger, name: str) -> bool:
    """Bring MLflow's alias `champion` to what the ledger says, and take `candidate` from a version that is champion."""
    from components.registry import versions

    champion = promotion.champion(ledger, name)
    if champion is None:
        return False
    aliases = {word: row.version for row in versions.look(name) for word in row.aliases}
    changed = aliases.get("champion") != champion.version and versions.alias(name, "champion", champion.version)
    if aliases.get("candidate") == champion.version:
        changed = versions.unalias(name, "candidate") or changed
    return changed


def releases(ledger: Ledger, store: Store) -> list[Release]:
    """What should be serving: the champion of every model name."""
    return [release_of(row, store, champion=True) for row in promotion.champions(ledger)]


def release_of(row: ReleaseRow, store: Store, champion: bool) -> Release:
    """A release as the rollout takes it."""
    how = Rollout.model_validate(row.rollout)
    folder = store.open(row.digest).path
    return Release(
        row.name, row.version, row.digest, folder, how.replicas, how.threads, champion, int(row.at) if champion else 0
    )


@contextmanager
def _alone(here: Settings) -> Iterator[None]:
    """One writer of Serve's config at a time: whoever writes it erases what they do not name."""
    with (here.home / "serving.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _bring(here: Settings, wanted: list[Release]) -> bool:
    """Bring the Serve of this home to `wanted`; whether anything had to change."""
    site = site_of(here.home)
    want = rollout.desired(wanted, port=site.port("serve"), api_key_file=secret_file(here.home, "api_key"))
    return rollout.reconcile(want, dashboard=site.url("ray"), token=site.secret("ray_token"))


def endpoint(here: Settings) -> str:
    """Where an OpenAI client finds the models of this home."""
    return f"{site_of(here.home).url('serve')}/v1"
