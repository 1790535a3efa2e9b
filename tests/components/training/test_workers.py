"""Other numbers of workers, also in the middle of a phase: the same samples, losses and, where promised, bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from components.recipe import TrainPhase, identity_fields
from components.training.checkpoint import newest_verified, whole
from components.training.config import Job
from components.training.tree import TreeSum, leaves, shards_of

GANG = Path(__file__).parents[2] / "support" / "gang.py"
STEPS = 8
SHARDED = {"reproducible": False, "parallel": "fsdp"}


@pytest.fixture
def gang(samples, tmp_path):
    """Run phases with changing workers, in one process group after the other: {name: (config, [(workers, until)...])}.

    With a fault, a worker is killed there, and what is left is looked at.
    """

    def run(phases, fault=""):
        plan = []
        for name, (config, groups) in phases.items():
            described = Job(config, samples, None, tmp_path / name).as_json()
            trace = str(tmp_path / f"{name}.jsonl")
            plan += [{"job": described, "workers": w, "until": until, "trace": trace} for w, until in groups]
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        environment = {**os.environ, "HEADWATER_FAULT": fault}
        done = subprocess.run([sys.executable, GANG, tmp_path / "plan.json"], env=environment)
        assert bool(done.returncode) == bool(fault)
        return {name: Done(Job(config, samples, None, tmp_path / name)) for name, (config, _) in phases.items()}

    return run


class Done:
    """What a phase left: per step the indices read by all workers in order, the losses, and the last checkpoint."""

    def __init__(self, job):
        self.steps = {}  # step -> rank -> its line, of the last group that did the step
        lines = [json.loads(line) for line in job.scratch.with_suffix(".jsonl").read_text().splitlines()]
        for line in sorted(lines, key=lambda line: line["group"]):
            ranks = self.steps.setdefault(line["step"], {})
            if any(other["group"] < line["group"] for other in ranks.values()):
                ranks.clear()
            ranks[line["rank"]] = line
        found = newest_verified(job.checkpoints, lambda line: None, job=job.digest)
        self.step = found.state.step
        self.tensors = {**found.tensors("model"), **found.tensors("optimizer")}

    @property
    def indices(self):
        steps = [self.steps[step] for step in sorted(self.steps)]
        return [[index for rank in sorted(ranks) for index in ranks[rank]["indices"]] for ranks in steps]

    @property
    def losses(self):
        return [self.steps[step][0]["loss"] for step in sorted(self.steps)]


def test_reproducible_bits_do_not_depend_on_the_workers(configure, gang):
    """One worker against 1, 2, 4, 3 (of which one waits) and 1 in mid-run; the last batch has uneven micro-shards."""
    phase = {"batch_size": 6, "tokens": STEPS * 6 * 64, "reproducible": True, "checkpoint_seconds": 1e-6}
    config = configure(**phase)
    done = gang(
        {
            "one": (config, [(1, STEPS)]),
            "many": (configure(**phase, num_workers=4), [(1, 2), (2, 4), (4, 6), (3, 7), (1, STEPS)]),
        }
    )
    one, many = done["one"], done["many"]
    assert one.step == many.step == STEPS
    assert one.losses == many.losses
    assert one.tensors.keys() == many.tensors.keys()
    assert all(torch.equal(tensor, many.tensors[name]) for name, tensor in one.tensors.items())
    assert one.indices == many.indices == [list(range(6 * step, 6 * step + 6)) for step in range(STEPS)]


def test_four_two_and_three_workers_read_and_learn_what_one_does(configure, gang):
    """Attempts end between checkpoints, so that some steps are done again; the global batch stays the same."""
    phase = {"batch_size": 12, "tokens": STEPS * 12 * 64, "checkpoint_seconds": 0.05}
    elastic = configure(**phase, num_workers=(1, 4), micro_batch_size=2)
    done = gang({"one": (configure(**phase), [(1, STEPS)]), "many": (elastic, [(4, 3), (2, 6), (3, STEPS)])})
    one, many = done["one"], done["many"]
    assert one.step == many.step == STEPS
    assert one.indices == many.indices
    assert many.losses == pytest.approx(one.losses, abs=1e-4)
    assert one.losses[-1] < one.losses[0] - 0.2


def test_shards_give_the_losses_of_one_process_and_change_hands(configure, gang):
    """FSDP on 2 and 4 workers, tensor parallelism with and without it; from one to another by a checkpoint."""
    phase = {"batch_size": 12, "tokens": STEPS * 12 * 64, "checkpoint_seconds": 1e-6}
    fsdp = configure(**phase, num_workers=(1, 4), parallel="fsdp")
    tensor = configure(**phase, num_workers=4, parallel="fsdp", tensor_parallel=2)
    done = gang(
        {
            "one": (configure(**phase), [(1, STEPS)]),
            "fsdp": (fsdp, [(4, 4), (2, STEPS)]),
            "tensor": (tensor, [(4, 4), (2, STEPS)]),
        }
    )
    one = done.pop("one")
    for name, many in done.items():
        assert many.step == STEPS
        assert many.losses == pytest.approx(one.losses, abs=1e-5), name
        assert many.tensors.keys() == one.tensors.keys()
        for tensor, expected in one.tensors.items():
            assert torch.allclose(many.tensors[tensor], expected, atol=1e-4), (name, tensor)


def test_every_worker_writes_its_shards_and_one_that_is_killed_costs_no_bit(configure, gang, tmp_path):
    """Killed when its files are there and rank 0 has not heard of them: of that checkpoint nothing is used."""
    config = configure(batch_size=12, tokens=STEPS * 12 * 64, checkpoint_seconds=1e-6, num_workers=2, parallel="fsdp")
    plain = gang({"plain": (config, [(2, STEPS)])})["plain"]
    newest = whole(tmp_path / "plain" / "checkpoints")[-1]
    sizes = {path.name: path.stat().st_size for path in newest.glob("*.safetensors")}
    assert set(sizes) == {f"{name}-0000{n}-of-00002.safetensors" for name in ("model", "optimizer") for n in (1, 2)}
    assert max(sizes.values()) < 0.6 * sum(size for name, size in sizes.items() if name.startswith("optimizer"))
    killed = gang({"killed": (config, [(2, STEPS)])}, fault="checkpoint.part_written:3")["killed"]
    assert 0 < killed.step < STEPS
    again = gang({"killed": (config, [(2, STEPS)])})["killed"]
    assert again.step == STEPS
    assert all(torch.equal(tensor, plain.tensors[name]) for name, tensor in again.tensors.items())
    assert not list((tmp_path / "killed" / "checkpoints").glob(".step-*"))


def test_the_number_of_workers_is_identity_unless_it_changes_nothing(configure):
    two, four = (identity_fields(configure(batch_size=8, num_workers=n)) for n in (2, 4))
    assert two != four
    two, four = (identity_fields(configure(batch_size=8, num_workers=n, reproducible=True)) for n in (2, 4))
    assert two == four


def test_micro_shards_are_divided_as_subtrees():
    for workers in range(1, 9):
        parts = [shards_of(rank, workers, 8) for rank in range(workers)]
        assert [shard for part in parts for shard in part] == list(range(8))
        assert sum(map(len, parts[: leaves(workers, 8)])) == 8
    vectors = torch.randn(8, 33)
    tree, halves = TreeSum(), [TreeSum(), TreeSum()]
    for number, vector in enumerate(vectors):
        tree.add(vector)
        halves[number // 4].add(vector)
    a, b, c, d, e, f, g, h = vectors
    assert torch.equal(tree.total(), ((a + b) + (c + d)) + ((e + f) + (g + h)))
    assert torch.equal(tree.total(), halves[0].total() + halves[1].total())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"micro_shards": 3}, "micro_shards 3 is no power of two"),
        ({"micro_shards": 32}, "micro_shards 32 is more than batch_size 16"),
        ({"num_workers": 8}, "num_workers 8 is more than micro_shards 4"),
        ({"num_workers": 3}, "num_workers 3 is no power of two"),
        ({"micro_batch_size": 2}, "leave micro_batch_size out"),
        ({"reproducible": False, "micro_shards": 4}, "micro_shards is for reproducible = true"),
        ({"num_workers": -1}, "num_workers -1 is neither a number from 0 to 1024 nor a range"),
        ({"num_workers": (4, 2)}, r"num_workers \(4, 2\) is neither"),
        ({"num_workers": (0, 2)}, r"num_workers \(0, 2\) is neither"),
        ({"num_workers": (1, 8)}, "num_workers 8 is more than micro_shards 4"),
        ({"parallel": "fsdp"}, 'reproducible is for parallel = "replicated"'),
        ({"reproducible": False, "tensor_parallel": 2}, 'tensor_parallel is for parallel = "fsdp"'),
        ({**SHARDED, "num_workers": (2, 3)}, "batch_size 16 is no multiple of the 3 data workers"),
        ({**SHARDED, "num_workers": (1, 2), "tensor_parallel": 2}, "tensor_parallel 2 does not divide num_workers 1"),
        ({**SHARDED, "optimizer": "muon"}, "optimizer muon needs whole matrices"),
        ({**SHARDED, "objective": "contrastive"}, 'contrastive is for parallel = "replicated"'),
    ],
)
def test_divisions_that_cannot_be_are_refused(fields, says):
    with pytest.raises(ValueError, match=says):
        TrainPhase(name="p", epochs=1, **{"reproducible": True, **fields})
