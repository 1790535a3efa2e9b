"""Training loops in several processes: `python tests/support/gang.py PLAN.json`.

The plan is a list of groups that work one after the other: {"job", "workers", "until", "trace"}. Workers are forked from
this process, which has imported everything already and computed nothing, and meet over gloo. Each one appends what it
did to "trace": one line a step, with the global indices it read and the loss of the whole batch.
"""

import json
import os
import sys
import tempfile
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from components.artifacts import Samples
from components.models import family
from components.recipe import TrainPhase
from components.training.arithmetic import exact_arithmetic
from components.training.config import Job, TrainConfig
from components.training.group import Group
from components.training.loader import Loader
from components.training.loop import Loop
from components.training.objectives import objective
from components.training.parallel.reproducible import Reproducible


class Interrupted(Exception):
    """The group has done its steps."""


class Traced(Loop):
    """A loop that writes down what it reads, and is cut off before step `until`."""

    def __init__(self, job: Job, group: Group, part: dict[str, Any]) -> None:
        super().__init__(job, group)
        self.until, self.trace, self.number = part["until"], Path(part["trace"]), part["number"]
        self.read: list[int] = []
        samples = self.loader.samples

        def remembered(indices: Any) -> Any:
            self.read.extend(indices)
            return samples(indices)

        self.loader.samples = remembered  # type: ignore[method-assign]

    def step(self, step: int) -> dict[str, Any]:
        """One step, traced. Raises Interrupted in place of step `until`."""
        if step == self.until:
            raise Interrupted
        self.read.clear()
        line = super().step(step)
        done = {"group": self.number, "rank": self.group.rank, "step": step, "indices": self.read, "loss": line["loss"]}
        with self.trace.open("a") as file:
            file.write(json.dumps(done) + "\n")
        return line


def prepare(config: TrainConfig) -> None:
    """Import what a phase of `config` needs, which costs more than a few steps of it."""
    family(config.family).on_meta(config.size)
    if config.phase.parallel == "fsdp":
        import_module("components.training.parallel.sharded")


def work(part: dict[str, Any], rank: int, meeting: str) -> None:
    """One worker's part of a group."""
    distributed.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=part["workers"], timeout=timedelta(minutes=20)
    )
    job = Job.from_json(part["job"])
    with exact_arithmetic(job.config.phase.threads), suppress(Interrupted):
        Traced(job, Group.current(), part).run()
    distributed.destroy_process_group()


def reduced(phase: TrainPhase, model: nn.Module, samples: Samples, group: Group) -> torch.Tensor:
    """The gradient and the sums of the first batch of `phase`, as one vector."""
    wanted, loader = objective(phase.objective), Loader.of(phase, samples)
    parallel = Reproducible(phase, model, wanted.metrics, group)
    parallel.begin()
    batches = parallel.micro_batches(loader, 0)
    for batch, found in zip(batches, wanted.backward(model, batches, group), strict=True):
        parallel.take(found, batch.num_tokens)
    parallel.mean()
    return parallel.flat.reduced


def run(part: dict[str, Any]) -> None:
    """One group, to its end. Exits where a worker has failed."""
    with tempfile.TemporaryDirectory() as folder:
        workers = [_forked(part, rank, f"file://{folder}/meeting") for rank in range(part["workers"])]
        if any([os.waitpid(worker, 0)[1] for worker in workers]):
            sys.exit(1)


def _forked(part: dict[str, Any], rank: int, meeting: str) -> int:
    if worker := os.fork():
        return worker
    try:
        work(part, rank, meeting)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    plan = json.loads(Path(sys.argv[1]).read_text())
    for part in plan:
        prepare(Job.from_json(part["job"]).config)
    for number, part in enumerate(plan):
        run({**part, "number": number})
