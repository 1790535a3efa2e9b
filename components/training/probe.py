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
from components.training.objectives import objective

KINDS = ("tokens", "chats", "pairs", "labelled", "answers", "questions")
"""The kinds of samples that can be made up."""
CAPTION, ASKED, MANY = 18, 15, 512
"""Tokens of a made-up caption and of a question with its answer, on average, and how many images or texts there are."""
SPREAD = 0.3
"""The deviation of their lengths, as a part of that."""
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


def can_be_made_up(config: TrainConfig) -> bool:
    """Whether there are made-up samples for what the phase learns from, on the processor that plans."""
    return not config.phase.use_gpu and objective(config.phase.objective).kind in KINDS


def probe(what: Probe, scratch: Path) -> dict[str, Any]:
    """What a step of the phase took here, as planning's StepCost has it. Raises TrainingError where none could be made.

    `scratch` is a folder on the disk to which training would write its checkpoints.
    """
    workers = what.config.phase.most_workers
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="probe-", dir=scratch) as name, ExitStack() as started:
        folder = Path(name)
        (folder / "probe.json").write_text(what.model_dump_json())
        _make_up_samples(what, folder / "samples")
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


def _make_up_samples(what: Probe, folder: Path) -> None:
    """Samples of random tokens: windows of the context, chats of the lengths that the real ones have, captions of images,
    questions about them, or texts of which many are longer than the context.
    """
    import numpy as np

    folder.mkdir()
    kind, random = objective(what.config.phase.objective).kind, np.random.default_rng(0)
    size, places = what.image_size or 1, _places(what) if kind == "questions" else 0
    usual = {"pairs": CAPTION, "questions": ASKED, "labelled": what.context, "answers": what.context}
    if (
        kind in usual
    ):  # of several lengths: batches are as wide as their longest, and attention has padding to leave out
        drawn = random.normal(usual[kind], SPREAD * usual[kind], MANY).round().astype(int)
        lengths = places + drawn.clip(4, what.context - places)
    else:
        lengths = np.array(what.chat_tokens if kind == "chats" else (what.context * 64 + 1,))
    tokens = random.integers(0, what.vocab_size, int(lengths.sum()))
    if kind == "questions":  # a picture, the question and the answer
        tokens %= what.vocab_size - 1
        starts = np.cumsum(lengths) - lengths
        tokens[(starts[:, None] + np.arange(places)).ravel()] = what.vocab_size - 1
    dtype = np.uint16 if what.vocab_size <= 2**16 else np.uint32
    tokens.astype(dtype).tofile(folder / "tokens.bin")
    np.save(folder / "offsets.npy", np.concatenate([[0], lengths.cumsum()]).astype(np.int64))
    if kind in ("chats", "questions"):
        np.ones(len(tokens), dtype=np.uint8).tofile(folder / "mask.bin")
    described = {"kind": kind, "dtype": np.dtype(dtype).name, "num_tokens": len(tokens), "num_documents": len(lengths)}
    described |= {"vocab_size": what.vocab_size, "context": what.context, "eos_token_id": 0, "pad_token_id": 1}
    pictures = random.normal(size=(MANY, 3, size, size)).astype(np.float16)
    arrays: dict[str, tuple[str, np.ndarray]] = {
        "pairs": ("pixel_values", pictures),
        "questions": ("pixel_values", pictures),
        "labelled": ("labels", np.arange(MANY) % 2),
        "answers": ("answers", np.tile([0, 1], (MANY, 1))),
    }
    if kind in arrays:
        name, array = arrays[kind]
        np.save(folder / f"{name}.npy", array)
        described |= {"arrays": [name], **({"image_size": size} if what.image_size else {})}
    if kind == "questions":
        described |= {"image_token_id": what.vocab_size - 1}
    (folder / "samples.json").write_text(json.dumps(described))
    _make_up_processor(folder / "processor")


def _places(what: Probe) -> int:
    """Tokens that a picture becomes."""
    import torch

    from components.models import family

    assert what.config.size is not None, "what reads pictures is joined from parts"
    with torch.device("meta"):
        model: Any = family(what.config.family).build(what.config.size, image_size=what.image_size)
    return int(model.config.image_seq_length)


def _make_up_processor(folder: Path) -> None:
    """The special tokens by which objectives corrupt text."""
    folder.mkdir()
    names = ["[MASK]", *(f"<extra_id_{number}>" for number in range(100))]
    added = [{"id": number, "content": name, "special": True} for number, name in enumerate(names, 2)]
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"mask_token": "[MASK]"}))


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
