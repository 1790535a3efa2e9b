"""Bad steps: all workers decide alike, nothing bad is learnt, and the record says whose text it was."""

import json
import math
import random
import subprocess
import sys
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from components.errors import TrainingError
from components.training.arithmetic import exact_arithmetic
from components.training.checkpoint import newest_verified, whole
from components.training.config import Job
from components.training.group import Group
from components.training.guards import ENOUGH, SKIPPED, BadStep, Guard
from components.training.loop import Loop

KINDS = {"nan": math.nan, "infinity": math.inf, "spike": 40.0}
"""By what the loss of a batch is multiplied, and its gradient with it."""


class Poisoned(Loop):
    """A loop whose loss is multiplied at some steps, on one worker; it may be cut off before a step."""

    def __init__(self, job, group, poison, *, on_rank=0, until=None):
        super().__init__(job, group)
        self.until, self.seen = until, []
        if group.rank == on_rank:
            plain, size = self.objective.loss, self.phase.batch_size

            def poisoned(model, batch):
                found = plain(model, batch)
                kind = poison.get(int(batch.indices[0]) // size)
                return replace(found, loss_sum=found.loss_sum * KINDS[kind]) if kind else found

            self.objective = replace(self.objective, loss=poisoned)

    def step(self, step):
        if step == self.until:
            raise KeyboardInterrupt
        try:
            line = super().step(step)
        except BadStep as bad:
            self.seen.append([step, str(bad)])
            raise
        assert torch.isfinite(self.parallel.flat.values).all()
        return line


ONE_OF_TWO = """
import json, sys
from pathlib import Path
from torch import distributed
from components.artifacts import Samples
from components.training.arithmetic import exact_arithmetic
from components.training.config import Job, TrainConfig
from components.training.group import Group
sys.path.insert(0, sys.argv[5])
from test_guards import Poisoned
config, samples, scratch, rank = TrainConfig.model_validate_json(sys.argv[1]), *map(Path, sys.argv[2:4]), int(sys.argv[4])
distributed.init_process_group("gloo", init_method=f"file://{scratch}/meeting", rank=rank, world_size=2)
poison = {int(step): kind for step, kind in json.loads(sys.argv[6]).items()}
loop = Poisoned(Job(config, Samples(samples), None, scratch), Group.current(), poison, on_rank=1)
with exact_arithmetic(1):
    loop.run()
print(json.dumps(loop.seen))
"""


def test_twenty_bad_steps_of_one_of_two_workers(configure, samples, tmp_path):
    """NaN, infinity and spikes at 20 steps on rank 1: both ranks decide alike, and the record names the documents."""
    chance = random.Random(4)
    steps = [ENOUGH + 8 + 12 * number + chance.randrange(4) for number in range(20)]
    poison = {step: chance.choice(sorted(KINDS)) for step in steps}
    config = configure(
        num_workers=2, tokens=(steps[-1] + 10) * 2 * 64, batch_size=2, max_skips=20, checkpoint_seconds=0.05
    )
    here = __file__.rpartition("/")[0]
    command = [sys.executable, "-c", ONE_OF_TWO, config.model_dump_json(), samples.path, tmp_path]
    workers = [
        subprocess.Popen([*command, str(rank), here, json.dumps(poison)], stdout=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    seen = [worker.communicate(timeout=600)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert seen[0] == seen[1]
    assert [step for step, _ in json.loads(seen[0])] == steps

    job = Job(config, samples, None, tmp_path)
    state = newest_verified(job.checkpoints, pytest.fail, job=job.digest).state
    documents = pq.read_table(samples.path / "documents.parquet").select(["id", "source"]).to_pylist()
    for step, record in zip(steps, state.skips, strict=True):
        assert record["step"] == step + 1
        assert record["skipped_steps"] == [step + 2 - SKIPPED, step + 1]
        assert record["indices"] == list(range(2 * step, 2 * step + 2))
        assert record["documents"]
        assert all(document in documents for document in record["documents"])
        assert {"nan": "nan", "infinity": "inf", "spike": "sigma"}[poison[step]] in record["reason"]
    told = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines() if line]
    assert [line["skip"] for line in told if "skip" in line] == state.skips
    learnt = state.step - len({n for s in steps for n in range(s + 1 - SKIPPED, s + 1)})
    assert state.tokens == learnt * 2 * 64
    weights = load_file(whole(job.checkpoints)[-1] / "model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_a_kill_changes_no_decision(configure, samples, tmp_path):
    """Cut off right after it went back, and again later: the same steps are skipped, and the same bits come out."""
    poison = {3: "nan", 60: "spike", 66: "infinity"}

    def run(name, checkpoint_seconds, *cuts):
        config = configure(checkpoint_seconds=checkpoint_seconds, batch_size=2, tokens=75 * 2 * 64)
        job = Job(config, samples, None, tmp_path / name)
        for until in cuts:
            loop = Poisoned(job, Group(0, 1), poison, until=until)
            with pytest.raises(KeyboardInterrupt):
                loop.run()
        loop = Poisoned(job, Group(0, 1), poison)
        loop.run()
        skips = newest_verified(job.checkpoints, pytest.fail, job=job.digest).state.skips
        return loop.parallel.flat.values, [record["step"] for record in skips]

    with exact_arithmetic(1):
        undisturbed, skips = run("undisturbed", 1e9)
        again, same = run("cut", 0.02, 2, 62, 70)
    assert skips == same == [4, 61, 67]
    assert torch.equal(undisturbed, again)


def test_a_phase_without_patience_ends_at_the_first_bad_step(configure, samples, tmp_path):
    job = Job(configure(max_skips=0), samples, None, tmp_path)
    with pytest.raises(TrainingError, match=r"the loss is nan .* at step 8 of 79, after 0 skipped windows"):
        Poisoned(job, Group(0, 1), {7: "nan"}).run()


def test_what_counts_as_a_spike(configure):
    guard = Guard(configure(spike_sigma=10).phase)
    chance = random.Random(0)
    for _ in range(ENOUGH):
        guard.check(chance.gauss(3, 0.1), 1.0)  # too few to judge by: these may be anything
    guard.check(3.9, 1.0)
    with pytest.raises(BadStep, match=r"the loss is 5\.4, 1[0-9.]+ sigma above 3\.0"):
        guard.check(5.4, 1.0)
    even = Guard(configure(spike_sigma=10).phase)
    for _ in range(ENOUGH):
        even.check(3.0, 1.0)
    even.check(3.2, 1.0)  # any number of sigma, but no rise to speak of
    with pytest.raises(BadStep):
        even.check(3.7, 1.0)
