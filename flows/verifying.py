"""Verification: every file that Headwater vouches for, against its digest."""

import json
from collections.abc import Iterator
from pathlib import Path

from components.digests import digest, file_digest, files_under
from components.ledger import Ledger, promotion
from components.store import Damage, Store
from components.store.local import folder_damage


def every_file(ledger: Ledger, store: Store, scratch: Path) -> Iterator[tuple[Path, Damage | None]]:
    """Files of the store, of the scratch checkpoints and of MLflow's copies, with what is wrong with each."""
    yield from store.verify()
    for manifest in sorted(scratch.glob("*/checkpoints/step-*/manifest.json")):
        if manifest.parent.suffix != ".bad":
            yield from _checkpoint(manifest)
    for row in promotion.versions(ledger):
        for name, expected in (row.copies or {}).items():
            path = Path(name)
            found = file_digest(path) if path.is_file() else "missing"
            yield path, None if found == expected else Damage(path, expected, found)


def _checkpoint(manifest: Path) -> Iterator[tuple[Path, Damage | None]]:
    """The files of a checkpoint; a manifest that does not agree with itself is to blame, and says nothing of others."""
    try:
        content = json.loads(manifest.read_bytes())
        expected, found = content["digest"], digest(content["files"])
    except (ValueError, KeyError, TypeError):
        expected, found = "a manifest", "unreadable"
    yield manifest, None if found == expected else Damage(manifest, expected, found)
    if found != expected:
        return
    damages = {damage.path: damage for damage in folder_damage(manifest.parent, content) if damage.path != manifest}
    for path in files_under(manifest.parent):
        if path != manifest:
            yield path, damages.pop(path, None)
    yield from damages.items()
