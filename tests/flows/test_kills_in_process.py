"""One seeded SIGKILL at every step of the tiny recipe, without engines: the digests are those of an undisturbed run."""

import os
import random
import subprocess
import sys

import pytest

POINTS = [
    "steps.claimed",
    "steps.begun",
    "steps.worked",
    "store.manifest_written",
    "store.renamed",
    "steps.committed",
    "steps.finished",
]
NUM_STEPS = 7
SEED = 20


def run_steps(home, fault=None):
    env = {**os.environ, "HEADWATER_HOME": str(home), "RAY_ADDRESS": "local"}
    env |= {"HEADWATER_FAULT": fault} if fault else {}
    return subprocess.run(
        [sys.executable, "-m", "inprocess", str(home)], env=env, capture_output=True, text=True, timeout=180
    )


@pytest.mark.slow
def test_killed_once_at_every_step_the_digests_are_the_same(tmp_path):
    """Each process is killed in the first step that is not done yet, at a point that the seed chooses."""
    whole = run_steps(tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr[-3000:]
    choose, home = random.Random(SEED), tmp_path / "killed"
    for number in range(NUM_STEPS):
        fault = choose.choice(POINTS)
        killed = run_steps(home, fault)
        assert killed.returncode == -9, f"step {number} at {fault}: {killed.stderr[-2000:]}"
        if fault != "steps.finished":  # the step is not on record: one undisturbed look lets the next be the victim
            assert run_steps(home, "steps.finished").returncode == -9
    again = run_steps(home)
    assert again.stdout.split() == whole.stdout.split(), again.stderr[-3000:]
