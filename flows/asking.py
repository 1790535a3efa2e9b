"""The commands that ask: runs, models, show, why, logs, diff, verify, export."""

import argparse
import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from components.errors import HeadwaterError, InputError, ServiceError
from components.ledger import Ledger, queries, runs
from components.ledger.tables import RunRow
from components.settings import Settings, settings
from components.store import Store
from flows import housekeeping, lineage, refs


def list_runs(asked: argparse.Namespace) -> int:
    """The newest runs."""
    rows = [
        {
            "run": row.id,
            "recipe": row.name,
            "status": row.status,
            "started": datetime.fromtimestamp(row.created).astimezone().isoformat(" ", "seconds"),
            "by": row.started_by,
            "door": row.door,
        }
        for row in runs.all_runs(_ledger())
    ]
    return _answer(asked, {"runs": rows}, rows, "No runs yet: `headwater run demo` makes the first.")


def list_models(asked: argparse.Namespace) -> int:
    """Every registered version."""
    rows = lineage.models(_ledger())
    short = [{**row, "digest": row["digest"][:8]} for row in rows]
    return _answer(asked, {"versions": rows}, short, "No models yet: `headwater run demo` makes the first.")


def show(asked: argparse.Namespace) -> int:
    """What there is to know of a REF."""
    here = settings()
    found = lineage.show(Ledger(here.ledger_url), Store(here.store), asked.ref)
    print(json.dumps(found) if asked.json else json.dumps(found, indent=2))
    return 0


def why(asked: argparse.Namespace) -> int:
    """The lineage of a REF."""
    from flows.display import print_tree

    tree = lineage.why(_ledger(), asked.ref)
    print(json.dumps(tree)) if asked.json else print_tree(tree)
    return 0


def diff(asked: argparse.Namespace) -> int:
    """What differs between two runs or versions."""
    found = lineage.diff(_ledger(), asked.a, asked.b)
    print(json.dumps(found) if asked.json else json.dumps(found, indent=2))
    return 0


def logs(asked: argparse.Namespace) -> int:
    """What the flow and the jobs behind a REF have printed."""
    here = settings()
    ledger = Ledger(here.ledger_url)
    ref = refs.look_up(ledger, asked.ref)
    if ref.run is not None:
        _print_flow_log(here, ref.run)
        steps = queries.steps_with_submission(ledger, ref.run.id)
    else:
        assert ref.artifact is not None
        made = queries.maker(ledger, ref.artifact.digest)
        steps = [made] if made and made.submission else []
    for step in steps:
        print(f"--- {step.name}, Ray job {step.submission}")
        kept = here.job_log(str(step.submission))
        print(kept.read_text() if kept.exists() else _living_log(here, str(step.submission)))
    return 0


def _print_flow_log(here: Settings, run: RunRow) -> None:
    from flows.flow_runs import flow_logs

    try:
        housekeeping.join(here)
        for line in flow_logs(run):
            print(line)
    except ServiceError as error:
        print(f"(the flow's log cannot be read: {error})")


def _living_log(here: Settings, submission: str) -> str:
    """What a job that is under way has printed so far."""
    from components.jobs.client import Jobs

    try:
        housekeeping.join(here)
        return Jobs().logs(submission) or "(it has printed nothing)"
    except ServiceError as error:
        return f"(no log was kept: {error})"


def verify(asked: argparse.Namespace) -> int:
    """Recompute every digest; exit status 1 where a file is not what it should be."""
    from flows.verifying import every_file

    here = settings()
    checked, bad = 0, []
    for path, damage in every_file(Ledger(here.ledger_url), Store(here.store), here.scratch):
        checked += 1
        if damage:
            bad.append({"path": str(path), "expected": damage.expected, "found": damage.found})
    if asked.json:
        print(json.dumps({"checked": checked, "bad": bad}))
    else:
        for row in bad:
            print(f"{row['path']}: {row['found']}, expected {row['expected']}")
        print(f"{checked} files checked, {len(bad)} damaged")
    return 1 if bad else 0


def export(asked: argparse.Namespace) -> int:
    """Copy a model's folder out of the store, or write it as one GGUF file."""
    here = settings()
    row = refs.model_version(Ledger(here.ledger_url), asked.model)
    stored, to = Store(here.store).open(row.digest, verify=True), Path(asked.to)
    as_gguf = to.suffix == ".gguf"
    if to.exists() and (as_gguf or not to.is_dir() or any(to.iterdir())):
        raise InputError(f"{to} exists{'' if as_gguf else ' and is not an empty folder'}.")
    try:
        if as_gguf:
            from components.bases.gguf import write_gguf

            write_gguf(stored.path, to, f"{row.name}/{row.version}")
        else:
            shutil.copytree(stored.path, to, dirs_exist_ok=True)
    except OSError as error:
        raise HeadwaterError(f"{to} cannot be written: {error}") from None
    found = {"name": row.name, "version": row.version, "digest": row.digest, "path": str(to.absolute())}
    print(json.dumps(found) if asked.json else f"{row.name}/{row.version} is in {to.absolute()}")
    return 0


def _ledger() -> Ledger:
    return Ledger(settings().ledger_url)


def _answer(asked: argparse.Namespace, whole: dict[str, Any], rows: list[dict[str, Any]], empty: str) -> int:
    from flows.display import print_rows

    print(json.dumps(whole)) if asked.json else print_rows(rows, list(rows[0]) if rows else [], empty)
    return 0
