"""A store in a local folder.

    artifacts/<digest>/manifest.json    {"kind": ..., "files": {path: {"sha256", "size"}}}; its digest is the name
    artifacts/<digest>/content/...      the files
    staging/<label>-<random>/           work that is not committed
    quarantine/<digest>-<random>/       what was found damaged

A commit is: flush the content, write the manifest, rename the whole folder into place, flush the parent. A process
killed anywhere leaves either the whole artifact or a staging folder, never a part of one under `artifacts/`.
"""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.digests import Content, canonical, digest, file_digest, files_under, folder_content
from components.errors import StoreError
from components.store import disk

DIGEST = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Stored:
    """A committed artifact."""

    digest: str
    kind: str
    path: Path
    """The folder of its content."""
    num_bytes: int
    num_files: int


@dataclass(frozen=True)
class Damage:
    """A file that is not what its manifest says; `found` is its digest, or 'missing' or 'unexpected'."""

    path: Path
    expected: str
    found: str


class Store:
    """The artifacts below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.artifacts = root / "artifacts"
        self.staging = root / "staging"

    def begin(self, label: str) -> Path:
        """A new empty staging folder whose `content/` is to be filled; `label` says for which work."""
        folder = self.staging / f"{label}-{secrets.token_hex(8)}"
        disk.make_folder(folder / "content")
        return folder

    def abandon(self, label: str) -> None:
        """Remove every staging folder of that label: what earlier, killed attempts left."""
        for folder in sorted(self.staging.glob(f"{label}-*")):
            disk.discard(folder)

    def commit(self, staging: Path, kind: str) -> Stored:
        """Make what stands in `staging/content` an artifact; the same content twice is one artifact."""
        disk.sync_tree(staging)
        content = folder_content(staging / "content", kind)
        if not content["files"]:
            raise StoreError(f"An artifact of kind {kind} without any file was to be committed.")
        disk.write_manifest(staging / "manifest.json", canonical(content))
        name = digest(content)
        final = self.artifacts / name
        disk.make_folder(self.artifacts)
        if not disk.publish(staging, final):
            if any(self._damage(name)):
                disk.set_aside(final, self.root / "quarantine" / f"{name}-{secrets.token_hex(4)}")
                disk.publish(staging, final)
            else:
                disk.discard(staging)
        return self._stored(name, content)

    def open(self, name: str, verify: bool = False) -> Stored:
        """The artifact called `name` (a digest). Sizes are always looked at, contents where `verify` is set.

        Raises StoreError when it is missing or damaged.
        """
        damage = next(self._damage(name, thorough=verify), None)
        if damage:
            raise StoreError(
                f"Artifact {name[:8]} is damaged: {damage.path} is {damage.found}, expected {damage.expected}."
            )
        return self._stored(name, self._manifest(name))

    def has(self, name: str) -> bool:
        """Whether the artifact is there with every file in its full size."""
        return next(self._damage(name, thorough=False), None) is None

    def names(self) -> list[str]:
        """The digests of all artifacts."""
        return (
            sorted(p.name for p in self.artifacts.glob("*") if DIGEST.match(p.name)) if self.artifacts.is_dir() else []
        )

    def verify(self) -> Iterator[tuple[Path, Damage | None]]:
        """Every file of every artifact, with what is wrong with it."""
        for name in self.names():
            damages = {d.path: d for d in self._damage(name)}
            for path in files_under(self.artifacts / name):
                yield path, damages.pop(path, None)
            for path, damage in damages.items():
                yield path, damage

    def _manifest(self, name: str) -> Content:
        return json.loads((self.artifacts / name / "manifest.json").read_bytes())

    def _stored(self, name: str, content: Content) -> Stored:
        sizes = [entry["size"] for entry in content["files"].values()]
        return Stored(name, content["kind"], self.artifacts / name / "content", sum(sizes), len(sizes))

    def _damage(self, name: str, thorough: bool = True) -> Iterator[Damage]:
        folder = self.artifacts / name
        manifest = folder / "manifest.json"
        if not DIGEST.match(name) or not manifest.is_file():
            yield Damage(manifest, name, "missing")
            return
        found = file_digest(manifest)
        if found != name:
            yield Damage(manifest, name, found)
            return
        content = self._manifest(name)
        yield from folder_damage(folder / "content", content, thorough)


def folder_damage(folder: Path, content: Content, thorough: bool = True) -> Iterator[Damage]:
    """What in `folder` differs from its description; without `thorough` only presence and sizes are looked at."""
    for relative, entry in content["files"].items():
        path = folder / relative
        if not path.is_file():
            yield Damage(path, entry["sha256"], "missing")
        elif path.stat().st_size != entry["size"]:
            yield Damage(path, entry["sha256"], f"{path.stat().st_size} bytes instead of {entry['size']}")
        elif thorough and (found := file_digest(path)) != entry["sha256"]:
            yield Damage(path, entry["sha256"], found)
    if thorough and folder.is_dir():
        for path in files_under(folder):
            if path.relative_to(folder).as_posix() not in content["files"]:
                yield Damage(path, "nothing", "unexpected")
