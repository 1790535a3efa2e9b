"""Lineage: from anything down to the sources it was made of, with their licences."""

from typing import Any

from components.errors import UnknownRef
from components.ledger import Ledger, promotion, queries, runs
from components.ledger.tables import RunRow, VersionRow
from components.recipe.sources import MODEL
from components.store import Store
from flows.refs import Ref, look_up
from flows.summary import summary


def why(ledger: Ledger, text: str) -> dict[str, Any]:
    """The tree below a REF: {"ref", "kind", "digest", "inputs": [the same, nested]} with the ids of what made each."""
    ref = look_up(ledger, text)
    if ref.run is not None:
        return _of_run(ledger, ref)
    assert ref.artifact is not None
    tree = artifact_tree(ledger, ref.artifact.digest, ref.artifact.kind)
    if ref.version is None:
        return {"ref": text, **tree}
    candidate = promotion.latest_candidate(ledger, ref.version.name, ref.version.digest)
    decision = promotion.decision(ledger, candidate.id) if candidate else None
    top: dict[str, Any] = {"ref": text, "kind": "version", "digest": ref.version.digest, "inputs": [tree]}
    top["alias"] = ", ".join(_aliases(ledger, ref.version)) or "none"
    if candidate:
        top["inputs"] += [artifact_tree(ledger, candidate.verdict, "verdict")]
        top["run"] = candidate.run
    if decision:
        top["decision"] = {
            "decision": decision.decision,
            "by": decision.by,
            "reason": decision.reason,
            "how": decision.how,
        }
    return top


def artifact_tree(ledger: Ledger, digest: str, kind: str) -> dict[str, Any]:
    """An artifact with the step that made it and, below, what that step was given."""
    node: dict[str, Any] = {"ref": digest[:8], "kind": kind, "digest": digest, "inputs": []}
    made = queries.maker(ledger, digest)
    if made is None:
        return node
    node |= {"step": made.name, "identity": made.identity, "submission": made.submission, "run": made.run}
    row = runs.run(ledger, made.run) if made.run else None
    if row is not None:
        node |= {"flow_run": row.flow_run, "git_commit": row.git_commit, "git_dirty": row.git_dirty}
    if (made.facts or {}).get("mlflow_run"):
        node["mlflow_run"] = made.facts["mlflow_run"]  # type: ignore[index]
    for given in made.inputs:
        if given["kind"] == "source":
            leaf = {key: given[key] for key in ("kind", "digest", "name", "licence", "origin", "path")}
            node["inputs"].append({"ref": given["name"], **leaf, "inputs": []})
        elif given["kind"] != "none":
            node["inputs"].append(artifact_tree(ledger, given["digest"], given["kind"]))
    return node


def show(ledger: Ledger, store: Store, text: str) -> dict[str, Any]:
    """What there is to know of a REF, with its absolute path."""
    ref = look_up(ledger, text)
    if ref.run is not None:
        known = {"ref": text, "kind": "run", "digest": ref.run.recipe_digest, "path": str(store.root.parent.absolute())}
        return {
            **known,
            **summary(ledger, ref.run),
            "recipe": ref.run.recipe,
            "started_by": ref.run.started_by,
            "door": ref.run.door,
        }
    assert ref.artifact is not None
    stored = store.open(ref.artifact.digest)
    made = queries.maker(ledger, stored.digest)
    found: dict[str, Any] = {
        "ref": text,
        "kind": stored.kind,
        "digest": stored.digest,
        "path": str(stored.path.absolute()),
    }
    found |= {
        "num_bytes": stored.num_bytes,
        "num_files": stored.num_files,
        "files": sorted(p.name for p in stored.path.iterdir()),
    }
    if made:
        found |= {"step": made.name, "identity": made.identity, "facts": made.facts}
    if ref.version:
        found |= {"name": ref.version.name, "version": ref.version.version}
        candidate = promotion.latest_candidate(ledger, ref.version.name, ref.version.digest)
        if candidate:
            evaluation, verdict = store.open(candidate.evaluation).path, store.open(candidate.verdict).path
            found |= {
                "evaluation": str(evaluation / "report.html"),
                "gate": str(verdict / "report.html"),
                "run": candidate.run,
            }
    return found


