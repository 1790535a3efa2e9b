"""Counts of a curation: after each stage, by source, and of what was masked."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from components.artifacts import SourceFiles
from components.recipe import CurateConfig


def summarise(
    config: CurateConfig, sources: Sequence[SourceFiles], documents: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """{"stages": [{"stage", "documents", "characters", "dropped": {rule: count}}], "sources": [...], "masked": {...}}.

    `documents` and `characters` of a stage are those left after it; the stages follow each other as they work.
    """
    masked: Counter[str] = Counter({name: 0 for name in config.mask})
    for document in documents:
        masked.update(json.loads(document["masked"]))
    return {
        "stages": _stages(config, documents),
        "sources": [_source(source, documents) for source in sources],
        "masked": dict(masked),
    }


def _stages(config: CurateConfig, documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    rules = ["language", *config.filters, "exact", *([] if config.near_duplicates == "none" else ["minhash"])]
    left = list(documents)
    stages = [_stage("documents", left, {})]
    for rule in rules:
        remaining = [document for document in left if document["rule"] != rule]
        dropped = len(left) - len(remaining)
        stages.append(_stage(rule, remaining, {rule: dropped} if dropped else {}))
        left = remaining
    return stages


def _stage(name: str, left: Sequence[dict[str, Any]], dropped: dict[str, int]) -> dict[str, Any]:
    characters = sum(len(document["text"]) for document in left)
    return {"stage": name, "documents": len(left), "characters": characters, "dropped": dropped}


def _source(source: SourceFiles, documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    own = [document for document in documents if document["source"] == source.name]
    kept = [document for document in own if document["rule"] is None]
    return {
        "name": source.name,
        "licence": source.licence,
        "origin": source.origin,
        "documents_read": len(own),
        "documents_kept": len(kept),
        "characters_kept": sum(len(document["text"]) for document in kept),
    }
