"""A few real optimizer steps of a phase on made-up samples: what a step takes, before it is paid for.

The steps are those of the training loop itself, in as many processes as the phase has workers, so whatever the loop
does is in the figures. `python -m components.training.probe FOLDER RANK` is one of these processes.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from components.artifacts import Export, Samples
from components.errors import TrainingError
from components.recipe.fields import Strict
from components.training.config import Job, TrainConfig
from components.training.made_up import make_up_samples

SHAPES = {"context", "vocab_size", "chat_tokens", "image_size"}
"""What made-up samples are described by."""
TOKENS = 10**12
"""A budget that no probe comes to the end of."""
PATIENCE = 120.0
"""Seconds after which a probe is given up, beyond those it was given."""


class Probe(Strict):
    """What to try."""

    config: TrainConfig
    context: int
    vocab_size: int
    chat_tokens: tuple[int, ...] = ()
    """Lengths of the chats that a phase learns from."""
    image_size: int | None = None
    """Pixels of a side, where it learns from images."""
    init: str | None = None
    """A local folder whose weights the phase starts from."""
    seconds: float = 3.0
    """How long to take steps."""


def probe(what: Probe, scratch: Path) -> dict[str, Any]:
    """What a step of the phase took here, as planning's StepCost has it. Raises TrainingError where none could be made.

    `scratch` is a folder on the disk to which training would write its checkpoints.
    """
    workers = what.config.phase.most_workers
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="probe-", dir=scratch) as name, ExitStack() as started:
        folder = Path(name)
        (folder / "probe.json").write_text(what.model_dump_json())
        make_up_samples(folder / "samples", what.config, **what.model_dump(include=SHAPES))
        processes = [_start(folder, rank, started) for rank in range(workers)]
        try:
            printed = [process.communicate(timeout=what.seconds + PATIENCE) for process in processes]
        except subprocess.TimeoutExpired:
            raise TrainingError(f"Steps of phase {what.config.phase.name} took too long to be tried.") from None
        finally:
            for process in processes:
                process.kill()
        if any(process.returncode for process in processes):
            said = (printed[0][1].strip().splitlines() or ["no word"])[-1]
            raise TrainingError(f"Steps of phase {what.config.phase.name} cannot be tried: {said}")
    found: dict[str, Any] = json.loads(printed[0][0].splitlines()[-1])
    return found


def _start(folder: Path, rank: int, started: ExitStack) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "components.training.probe", str(folder), str(rank)]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder
    )
    return started.enter_context(process)


def _try(folder: Path, rank: int) -> dict[str, Any]:
    """One worker's part: the figures of its steps."""
    from torch import distributed

    from components.training.arithmetic import exact_arithmetic
    from components.training.group import Group
    from components.training.pages import keep_pages
    from components.training.peak import peak_memory, resident_memory
    from components.training.timed import Enough, TimedLoop

    keep_pages()
    what = Probe.model_validate_json((folder / "probe.json").read_text())
    phase = what.config.phase.model_copy(update={"tokens": TOKENS, "epochs": None, "max_skips": 0})
    init = Export(Path(what.init)) if what.init else None
    config = what.config.model_copy(update={"phase": phase})
    job = Job(config, Samples(folder / "samples"), init, folder / "scratch")
    if phase.num_workers:
        import ray.train.torch  # noqa: F401  # a worker of Ray Train holds it too
    if phase.most_workers > 1:
        meeting = f"file://{folder / 'meeting'}"
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=phase.most_workers)
    _load_architecture(job)
    before = resident_memory()
    with exact_arithmetic(phase.threads):
        loop = TimedLoop(job, Group.current(), what.seconds)
        with suppress(Enough):
            loop.run()
    return {**loop.figures(), "process_bytes": before, "peak_bytes": peak_memory()}


def _load_architecture(job: Job) -> None:
    """Import what the model is made of, by making it without any weights."""
    import torch

    from components.training.model import fresh_model

    with torch.device("meta"):
        fresh_model(job.config, job.samples, job.init)


if __name__ == "__main__":
    print(json.dumps(_try(Path(sys.argv[1]), int(sys.argv[2]))))
