"""The commands by which people decide: approve, reject, deploy."""

import argparse
import json

from components.errors import NotYet, UnknownRef
from components.ledger import Ledger, promotion, runs
from components.recipe import Rollout
from components.settings import settings
from components.store import Store
from flows import housekeeping, refs


def approve(asked: argparse.Namespace) -> int:
    """Approve a candidate."""
    return _decide(asked, "approved")


def reject(asked: argparse.Namespace) -> int:
    """Reject a candidate."""
    return _decide(asked, "rejected")


def _decide(asked: argparse.Namespace, verdict: str) -> int:
    here = settings()
    ledger = Ledger(here.ledger_url)
    if "/" not in asked.version:
        raise UnknownRef(f"{asked.version!r}: a decision is about one version, as in MODEL/3.")
    row = refs.model_version(ledger, asked.version)
    candidate = promotion.latest_candidate(ledger, row.name, row.digest)
    if candidate is None:
        raise UnknownRef(f"{asked.version} was never gated, so there is nothing to decide.")
    waiting = promotion.waiting_runs(ledger, candidate.id)
    known = promotion.decision(ledger, candidate.id)
    if known is None or known.decision != verdict or not waiting:
        promotion.decide(ledger, candidate.id, verdict, by=asked.by, reason=asked.reason, how="command")
    if waiting:  # also those that an earlier, killed command has decided about and did not wake
        from flows.launch import resume

        housekeeping.ready(here, housekeeping.say)
        resume(ledger, waiting)
    found = {
        "name": row.name,
        "version": row.version,
        "digest": row.digest,
        "decision": verdict,
        "runs": [w.id for w in waiting],
    }
    by = known.by if known else asked.by
    goes_on = f"; run {waiting[0].id} goes on" if waiting else ""
    print(json.dumps(found) if asked.json else f"{asked.version}: {verdict} by {by} (as claimed){goes_on}")
    return 0


def deploy(asked: argparse.Namespace) -> int:
    """Serve an approved version as champion."""
    if asked.canary or asked.shadow:
        raise NotYet(f"deploy {'--canary' if asked.canary else '--shadow'}: not yet.")
    from flows.serving import aliased, deployed, endpoint, released

    here = settings()
    ledger, store = Ledger(here.ledger_url), Store(here.store)
    row = refs.model_version(ledger, asked.model)
    candidate = promotion.latest_candidate(ledger, row.name, row.digest)
    run = runs.run(ledger, candidate.run) if candidate else None
    if candidate is None or run is None:
        raise UnknownRef(f"{asked.model} was never gated, so it cannot be served.")
    housekeeping.ready(here, housekeeping.say)
    how = Rollout.model_validate(run.recipe["rollout"])
    changed = released(here, ledger, store, candidate, str(row.version), how, run.id)
    changed = deployed(here, ledger, store) or changed
    aliased(ledger, row.name)
    found = {
        "name": row.name,
        "version": row.version,
        "digest": row.digest,
        "changed": changed,
        "endpoint": endpoint(here),
    }
    print(json.dumps(found) if asked.json else f"{row.name}/{row.version} is served at {endpoint(here)}")
    return 0
