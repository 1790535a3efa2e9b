"""The training loop: the same for every objective, for one process and for many.

Every worker takes its share of each batch, in micro-batches where the phase says so; their gradients add up, and all
make the same step. How the model lies in the workers is the business of `components.training.parallel`. Only rank 0 reads
and writes checkpoints and progress; what it resumes from reaches the others by broadcast.
"""

import math
from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import nn

from components.errors import TrainingError
from components.training.arithmetic import seed_draws
from components.training.batch import Batch
from components.training.config import Job
from components.training.group import Group
from components.training.loader import Loader, total_steps
from components.training.model import initial_model
from components.training.objectives import objective
from components.training.parallel import divided
from components.training.parallel.base import Sums
from components.training.progress import Line
from components.training.record import Record
from components.training.schedule import learning_rate


class Loop:
    """One worker's part of one phase."""

    def __init__(self, job: Job, group: Group) -> None:
        phase = job.config.phase
        self.job, self.group, self.phase = job, group, phase
        self.objective = objective(phase.objective).of(phase, job.samples)
        self.loader = Loader.of(phase, job.samples)
        self.total = total_steps(phase, job.samples)
        self.model: nn.Module = initial_model(job).train()
        self.parallel = divided(phase, self.model, self.objective, group)
        frozen = initial_model(job).eval().requires_grad_(False) if self.objective.needs_reference else None
        self.reference = self.parallel.frozen(frozen) if frozen else None
        self.tokens, self.loss = 0, 0.0

    def run(self) -> None:
        """Train from the newest checkpoint to the last step, and leave a checkpoint of it. Raises TrainingError."""
        with Record(self.job) if self.group.rank == 0 else nullcontext() as record:
            for step in range(self.resume(record), self.total):
                line = self.step(step)
                if record:
                    record.show(line)
                due = record is not None and record.due(self.phase.checkpoint_seconds)
                if step + 1 == self.total or self.group.agreed(due):
                    files = self.parallel.state()
                    if record:
                        record.save(step + 1, self.loss, self.tokens, files)

    def step(self, step: int) -> Line:
        """One optimizer step; returns what there is to show of it. Every worker raises the same TrainingError."""
        sums = self.reduce(step)
        self.loss = sums.loss / max(1, sums.num_targets)
        norm = self.parallel.norm()
        if not (math.isfinite(self.loss) and math.isfinite(norm)):
            raise TrainingError(
                f"Phase {self.phase.name}: the loss is {self.loss} and the gradient norm {norm} at step {step + 1} of "
                f"{self.total}; try a learning_rate below {self.phase.learning_rate}."
            )
        if norm > self.phase.clip_norm:
            self.parallel.scale(self.phase.clip_norm / norm)
        rate = learning_rate(self.phase, step, self.total)
        for group in self.parallel.optimizer.param_groups:
            group["lr"] = rate
        self.parallel.optimizer.step()
        self.tokens += sums.num_tokens
        means = {n: s / max(1, sums.num_targets) for n, s in zip(self.objective.metrics, sums.metrics, strict=True)}
        shown = {"loss": self.loss, "learning_rate": rate, "grad_norm": norm, "tokens": self.tokens, **means}
        return {"step": step + 1, "total": self.total, "workers": self.group.world_size, **shown}

    def reduce(self, step: int) -> Sums:
        """Put the mean gradient over all targets of batch `step` into the parameters' `grad`; returns the batch's sums."""
        self.parallel.begin()
        batches = self.parallel.micro_batches(self.loader, step)
        losses = self.objective.backward(self.model, batches, self.parallel.data, self.reference)
        for batch, found in zip(self.seeded(batches), losses, strict=True):
            self.parallel.take(found, batch.num_tokens)
        return self.parallel.mean()

    def seeded(self, batches: list[Batch]) -> Iterator[Batch]:
        """The micro-batches, each of which decides what a model draws at random (dropout) while it goes through it."""
        for batch in batches:
            seed_draws(self.phase.seed, int(batch.indices[0]))
            yield batch

    def resume(self, record: Record | None) -> int:
        """Bring all workers to rank 0's newest checkpoint, or its first weights; returns the steps done."""
        done = torch.zeros(2, dtype=torch.int64)  # steps and tokens
        found = record.newest() if record else None
        if found:
            done[0], done[1], self.loss = found.state.step, found.state.tokens, found.state.loss
        self.group.share(done)
        step, self.tokens = done.tolist()
        self.parallel.restore(found, step)
        return step
