"""Checkpoints that are written beside the training are those of the moment at which they were asked for."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time

import pytest
import torch
from safetensors.torch import load_file, safe_open

from components.digests import file_digest
from components.errors import TrainingError
from components.training import checkpoint, commit
from components.training.arithmetic import exact_arithmetic
from components.training.checkpoint import State, newest_verified
from components.training.commit import write
from components.training.config import Job
from components.training.group import Group
from components.training.lock import sole_writer
from components.training.loop import Loop
from components.training.pieces import Part
from components.training.tensorfile import write_tensors
from components.training.writer import CheckpointWriter


def state(step, loss=1.0):
    return State(step=step, loss=loss, tokens=step, seconds=1.0, job="j", losses=[loss])


def tensors(value=0.0):
    return {name: {"w": torch.full((5, 7), value)} for name in ("model", "optimizer")}


def steps(folder):
    return [int(path.name[5:]) for path in checkpoint.whole(folder)]


@pytest.fixture
def slow_copy(monkeypatch):
    """Copies begin late, as those of a large state end late."""
    copy = CheckpointWriter._copy

    def late(writer):
        time.sleep(0.3)
        return copy(writer)

    monkeypatch.setattr(CheckpointWriter, "_copy", late)


@pytest.fixture
def gate(monkeypatch):
    """Holds every write until it is set."""
    opened = threading.Event()
    whole_write = commit.write_tensors

    def late(path, *given):
        assert opened.wait(60)
        return whole_write(path, *given)

    monkeypatch.setattr(commit, "write_tensors", late)
    yield opened
    opened.set()


def test_a_file_of_tensors_is_read_back_bit_for_bit(tmp_path):
    given = {
        "half": torch.randn(3, dtype=torch.bfloat16),
        "whole": torch.randn(4, 5).T,
        "scalar": torch.tensor(2**40),
        "empty": torch.zeros(0, 3),
        "mask": torch.tensor([True, False, True]),
    }
    sha256 = write_tensors(tmp_path / "t.safetensors", given)
    assert sha256 == file_digest(tmp_path / "t.safetensors")
    read = load_file(tmp_path / "t.safetensors")
    assert read.keys() == given.keys()
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in given.items())
    with safe_open(tmp_path / "t.safetensors", "pt") as file:
        assert set(file.keys()) == given.keys()


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, gate, slow_copy):
    """The state changes under the writer's hands, and the checkpoint has it as it was."""
    given = tensors(1.0)
    writer = CheckpointWriter(tmp_path, keep_last=2, keep_best=0)
    writer.save(state(3), Part(given), writer.begin(3))
    writer.wait_for_copy()
    given["model"]["w"].fill_(2.0)
    assert writer.busy
    assert steps(tmp_path) == []
    gate.set()
    writer.wait()
    found = newest_verified(tmp_path, pytest.fail, job="j")
    assert torch.equal(found.tensors("model")["w"], torch.ones(5, 7))


def test_resuming_from_an_asynchronous_checkpoint_is_resuming_from_a_synchronous_one(
    configure, samples, tmp_path, gate, slow_copy
):
    """Dropout is on, so random numbers have to be where they were as well; steps are shorter than the copy."""
    config = configure(tokens=20_000, checkpoint_seconds=1e9)

    def loop(name):
        made = Loop(Job(config, samples, None, tmp_path / name), Group(0, 1))
        for module in made.model.modules():
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = 0.2
        return made

    def final(name):
        made = loop(name)
        made.run()
        return made.parallel.flat.values

    with exact_arithmetic(1):
        first = loop("asynchronous")
        with first.record() as record:
            for step in range(12):
                first.step(step)
                if step == 6:
                    now = State(7, first.loss, first.tokens, 0.0, first.job.digest, list(first.guard.losses))
                    first.save(record, 7)
                    synchronous = {
                        n: {k: t.clone() for k, t in f.items()} for n, f in first.parallel.part().files.items()
                    }
            gate.set()
        write(tmp_path / "synchronous" / "checkpoints", now, synchronous)
        assert steps(tmp_path / "asynchronous" / "checkpoints") == [7]
        undisturbed = final("undisturbed")
        assert torch.equal(final("asynchronous"), undisturbed)
        assert torch.equal(final("synchronous"), undisturbed)


def test_the_newest_and_the_best_are_kept(tmp_path):
    writer = CheckpointWriter(tmp_path, keep_last=2, keep_best=1)
    for step, loss in ((10, 3.0), (20, 1.0), (25, 2.0), (31, 2.3), (33, 2.5), (35, 2.2)):
        writer.save(state(step, loss), Part(tensors()), writer.begin(step))
    writer.wait()
    assert steps(tmp_path) == [20, 25, 33, 35]  # the best, one from before what may be skipped, the last


def test_what_a_killed_writer_left_is_removed(tmp_path):
    (tmp_path / ".step-00000009.partial").mkdir()
    CheckpointWriter(tmp_path, keep_last=2, keep_best=0)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_cannot_be_written_ends_the_phase_with_one_line(configure, samples, tmp_path):
    job = Job(configure(), samples, None, tmp_path)
    job.checkpoints.write_text("in the way")
    with pytest.raises(
        TrainingError, match=rf"The checkpoint cannot be written to {job.checkpoints}: .*Not a directory"
    ):
        Loop(job, Group(0, 1)).run()


def test_a_folder_that_someone_is_writing_to_is_refused(tmp_path):
    taken = pytest.raises(TrainingError, match=f"Another process is training in {tmp_path}")
    with sole_writer(tmp_path), taken, sole_writer(tmp_path, 0):
        pass
    with sole_writer(tmp_path, 0):
        pass
    held = os.open(tmp_path / ".lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    threading.Timer(0.3, os.close, [held]).start()  # a worker that is about to end is waited for
    with sole_writer(tmp_path, 30):
        pass


ONE_OF_TWO = """
import sys
from torch import distributed
from components.artifacts import Samples
from components.training.config import Job, TrainConfig
from components.training.distributed import _work
config, samples, scratch, rank = TrainConfig.model_validate_json(sys.argv[1]), *map(Path, sys.argv[2:4]), int(sys.argv[4])
distributed.init_process_group("gloo", init_method=f"file://{scratch}/meeting", rank=rank, world_size=2)
_work(Job(config, Samples(samples), None, scratch).as_json())
"""


def test_an_error_of_one_worker_ends_all(configure, samples, tmp_path):
    """Rank 0 cannot write its checkpoint; rank 1 hears of it, and the reason stands once in the progress."""
    (tmp_path / "checkpoints").write_text("in the way")
    command = [
        sys.executable,
        "-c",
        "from pathlib import Path" + ONE_OF_TWO,
        configure(num_workers=2).model_dump_json(),
    ]
    workers = [
        subprocess.Popen([*command, samples.path, tmp_path, str(rank)], stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    said = [worker.communicate(timeout=300)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines() if line]
    assert [line["error"][:41] for line in lines if "error" in line] == [
        "The checkpoint cannot be written to " + str(tmp_path)[:5]
    ]
