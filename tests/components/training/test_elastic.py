"""The real Ray Train with a range of workers, on several nodes that come and go."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import TrainingError
from components.training.config import Job
from components.training.distributed import run_workers
from components.training.train import train

RAYLETS = Path(__file__).parents[2] / "support" / "raylets.py"


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["replicated", "fsdp"])
def test_a_phase_goes_on_when_nodes_are_lost_and_added(configure, samples, tmp_path, parallel):
    """Four workers, two after a node was killed, more when another comes: the losses are those of one process."""
    phase = {"batch_size": 12, "tokens": 3000 * 12 * 64, "checkpoint_seconds": 1, "learning_rate": 3e-4}
    job = Job(configure(**phase, num_workers=(1, 4), parallel=parallel), samples, None, tmp_path / "elastic")
    (tmp_path / "job.json").write_text(json.dumps(job.as_json()))
    for name in ("out", "alone"):
        (tmp_path / name).mkdir()
    command = [sys.executable, RAYLETS, tmp_path / "job.json", tmp_path / "out"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    *lines, facts = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    expected = {}

    def keep(line):
        expected.update({line["done"]: line["loss"]} if "done" in line else {})

    alone = train(configure(**phase), samples, None, out=tmp_path / "alone", scratch=tmp_path / "one", report=keep)
    steps = [line for line in lines if "done" in line]
    assert facts["steps"] == alone["steps"] == steps[-1]["done"] == 3000
    assert facts["tokens"] == alone["tokens"]
    assert steps[0]["workers"] == 4
    assert 2 in {line["workers"] for line in steps}
    assert steps[-1]["workers"] > 2
    assert facts["final_loss"] == pytest.approx(alone["final_loss"], abs=1e-3)


def test_more_workers_than_the_cluster_has_cpus_are_refused(configure, samples, tmp_path, ray_engine):
    job = Job(configure(batch_size=16, num_workers=8), samples, None, tmp_path)
    with pytest.raises(
        TrainingError, match="Phase pretrain wants 8 workers of one CPU each, and the Ray cluster has 4"
    ):
        run_workers(job)
