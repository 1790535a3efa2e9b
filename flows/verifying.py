"""Verification: every file that Headwater vouches for, against its digest."""

import json
from collections.abc import Iterator
from pathlib import Path

from components.digests import file_digest, files_under
from components.ledger import Ledger, promotion
from components.store import Damage, Store
from components.store.local import folder_damage


def every_file(ledger: Ledger, store: Store, scratch: Path) -> Iterator[tuple[Path, Damage | None]]:
    """Files of the store, of the scratch checkpoints and of MLflow's copies, with what is wrong with each."""
    yield from store.verify()
    for manifest in sorted(scratch.glob("*/checkpoints/step-*/manifest.json")):
        if ".bad" not in manifest.parent.name:
            yield from _folder(manifest.parent, json.loads(manifest.read_bytes()), beside=manifest)
    for row in promotion.versions(ledger):
        for name, expected in (row.copies or {}).items():
            path = Path(name)
            found = file_digest(path) if path.is_file() else "missing"
            yield path, None if found == expected else Damage(path, expected, found)


def _folder(folder: Path, content: dict, beside: Path | None = None) -> Iterator[tuple[Path, Damage | None]]:  # type: ignore[type-arg]
    damages = {damage.path: damage for damage in folder_damage(folder, content) if damage.path != beside}
    for path in files_under(folder) if folder.is_dir() else []:
        if path != beside:
            yield path, damages.pop(path, None)
    yield from damages.items()
