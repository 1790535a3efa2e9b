"""Writing a checkpoint: into a folder that nobody reads, which becomes visible by one rename when all of it is there."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from components.digests import canonical, digest, file_digest
from components.durable import sync
from components.faults import point
from components.training.checkpoint import State, name_of
from components.training.pieces import Part, Tensors
from components.training.tensorfile import write_tensors


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
    return checkpoints / f".{name_of(step)}.{token:x}.partial"


def write_part(folder: Path, part: Part) -> dict[str, str]:
    """Write the files of `part` into `folder`; returns the SHA-256 of each by its name. Raises OSError."""
    suffix = f"-{part.number + 1:05d}-of-{part.of:05d}" if part.of > 1 else ""
    digests = {}
    for name in sorted(part.files):
        path = folder / f"{name}{suffix}.safetensors"
        digests[path.name] = write_tensors(path, part.files[name], part.metadata(name))
        sync(path)
    return digests


def commit(folder: Path, state: State, digests: Mapping[str, str]) -> None:
    """Make a checkpoint of `folder`, in which all files of `digests` are. Raises OSError."""
    (folder / "state.json").write_bytes(canonical(asdict(state)))
    whole = {**digests, "state.json": file_digest(folder / "state.json")}
    content = {n: {"sha256": sha256, "size": (folder / n).stat().st_size} for n, sha256 in whole.items()}
    (folder / "manifest.json").write_bytes(canonical({"files": content, "digest": digest(content)}))
    for path in (folder / "state.json", folder / "manifest.json", folder):
        sync(path)
    point("checkpoint.written")
    final = folder.parent / name_of(state.step)
    if final.exists():
        shutil.rmtree(final)
    folder.rename(final)
    sync(folder.parent)
    point("checkpoint.committed")
