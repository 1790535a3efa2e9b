"""Checkpoints: safetensors and JSON with a manifest written last, so that a torn one is never taken for a whole one.

    checkpoints/step-00000120/   model.safetensors, optimizer.safetensors, state.json, manifest.json

A checkpoint becomes visible by one rename. The newest that agrees with its manifest is resumed; one that does not is
set aside as step-00000120.bad, with a warning, and the one before it is tried.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from components.artifacts import Report
from components.digests import canonical, digest, file_digest
from components.errors import TrainingError
from components.faults import point
from components.training.tensorfile import write_tensors

NEEDED = {"model.safetensors", "optimizer.safetensors", "state.json"}
NAME = re.compile(r"step-\d{8}")
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class State:
    """Where a phase stands after `step` steps, learnt from or skipped.

    The positions of the loader and of the schedule are the step as well, and what is random is a function of it.
    """

    step: int
    loss: float
    """Of the last step that was learnt from."""
    tokens: int
    seconds: float
    """Time spent in the loop, over all attempts."""
    job: str
    """The digest of the job that wrote it."""
    losses: list[float] = field(default_factory=list)
    """The last losses, with which the next one is compared (`components.training.guards`)."""
    skips: list[dict[str, Any]] = field(default_factory=list)
    """What was skipped so far, also after `step`, as `guards.described` has it."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that agrees with its manifest."""

    folder: Path
    state: State

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of `name`: model or optimizer."""
        return load_file(self.folder / f"{name}.safetensors")


def write(checkpoints: Path, state: State, files: Mapping[str, Tensors]) -> None:
    """Write the checkpoint of `state` with the tensors of each NAME in `files` as NAME.safetensors. Raises OSError."""
    final = checkpoints / _name(state.step)
    partial = checkpoints / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    point("checkpoint.begun")
    digests = {f"{n}.safetensors": write_tensors(partial / f"{n}.safetensors", files[n]) for n in sorted(files)}
    (partial / "state.json").write_bytes(canonical(asdict(state)))
    digests["state.json"] = file_digest(partial / "state.json")
    content = {n: {"sha256": sha256, "size": (partial / n).stat().st_size} for n, sha256 in digests.items()}
    (partial / "manifest.json").write_bytes(canonical({"files": content, "digest": digest(content)}))
    for path in [*partial.iterdir(), partial]:
        _sync(path)
    point("checkpoint.written")
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    _sync(checkpoints)
    point("checkpoint.committed")


def newest_verified(checkpoints: Path, report: Report, *, job: str) -> Checkpoint | None:
    """The newest checkpoint whose files are what its manifest says, or None.

    Each one passed over is reported as {"warning": text} and renamed to *.bad. Raises TrainingError on a checkpoint of
    another job: its scratch folder was given to this one.
    """
    for folder in reversed(whole(checkpoints)):
        wrong = damage(folder)
        if wrong is None:
            state = read_state(folder)
            if state.job != job:
                raise TrainingError(f"{folder} belongs to another configuration or other samples: use a fresh scratch.")
            return Checkpoint(folder, state)
        bad = folder.with_suffix(".bad")
        shutil.rmtree(bad, ignore_errors=True)
        folder.rename(bad)
        report({"warning": f"Checkpoint {folder.name} is damaged ({wrong}); going back to the one before it."})
    return None


def whole(checkpoints: Path) -> list[Path]:
    """The checkpoints that were renamed into place, oldest first."""
    if not checkpoints.is_dir():
        return []
    return sorted(path for path in checkpoints.iterdir() if NAME.fullmatch(path.name))


def read_state(folder: Path) -> State:
    """The state of a checkpoint. Raises OSError, ValueError and TypeError where it cannot be read."""
    return State(**json.loads((folder / "state.json").read_bytes()))


def step_of(folder: Path) -> int:
    """The step in the name of a checkpoint."""
    return int(folder.name.removeprefix("step-"))


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None; names the file."""
    try:
        written = (folder / "manifest.json").read_bytes()
        manifest = json.loads(written)
        files = manifest["files"]
        if digest(files) != manifest["digest"] or canonical(manifest) != written:
            return "manifest.json does not have its own digest"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"manifest.json cannot be read: {type(error).__name__} {error}"
    if odd := sorted(NEEDED - files.keys() | {p.name for p in folder.iterdir()} ^ {*files, "manifest.json"}):
        return f"{odd[0]} is {'not in manifest.json' if (folder / odd[0]).exists() else 'missing'}"
    try:
        for name, expected in files.items():
            size = (folder / name).stat().st_size
            if size != expected["size"]:
                return f"{name} has {size} bytes, not {expected['size']}"
            if file_digest(folder / name) != expected["sha256"]:
                return f"{name} does not have the digest that manifest.json says"
        step = read_state(folder).step
    except (OSError, ValueError, TypeError) as error:
        return f"it cannot be read: {error}"
    return None if step == step_of(folder) else f"state.json is of step {step}"


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
