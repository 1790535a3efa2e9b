"""Killed at any moment, or left without a usable checkpoint: the same command ends with the same bytes."""

import signal
import subprocess
import sys

import pytest
import torch
import torch._dynamo
from interrupting import interrupted

from components.digests import folder_content
from components.training.checkpoint import newest_verified, whole
from components.training.config import Job

KILLED = """
import os, signal, sys
from pathlib import Path
from components.artifacts import Samples
from components.training.config import TrainConfig
from components.training.train import train
config, samples, folder, at = TrainConfig.model_validate_json(sys.argv[1]), *map(Path, sys.argv[2:4]), int(sys.argv[4])
def report(line):
    if line["done"] >= at:
        os.kill(os.getpid(), signal.SIGKILL)
out = folder / f"torn-{at}"
out.mkdir()
train(config, Samples(samples), None, out=out, scratch=folder, report=report)
"""


def test_two_kills_leave_no_trace_in_the_bytes(configure, samples, run_train, tmp_path):
    config = configure(tokens=400_000, checkpoint_seconds=0.2)
    undisturbed, facts, _ = run_train(config, samples, name="undisturbed")
    (tmp_path / "killed").mkdir()
    for at in (20, 250):
        arguments = [config.model_dump_json(), samples.path, tmp_path / "killed", str(at)]
        run = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True)
        assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    out, resumed, _ = run_train(config, samples, name="killed")
    assert 0 < resumed["resumed_from"] < resumed["steps"]
    assert folder_content(out, "export") == folder_content(undisturbed, "export")
    assert (resumed["final_loss"], resumed["tokens"]) == (facts["final_loss"], facts["tokens"])


def test_interrupted_write_is_never_taken_for_a_checkpoint(configure, samples, run_train, tmp_path):
    config = configure(tokens=10_000)
    job = Job(config, samples, None, tmp_path / "run")
    torn = job.checkpoints / ".step-00000099.partial"
    torn.mkdir(parents=True)
    (torn / "model.safetensors").write_bytes(b"half")
    assert newest_verified(job.checkpoints, pytest.fail, job=job.digest) is None
    _, facts, _ = run_train(config, samples)
    state = newest_verified(job.checkpoints, pytest.fail, job=job.digest).state
    assert (state.step, state.tokens, state.loss) == (20, 20 * 8 * 64, facts["final_loss"])
    assert state.seconds == pytest.approx(facts["seconds"], abs=1e-3)
    assert not torn.exists()


def test_all_checkpoints_damaged_starts_again(configure, samples, run_train, tmp_path):
    config = configure(checkpoint_seconds=0.01)
    undisturbed, _, _ = run_train(config, samples)
    written = whole(tmp_path / "run" / "checkpoints")
    for checkpoint in written:
        (checkpoint / "state.json").unlink()
    out, facts, _ = run_train(config, samples)
    assert facts["resumed_from"] is None
    assert len(facts["warnings"]) == len(written) > 1
    assert folder_content(out, "export") == folder_content(undisturbed, "export")


def test_compiled_layers_go_on_with_the_same_bits_whatever_shape_comes_first(configure, chats, run_train):
    """Chats of many lengths, gone on from in the middle by a process that has compiled nothing."""
    config = configure(objective="sft", epochs=12, batch_size=3, checkpoint_seconds=1e-6, compile=True)

    def run(name):
        torch._dynamo.reset()
        return run_train(config, chats, name=name)

    undisturbed, facts, _ = run("undisturbed")
    with interrupted(facts["steps"] - 5):
        run("interrupted")
    out, resumed, _ = run("interrupted")
    assert 0 < resumed["resumed_from"] < facts["steps"]
    assert folder_content(out, "export") == folder_content(undisturbed, "export")
