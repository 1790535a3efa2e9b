"""SIGKILL to every kind of process under a running recipe; the same command then ends as if nothing had happened."""

import json
import os
import random
import signal
import time

import psutil
import pytest
from homes import new_site

KINDS = ["command", "flow", "worker", "driver", "training", "ray", "prefect", "mlflow"]


@pytest.fixture(scope="module")
def home():
    """A home of its own: its services are killed."""
    made = new_site("kills")
    assert made.hw("up").returncode == 0
    yield made
    made.close()


def recipe(seed):
    """The tiny recipe from the pretraining on: another seed is other work."""
    return ["run", "tiny", "--set", f"train.pretrain.seed={seed}", "--set", "train.pretrain.checkpoint_seconds=1"]


def processes(home, kind):
    """The living processes of one kind that belong to a home."""
    found = []
    for process in psutil.process_iter(["cmdline", "name"]):
        line = " ".join(process.info["cmdline"] or [])
        if not _is(kind, line):
            continue
        try:
            root = [process, *process.parents()]
            if any(p.environ().get("HEADWATER_HOME") == str(home.home) for p in root):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _is(kind, line):
    return {
        "command": "headwater run" in line,
        "flow": "flow-run execute" in line or "prefect.engine" in line,
        "worker": "worker start" in line,
        "driver": "components.jobs.main" in line and "python" in line.split(" ")[0],
        "training": line.startswith("ray::") and "Train" in line,
        "ray": "ray start --head" in line,
        "prefect": "prefect server start" in line,
        "mlflow": "mlflow server" in line,
    }[kind]


def wait_for(home, kind, command, timeout=240):
    """A process of that kind while pretraining is under way."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and command.poll() is None:
        steps = {s["name"]: s["status"] for s in home.json("show", home.json("runs")["runs"][0]["run"])["steps"]}
        found = processes(home, kind)
        if steps.get("train:pretrain") == "running" and found and processes(home, "driver"):
            return found
        time.sleep(0.5)
    raise AssertionError(f"no {kind} to kill")


def check(home, kind, seed):
    """Kill one process of a kind in the middle of pretraining; the same command ends with one version of one digest."""
    asked = [*recipe(seed), "--set", f"name={kind}", "--json"]
    undisturbed = home.json(*recipe(seed), "--set", f"name={kind}-whole")
    _forget(home, undisturbed)
    started = time.monotonic()
    command = home.start(*asked)
    time.sleep(3)
    victim = random.Random(seed).choice(wait_for(home, kind, command))
    os.kill(victim.pid, signal.SIGKILL)
    command.communicate(timeout=400)
    again = json.loads(home.hw(*asked).stdout)
    assert again["status"] == "completed", again["error"]
    assert again["model"]["digest"] == undisturbed["model"]["digest"]
    versions = [v for v in home.json("models")["versions"] if v["name"] == kind]
    assert len(versions) == 1
    print(f"{kind}: {time.monotonic() - started:.0f} s with the kill, {undisturbed['seconds']:.0f} s without")


def _forget(home, summary):
    """Remove what the undisturbed run has made from pretraining on, so that the next run has to do it again."""
    import shutil

    from components.ledger import Ledger, work
    from components.store import Store

    ledger, store = Ledger(f"sqlite:///{home.home}/ledger.db"), Store(home.home / "store")
    for step in summary["steps"][2:]:
        row = work.step(ledger, step["identity"])
        shutil.rmtree(store.artifacts / row.artifact, ignore_errors=True)
        shutil.rmtree(home.home / "scratch" / step["identity"], ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_process_killed(home, kind):
    check(home, kind, 1 + KINDS.index(kind))
