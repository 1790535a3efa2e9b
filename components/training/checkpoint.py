"""Checkpoints: safetensors and JSON with a manifest written last, so that a torn one is never taken for a whole one.

    checkpoints/step-00000120/   model.safetensors, optimizer.safetensors, state.json, manifest.json

Where a model lies in shards each worker writes its own, as model-00001-of-00004.safetensors and so on, into one folder,
and rank 0 waits for what all of them say of their files. A checkpoint becomes visible by one rename. The newest that
agrees with its manifest is resumed; one that does not is set aside as step-00000120.bad, with a warning, and the one
before it is tried.
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

from components.artifacts import Report
from components.digests import canonical, digest, file_digest
from components.errors import TrainingError
from components.faults import point
from components.training.pieces import Part, Pieces, Tensors
from components.training.tensorfile import write_tensors

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
        folder = checkpoints / _name(step)
        return cls(folder, read_state(folder))

    def pieces(self, name: str) -> Pieces:
        """The tensors of `name`, model or optimizer, of which any part can be read."""
        return Pieces(sorted(path for path in self.folder.glob("*.safetensors") if _kind(path.name) == name))

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of `name`, model or optimizer, whole."""
        pieces = self.pieces(name)
        return {tensor: pieces.read(tensor) for tensor in pieces.shapes()}


def write(checkpoints: Path, state: State, files: Mapping[str, Tensors]) -> None:
    """Write the checkpoint of `state` with the tensors of each NAME in `files` as NAME.safetensors. Raises OSError."""
    folder = begin(checkpoints, state.step)
    commit(folder, state, write_part(folder, Part(files)))


def begin(checkpoints: Path, step: int, token: int = 0) -> Path:
    """Make the folder into which all workers write the checkpoint of `step`. Raises OSError."""
    folder = partial(checkpoints, step, token)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    point("checkpoint.begun")
    return folder


def partial(checkpoints: Path, step: int, token: int) -> Path:
    """That folder. The `token` keeps out who writes for an attempt that has ended."""
    return checkpoints / f".{_name(step)}.{token:x}.partial"


def write_part(folder: Path, part: Part) -> dict[str, str]:
    """Write the files of `part` into `folder`; returns the SHA-256 of each by its name. Raises OSError."""
    suffix = f"-{part.number + 1:05d}-of-{part.of:05d}" if part.of > 1 else ""
    digests = {}
    for name in sorted(part.files):
        path = folder / f"{name}{suffix}.safetensors"
        digests[path.name] = write_tensors(path, part.files[name], part.metadata(name))
        _sync(path)
    return digests


def commit(folder: Path, state: State, digests: Mapping[str, str]) -> None:
    """Make a checkpoint of `folder`, in which all files of `digests` are. Raises OSError."""
    (folder / "state.json").write_bytes(canonical(asdict(state)))
    whole = {**digests, "state.json": file_digest(folder / "state.json")}
    content = {n: {"sha256": sha256, "size": (folder / n).stat().st_size} for n, sha256 in whole.items()}
    (folder / "manifest.json").write_bytes(canonical({"files": content, "digest": digest(content)}))
    for path in (folder / "state.json", folder / "manifest.json", folder):
        _sync(path)
    point("checkpoint.written")
    final = folder.parent / _name(state.step)
    if final.exists():
        shutil.rmtree(final)
    folder.rename(final)
    _sync(folder.parent)
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


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