def models(ledger: Ledger) -> list[dict[str, Any]]:
    """Every registered version with its aliases and what was decided."""
    rows = []
    for row in promotion.versions(ledger):
        if row.version is None:
            continue
        candidate = promotion.latest_candidate(ledger, row.name, row.digest)
        decision = promotion.decision(ledger, candidate.id) if candidate else None
        status = decision.decision if decision else "waiting" if candidate else "base"
        made = {"name": row.name, "version": row.version, "digest": row.digest, "aliases": _aliases(ledger, row)}
        rows.append({**made, "status": status, "stale": _outdated_parts(ledger, row.run)})
    return rows


def _outdated_parts(ledger: Ledger, name: str) -> list[str]:
    """The models that a run took as parts for being champions, and that are not any more."""
    run = runs.run(ledger, name)
    if run is None or not run.resolved:
        return []
    taken = [
        (source["path"].removeprefix(MODEL), run.resolved["sources"][source["name"]]["digest"])
        for source in run.recipe["sources"]
        if source["path"].startswith(MODEL) and "/" not in source["path"]
    ]
    champions = {part: promotion.champion(ledger, part) for part, _ in taken}
    return [part for part, digest in taken if (now := champions[part]) and now.digest != digest]


def _aliases(ledger: Ledger, row: VersionRow) -> list[str]:
    """champion, for what is released; candidate, for the newest version if it is not."""
    released = promotion.champion(ledger, row.name)
    if released and released.digest == row.digest:
        return ["champion"]
    newest = promotion.versions(ledger, row.name)[-1]
    candidate = promotion.latest_candidate(ledger, row.name, row.digest)
    decided = promotion.decision(ledger, candidate.id) if candidate else None
    return (
        ["candidate"]
        if candidate and newest.digest == row.digest and not (decided and decided.decision == "rejected")
        else []
    )


def diff(ledger: Ledger, a: str, b: str) -> dict[str, Any]:
    """What differs between two runs (or the runs that made two artifacts): recipe fields, steps and scores."""
    one, two = (_run_of(ledger, look_up(ledger, text)) for text in (a, b))
    steps = [{s.name: s.identity for s in runs.steps_of(ledger, row.id)} for row in (one, two)]
    names = list(dict.fromkeys([*steps[0], *steps[1]]))
    scores = [(row.outcome or {}).get("scores", {}) for row in (one, two)]
    return {
        "a": one.id,
        "b": two.id,
        "recipe": _differences(one.recipe, two.recipe),
        "steps": [
            {"name": n, "a": steps[0].get(n), "b": steps[1].get(n)} for n in names if steps[0].get(n) != steps[1].get(n)
        ],
        "scores": {n: [scores[0].get(n), scores[1].get(n)] for n in dict.fromkeys([*scores[0], *scores[1]])},
    }


def _run_of(ledger: Ledger, ref: Ref) -> RunRow:
    if ref.run is not None:
        return ref.run
    assert ref.artifact is not None
    made = queries.maker(ledger, ref.artifact.digest)
    row = runs.run(ledger, made.run) if made and made.run else None
    if row is None:
        raise UnknownRef(f"{ref.text} was made by no run of this ledger, so there is nothing to compare.")
    return row


def _differences(a: Any, b: Any, where: str = "") -> dict[str, list[Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        found: dict[str, list[Any]] = {}
        for key in dict.fromkeys([*a, *b]):
            found |= _differences(a.get(key), b.get(key), f"{where}.{key}".lstrip("."))
        return found
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        found = {}
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            found |= _differences(x, y, f"{where}.{x.get('name', i) if isinstance(x, dict) else i}")
        return found
    return {} if a == b else {where: [a, b]}


def _of_run(ledger: Ledger, ref: Ref) -> dict[str, Any]:
    assert ref.run is not None
    digest = ((ref.run.outcome or {}).get("model") or {}).get("digest")
    below = [artifact_tree(ledger, digest, "export")] if digest else []
    return {
        "ref": ref.text,
        "kind": "run",
        "digest": ref.run.recipe_digest,
        "flow_run": ref.run.flow_run,
        "inputs": below,
    }
