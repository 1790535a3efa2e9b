"""Order, losses and bits when the number of workers changes in the middle of a phase, and what equal bits cost.

1. 100 restarts after a random number of steps, each with another number of workers (1 to 8, as the loader and the order
   see them, in this process): every sample exactly once per epoch, in the order of one worker. The peer is what accelerate's
   sampler (that of transformers' Trainer) yields when a run with a fixed batch per worker goes on with another number
   of workers at the step it had reached.
2. Real training of the 0.5M Llama on shipped text, in gloo processes: 4 to 2 to 3 workers against one (largest difference
   of the loss), and with `reproducible = true` 1 to 2 to 4 to 1 against one (equal bits or not).
3. Processor time of a step of the 5M Llama with and without `reproducible`, interleaved.

Prints as its last line {"ours", "peers", "ratio": parts of the samples read exactly once, "restarts", "loss_difference",
"bits_equal", "reproducible_speed": tokens per second of processor time against not reproducible, "runs"}.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import BatchSamplerShard, SeedableRandomSampler, SkipBatchSampler
from safetensors.torch import load_file
from torch.utils.data import BatchSampler

from components.artifacts import Samples
from components.recipe import PrepareConfig, TrainPhase
from components.training.arithmetic import exact_arithmetic
from components.training.config import Job, TrainConfig
from components.training.group import Group
from components.training.loader import Loader
from components.training.loop import Loop
from tests.support.shipped import shipped_samples

GANG = Path(__file__).parents[1] / "support" / "gang.py"
PREPARE = PrepareConfig(vocab_size=2048, context=128)
RESTARTS, BATCH, EACH = 100, 24, 6
STEPS, RUNS = 120, 9


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = shipped_samples(folder, PREPARE)
        ours, peer = order(samples), peer_order(samples)
        row: dict[str, Any] = {"ours": ours, "peers": {"accelerate": peer}, "ratio": round(ours / peer, 3)}
        row |= {"restarts": RESTARTS, **trained(samples, folder), "reproducible_speed": speed(samples, folder)}
    print(json.dumps({**row, "runs": RUNS}))


def attempts(num_steps: int) -> Iterator[tuple[int, int, int]]:
    """(first step, step at which it is lost, workers) of each attempt: 100 losses, some steps of each done again."""
    chance, first = random.Random(0), 0
    for left in range(RESTARTS, 0, -1):
        lost = first + chance.randint(0, 2 * (num_steps - first) // (left + 1))
        yield first, lost, chance.randint(1, 8)
        first = max(first, lost - chance.randint(0, 3))
    yield first, num_steps, 4


def order(samples: Samples) -> float:
    """The part of an epoch's samples that is read exactly once, of what counts: the last time that a step was done."""
    loader = Loader(samples, batch_size=BATCH, seed=0)
    num_steps = -(-loader.num_samples // BATCH)
    read: dict[int, list[int]] = {}
    for first, lost, workers in attempts(num_steps):
        for step in range(first, lost):
            parts = [loader.batch(step, rank=rank, world_size=workers) for rank in range(workers)]
            read[step] = [index for part in parts for index in part.indices.tolist()]
    indices = [index for step in range(num_steps) for index in read[step]]
    assert indices == list(range(num_steps * BATCH))
    return once([loader.number(index) for index in indices[: loader.num_samples]], loader.num_samples)


def peer_order(samples: Samples) -> float:
    """The same of accelerate's seeded sampler with EACH samples per worker, going on by skipping the steps done."""
    number = Loader(samples, batch_size=BATCH, seed=0).num_samples
    sampler = SeedableRandomSampler(range(number), data_seed=0)
    batches = BatchSampler(sampler, EACH, drop_last=False)
    read: dict[int, list[int]] = {}
    step = 0
    for first, lost, workers in attempts(-(-number // BATCH)):
        shards = [BatchSamplerShard(batches, workers, rank) for rank in range(workers)]
        steps = zip(*(SkipBatchSampler(shard, first) for shard in shards), strict=True)
        for step, parts in enumerate(islice(steps, lost - first), first):
            read[step] = [sample for part in parts for sample in part]
    return once([sample for each in range(step + 1) for sample in read.get(each, [])], number)


def once(read: list[int], number: int) -> float:
    """Which part of `number` samples was read exactly once."""
    return round(sum(times == 1 for times in Counter(read).values()) / number, 4)


def trained(samples: Samples, folder: Path) -> dict[str, Any]:
    """Losses and bits of real phases in gloo processes."""
    exact = {"reproducible": True, "micro_shards": 4}
    groups = {
        "one": ({}, [(1, STEPS)]),
        "many": ({"num_workers": (1, 4)}, [(4, STEPS // 3), (2, 2 * STEPS // 3), (3, STEPS)]),
        "exact": (exact, [(1, STEPS)]),
        "moved": (exact, [(1, STEPS // 4), (2, STEPS // 2), (4, 3 * STEPS // 4), (1, STEPS)]),
    }
    jobs = {name: job(samples, folder / name, "0.5m", **fields) for name, (fields, _) in groups.items()}
    plan = [
        {"job": jobs[name].as_json(), "workers": workers, "until": until, "trace": str(folder / f"{name}.jsonl")}
        for name, (_, parts) in groups.items()
        for workers, until in parts
    ]
    (folder / "plan.json").write_text(json.dumps(plan))
    subprocess.run([sys.executable, GANG, folder / "plan.json"], check=True)
    one, many = losses(folder / "one.jsonl"), losses(folder / "many.jsonl")
    last = f"checkpoints/step-{STEPS:08d}"
    exact_one, moved = (weights(folder / name / last) for name in ("exact", "moved"))
    return {
        "loss": [round(one[0], 4), round(one[STEPS - 1], 4)],
        "loss_difference": max(abs(one[step] - many[step]) for step in range(STEPS)),
        "bits_equal": all(torch.equal(tensor, moved[name]) for name, tensor in exact_one.items()),
    }


def speed(samples: Samples, folder: Path) -> float:
    """Tokens per second of processor time of one worker, reproducible against not: medians, interleaved."""
    loops = {
        exact: Loop(job(samples, folder / f"speed-{exact}", "5m", reproducible=exact), Group(0, 1))
        for exact in (False, True)
    }
    took: dict[bool, list[float]] = {False: [], True: []}
    with exact_arithmetic(1):
        for run in range(RUNS + 1):
            for exact, loop in loops.items():
                start = time.process_time()
                loop.step(run)
                took[exact].append(time.process_time() - start)
    plain, exact = (statistics.median(took[which][1:]) for which in (False, True))
    return round(plain / exact, 3)


def job(samples: Samples, scratch: Path, size: str, **fields: Any) -> Job:
    """A phase of STEPS steps with a checkpoint each second."""
    tokens = STEPS * BATCH * PREPARE.context
    given = {"tokens": tokens, "batch_size": BATCH, "num_workers": 1, "checkpoint_seconds": 1, **fields}
    return Job(TrainConfig(family="llama", size=size, phase=TrainPhase(name="phase", **given)), samples, None, scratch)


def losses(trace: Path) -> dict[int, float]:
    """The loss of each step, of the last time that it was done."""
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    return {line["step"]: line["loss"] for line in sorted(lines, key=lambda line: line["group"])}


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Weights and moments."""
    return load_file(checkpoint / "model.safetensors") | load_file(checkpoint / "optimizer.safetensors")


if __name__ == "__main__":
    main()
