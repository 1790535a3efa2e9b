"""Vectors that workers sum through memory that they share: the sum, on everyone, also where they cannot share."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

WORKERS, SIZE = 3, 600_001
WORKER = """
import json, os, sys
import numpy as np
import torch
from torch import distributed
from components.training.group import Group
from components.training.summed import SummedVector

folder, rank, alone, dies = sys.argv[1], *map(int, sys.argv[2:])
if rank == alone:
    del os.memfd_create  # as on another system
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
vector = SummedVector(len(np.load(f"{folder}/0.npy")), Group.current())
assert not vector.values.any()
for time in range(2):
    vector.values.copy_(torch.from_numpy(np.load(f"{folder}/{rank}.npy")))
    if rank == dies and time == 1:
        os._exit(9)
    try:
        vector.add()
    except RuntimeError:
        print(json.dumps({"lost": True}))
        sys.exit()
np.save(f"{folder}/sum-{rank}.npy", vector.values.numpy())
print(json.dumps({"shared": vector._everyone is not None}))
"""


@pytest.fixture
def summed(tmp_path):
    """Run the workers on random vectors: what each said, and the vectors."""
    random = np.random.default_rng(0)
    given = [random.normal(size=SIZE).astype(np.float32) for _ in range(WORKERS)]
    for rank, vector in enumerate(given):
        np.save(tmp_path / f"{rank}.npy", vector)

    def run(alone=-1, dies=-1, workers=WORKERS):
        command = [sys.executable, "-c", WORKER.replace("WORLD", str(workers)), str(tmp_path)]
        started = [
            subprocess.Popen([*command, str(rank), str(alone), str(dies)], stdout=subprocess.PIPE, text=True)
            for rank in range(workers)
        ]
        said = [process.communicate(timeout=120)[0].splitlines() for process in started]
        return [json.loads(lines[-1]) if lines else None for lines in said], given

    return run


def lets_processes_share():
    """Whether one process may open what another has open, on this system."""
    if not hasattr(os, "memfd_create"):
        return False
    file = os.memfd_create("seen")
    look = f"open('/proc/{os.getpid()}/fd/{file}', 'r+b')"
    return subprocess.run([sys.executable, "-c", look], capture_output=True).returncode == 0


@pytest.mark.parametrize("alone", [-1, 1])
def test_everyone_has_the_same_bits_of_the_sum(summed, tmp_path, alone):
    said, given = summed(alone=alone)
    assert said == [{"shared": alone < 0 and lets_processes_share()}] * WORKERS
    found = [np.load(tmp_path / f"sum-{rank}.npy") for rank in range(WORKERS)]
    assert all((other == found[0]).all() for other in found)
    assert np.allclose(found[0], np.sum(given, axis=0, dtype=np.float64), atol=1e-5)


def test_two_workers_have_the_bits_of_an_all_reduce(summed, tmp_path):
    """Of two numbers there is one order, and what was trained before gradients went this way stays the same."""
    _, given = summed(workers=2)
    assert (np.load(tmp_path / "sum-1.npy") == given[0] + given[1]).all()


def test_a_worker_that_dies_is_noticed_by_the_others(summed):
    said, _ = summed(dies=1)
    assert said == [{"lost": True}, None, {"lost": True}]
