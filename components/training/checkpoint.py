"""Checkpoints: safetensors and JSON with a manifest written last, so that a torn one is never taken for a whole one.

    checkpoints/step-00000120/   model.safetensors, optimizer.safetensors, state.json, manifest.json

Where a model lies in shards each worker writes its own, as model-00001-of-00004.safetensors and so on, into one folder,
and rank 0 waits for what all of them say of their files. A checkpoint becomes visible by one rename. The newest that
agrees with its manifest is resumed; one that does not is set aside as step-00000120.bad, with a warning, and the one
before it is tried.
"""

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from components.artifacts import Report
from components.digests import canonical, digest, file_digest
from components.errors import TrainingError
from components.training.pieces import Pieces

NEEDED = {"model", "optimizer", "state"}
"""What files are called, whole or in parts, before what follows."""
NAME = re.compile(r"step-\d{8}")


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

    @classmethod
    def of_step(cls, checkpoints: Path, step: int) -> "Checkpoint":
        """That of a `step`, which another worker has compared with its manifest."""
        folder = checkpoints / name_of(step)
        return cls(folder, read_state(folder))

    def pieces(self, name: str) -> Pieces:
        """The tensors of `name`, model or optimizer, of which any part can be read."""
        return Pieces(sorted(path for path in self.folder.glob("*.safetensors") if _kind(path.name) == name))

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of `name`, model or optimizer, whole."""
        pieces = self.pieces(name)
        return {tensor: pieces.read(tensor) for tensor in pieces.shapes()}


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
    if odd := sorted(NEEDED - set(map(_kind, files)) | {p.name for p in folder.iterdir()} ^ {*files, "manifest.json"}):
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


def _kind(file: str) -> str:
    """model of model.safetensors and of model-00001-of-00004.safetensors."""
    return file.partition(".")[0].partition("-")[0]


def name_of(step: int) -> str:
    """The name of the checkpoint after `step` steps."""
    return f"step-{step:08d}"
