"""Checkpoints: safetensors and JSON with a manifest written last, so that a torn one is never taken for a whole one.

    checkpoints/step-00000120/   model.safetensors, optimizer.safetensors, state.json, manifest.json

A checkpoint becomes visible by one rename. The newest that agrees with its manifest is resumed; one that does not is
set aside as step-00000120.bad, with a warning, and the one before it is tried.
"""

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from components.artifacts import Report
from components.digests import canonical, digest, file_digest
from components.errors import TrainingError

KEPT = 2
CONTENT = ("model.safetensors", "optimizer.safetensors", "state.json")
NAME = re.compile(r"step-\d{8}")
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class State:
    """Where a phase stands after `step` optimizer steps; the loader's state is the step as well."""

    step: int
    loss: float
    tokens: int
    seconds: float
    """Time spent in the loop, over all attempts."""
    job: str
    """The digest of the job that wrote it."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that agrees with its manifest."""

    folder: Path
    state: State

    def tensors(self, name: str) -> Tensors:
        """The tensors of `name`: model or optimizer."""
        return load_file(self.folder / f"{name}.safetensors")


def save(checkpoints: Path, state: State, *, model: Tensors, optimizer: Tensors) -> None:
    """Write a checkpoint and remove all but the newest two."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    final = checkpoints / f"step-{state.step:08d}"
    partial = checkpoints / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save_file(model, partial / "model.safetensors")
    save_file(optimizer, partial / "optimizer.safetensors")
    (partial / "state.json").write_bytes(canonical(asdict(state)))
    files = {p.name: {"sha256": file_digest(p), "size": p.stat().st_size} for p in (partial / name for name in CONTENT)}
    (partial / "manifest.json").write_bytes(canonical({"files": files, "digest": digest(files)}))
    for path in [*partial.iterdir(), partial]:
        _sync(path)
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    _sync(checkpoints)
    for old in _whole(checkpoints)[:-KEPT]:
        shutil.rmtree(old)


def newest_verified(checkpoints: Path, report: Report, *, job: str) -> Checkpoint | None:
    """The newest checkpoint whose files are what its manifest says, or None.

    Each one passed over is reported as {"warning": text} and renamed to *.bad. Raises TrainingError on a checkpoint of
    another job: its scratch folder was given to this one.
    """
    for folder in reversed(_whole(checkpoints)):
        wrong = _damage(folder)
        if wrong is None:
            state = State(**json.loads((folder / "state.json").read_text()))
            if state.job != job:
                raise TrainingError(f"{folder} belongs to another configuration or other samples: use a fresh scratch.")
            return Checkpoint(folder, state)
        bad = folder.with_suffix(".bad")
        shutil.rmtree(bad, ignore_errors=True)
        folder.rename(bad)
        report({"warning": f"Checkpoint {folder.name} is damaged ({wrong}); going back to the one before it."})
    return None


def _whole(checkpoints: Path) -> list[Path]:
    """The checkpoints that were renamed into place, oldest first."""
    if not checkpoints.is_dir():
        return []
    return sorted(path for path in checkpoints.iterdir() if NAME.fullmatch(path.name))


def _damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        files = manifest["files"]
        if digest(files) != manifest["digest"]:
            return "manifest.json does not have its own digest"
        for name in CONTENT:
            expected = files[name]
            path = folder / name
            if path.stat().st_size != expected["size"]:
                return f"{name} has {path.stat().st_size} bytes, not {expected['size']}"
            if file_digest(path) != expected["sha256"]:
                return f"{name} does not have the digest of its manifest"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
