"""The real Ray Train: two workers, one of which may be killed, leave the bytes of the undisturbed run."""

import json
import os
import signal

import psutil
import pytest

from components.artifacts import Export
from components.digests import folder_content
from components.training.train import train


@pytest.fixture(autouse=True)
def own_cluster(monkeypatch, ray_engine):
    """The cluster of these tests, without a token file in the user's home."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_two_workers_train_and_finish_in_step(configure, samples, run_train, tmp_path):
    config = configure(num_workers=2)
    out, facts, reports = run_train(config, samples)
    alone, reference, _ = run_train(configure(num_workers=0), samples, name="alone")
    assert reports[-1]["done"] == facts["steps"] == reference["steps"]
    assert facts["tokens"] == reference["tokens"]
    assert facts["final_loss"] == pytest.approx(reference["final_loss"], abs=0.05)
    assert not (tmp_path / "run" / "ray").exists()
    assert Export(out).json("config.json") == Export(alone).json("config.json")


@pytest.mark.slow
def test_killed_workers_are_replaced_and_leave_no_trace(configure, samples, run_train, tmp_path):
    """Five of them, which is more than Ray Train would replace: each attempt has come further."""
    config = configure(num_workers=2, tokens=600_000, checkpoint_seconds=0.2)
    undisturbed, facts, _ = run_train(config, samples)
    killed = []

    def report(line):
        workers = [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())]
        if line.get("done", 0) > 200 * (1 + len(killed)) and len(killed) < 5 and workers:
            killed.append(workers[-1].pid)
            os.kill(workers[-1].pid, signal.SIGKILL)

    (tmp_path / "out").mkdir()
    again = train(config, samples, None, out=tmp_path / "out", scratch=tmp_path / "killed", report=report)
    assert len(killed) == 5
    assert 0 < again["resumed_from"] < facts["steps"]
    assert folder_content(tmp_path / "out", "export") == folder_content(undisturbed, "export")
    assert json.loads((tmp_path / "killed" / "progress.jsonl").read_text().splitlines()[-1])["step"] == facts["steps"]
