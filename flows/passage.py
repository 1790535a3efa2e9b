"""One passage of a recipe through the lifecycle, as the flow's process sees it: its run, its lease, its record."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect.exceptions import Pause
from prefect.logging import get_run_logger

from components.digests import digest, file_digest
from components.errors import LeaseLost, ServiceError, SourceError
from components.ledger import Ledger, promotion, runs, work
from components.ledger.tables import SourceRow
from components.packages.fetch import fetch
from components.packages.names import is_package
from components.recipe import Recipe, Source
from components.recipe.sources import MODEL
from components.settings import Settings, settings
from components.sources import source_digest, source_files
from components.steps import Input, described
from components.store import Store, Stored
from flows.cancelling import drop
from flows.recipes import shipped_data

BEAT_SECONDS = 4.0


@dataclass
class Passage:
    """A run under way. Stage flows take it, and record through it what they did."""

    id: str
    recipe: Recipe
    resolved: dict[str, Any]
    attempt: int
    flow_run: str
    here: Settings
    ledger: Ledger
    store: Store
    outcome: dict[str, Any] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)
    """Pages to open, by what they are about"""
    taken: dict[str, Stored] = field(default_factory=dict)
    """The exports that models made elsewhere became, by source"""
    git: tuple[str | None, bool | None] = (None, None)
    dry: list[dict[str, str]] | None = None
    """Where set, steps are only looked at, and what would become of each is added here."""

    def source(self, name: str) -> Input:
        """A source of the recipe, as it was resolved when the run began."""
        found = self.resolved["sources"][name]
        return Input(
            f"source:{name}", "source", found["digest"], {k: found[k] for k in ("name", "licence", "origin", "path")}
        )

    def act(self, name: str, reconcile: Callable[[], bool]) -> None:
        """Bring the outside world to what the ledger says, and record whether anything had to change."""
        started = time.monotonic()
        for delay in (2, 8, 20, None):
            try:
                changed = reconcile()
                break
            except ServiceError:  # an engine that is being started again
                if delay is None:
                    raise
                time.sleep(delay)
        runs.acted(self.ledger, self.id, name, changed, time.monotonic() - started)

    def tags(self) -> dict[str, str]:
        """The ids that tie a run together, as they stand on MLflow runs, model versions and Ray jobs."""
        commit, dirty = self.git
        tags = {"headwater.run": self.id, "prefect.flow_run_id": self.flow_run, "headwater.recipe": self.recipe.name}
        return {**tags, "git.commit": commit or "none", "git.dirty": str(bool(dirty)).lower()}


@contextmanager
def passage(recipe: Recipe, flow: str, flow_run: str, flow_run_name: str, door: str) -> Iterator[Passage]:
    """Enter the run of this flow run, keep its lease while the block runs, and record how it ended."""
    here = settings()
    ledger, store = Ledger(here.ledger_url), Store(here.store)
    row = _own_run(ledger, recipe, flow, flow_run, flow_run_name, door, here)
    commit, dirty = git_state(Path(__file__).parent)
    try:
        resolved = row.resolved or resolve(recipe, ledger, here, get_run_logger().info)
    except Exception as error:
        runs.leave(ledger, row.id, None, "failed", error=described(error))
        raise
    row = runs.enter(ledger, row.id, resolved, commit, dirty)
    assert row.resolved is not None
    run = Passage(
        row.id, recipe, row.resolved, row.attempt, flow_run, here, ledger, store, git=(row.git_commit, row.git_dirty)
    )
    with _lease(ledger, run) as ended:
        try:
            yield run
        except Exception as error:
            status = "refused" if type(error).__name__ == "GateRefused" else "failed"
            runs.leave(ledger, run.id, run.attempt, status, run.outcome, described(error))
            drop(ledger, run.id)
            raise
        except Pause:  # suspended; `waiting` is on record
            ended.set()
            runs.yielded(ledger, run.id, run.attempt)
            raise
        except BaseException:
            ended.set()
            interrupted(run)
            raise
        else:
            runs.leave(ledger, run.id, run.attempt, "completed", run.outcome)


def resolve(recipe: Recipe, ledger: Ledger, here: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Every name in a recipe as a digest: sources by content, the champion by what it is now. `say` hears of downloads."""
    parts = {source.name: part_version(source, ledger) for source in recipe.sources if source.is_made_here}
    sources = {source.name: _found(source, here, say) for source in recipe.sources if source.name not in parts}
    for source in sources.values():
        work.add_source(ledger, SourceRow(**source))
    sources |= parts
    champion = promotion.champion(ledger, recipe.name)
    return {"sources": sources, "champion": champion.digest if champion else None}


def part_version(source: Source, ledger: Ledger) -> dict[str, Any]:
    """The version that a part names: the champion, or the one given. Raises SourceError where there is none."""
    name, _, version = source.path.removeprefix(MODEL).partition("/")
    if version:
        known = {row.version: row.digest for row in promotion.versions(ledger) if row.name == name}
        digest = known.get(version)
    else:
        champion = promotion.champion(ledger, name)
        digest, version = (champion.digest, str(champion.version)) if champion else (None, "")
    if digest is None:
        what = f"version {version} of {name!r}" if version else f"champion called {name!r}"
        raise SourceError(f"Source {source.name}: there is no {what} in this home. A recipe of that name makes one.")
    kept = {"name": source.name, "licence": source.licence, "origin": source.origin, "digest": digest}
    return {**kept, "path": f"{MODEL}{name}/{version}"}


def source_path(source: Source, home: Path, say: Callable[[str], None]) -> Path:
    """Where a source lies, packages after they were fetched into `home`; raises SourceError where nothing does."""
    if is_package(source.path):
        return fetch(source.path, home / "cache", sha256=source.sha256, say=say)
    kind, _, name = source.path.partition(":")
    path = shipped_data(name) if kind == "shipped" else Path(source.path)
    if not path.exists():
        raise SourceError(f"Source {source.name}: nothing at {path}.")
    if source.sha256 and (found := _sha256(path, home)) != source.sha256:
        raise SourceError(
            f"Source {source.name}: {path} has the SHA-256 {found}, the recipe wants {source.sha256}: not used."
        )
    return path


def _sha256(path: Path, home: Path) -> str:
    """Of a file; of a folder, the digest of its names and contents."""
    return file_digest(path) if path.is_file() else source_digest(path, home / "cache" / "source-digests.json")


def recipe_digest(recipe: Recipe, flow: str = "lifecycle") -> str:
    """The digest by which two submissions of one recipe to one flow are known to be the same."""
    content = recipe.model_dump(mode="json")
    return digest(content if flow == "lifecycle" else [flow, content])


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """The commit of the code in use and whether it was changed since; (None, None) outside a checkout."""
    try:
        ask = ["git", "-C", str(folder)]
        commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        changed = subprocess.run([*ask, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None, None
    return (commit.stdout.strip(), bool(changed.stdout.strip())) if commit.returncode == 0 else (None, None)


def _found(source: Source, here: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    path = source_path(source, here.home, say)
    files = source_files(path)
    return {
        "name": source.name,
        "licence": source.licence,
        "origin": source.origin,
        "path": str(path),
        "digest": source_digest(path, here.home / "cache" / "source-digests.json"),
        "num_bytes": sum(file.stat().st_size for file in files),
        "num_files": len(files),
    }


def _own_run(
    ledger: Ledger, recipe: Recipe, flow: str, flow_run: str, flow_run_name: str, door: str, here: Settings
) -> Any:
    """The ledger's run of this flow run: the one that the command opened under this name, or one of its own."""
    opened = runs.run(ledger, flow_run_name)
    if opened is not None and opened.flow_run in (None, flow_run):
        runs.bound(ledger, opened.id, flow_run)
        return opened
    content = recipe.model_dump(mode="json")
    by = here.user if door == "cli" else door
    # Part of the way is not what somebody who runs the whole recipe would follow.
    return runs.open_run(ledger, recipe.name, content, recipe_digest(recipe, flow), by=by, door=door, flow_run=flow_run)


def interrupted(run: Passage) -> None:
    """A signal ends this process (a cancellation, or the services go down): let the jobs go that only this run wants."""
    runs.yielded(run.ledger, run.id, run.attempt)
    drop(run.ledger, run.id)


@contextmanager
def _lease(ledger: Ledger, run: Passage) -> Iterator[threading.Event]:
    """Renew the run's lease; when another process has entered the run, this one must not go on."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT_SECONDS):
            try:
                runs.renew(ledger, run.id, run.attempt)
            except LeaseLost:
                if not done.is_set():
                    os.kill(os.getpid(), signal.SIGKILL)
            except Exception:  # a busy database is no reason to give a run up: the lease has three more beats
                continue

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        done.set()
