"""The training loop: the same for every objective, for one process and for many.

Every worker takes its share of each batch, in micro-batches where the phase says so; their gradients add up, and all
make the same step. How the model lies in the workers is the business of `components.training.parallel`. Only rank 0 reads
and writes checkpoints and progress; what it resumes from reaches the others by broadcast.
"""

import math
import time

import torch
from torch import nn

from components.errors import TrainingError
from components.training.checkpoint import State, newest_verified, save
from components.training.config import Job
from components.training.group import Group
from components.training.loader import Loader, total_steps
from components.training.model import initial_model
from components.training.objectives import objective
from components.training.parallel import divided
from components.training.parallel.base import Sums
from components.training.peak import peak_memory
from components.training.progress import Line, ProgressWriter
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
        progress = ProgressWriter(self.job.progress) if self.group.rank == 0 else None
        first, seconds = self.resume(progress)
        start = saved = time.monotonic()
        before = self.tokens
        for step in range(first, self.total):
            line = self.step(step)
            now, last = time.monotonic(), step + 1 == self.total
            if progress and (last or progress.due):
                speed = (self.tokens - before) / (now - start)
                progress.write({**line, "tokens_per_second": round(speed, 1), "memory_bytes": peak_memory()})
            if last or self.group.agreed(now - saved >= self.phase.checkpoint_seconds):
                self.save(step + 1, seconds + now - start)
                saved = time.monotonic()

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
        for batch, found in zip(batches, losses, strict=True):
            self.parallel.take(found, batch.num_tokens)
        return self.parallel.mean()

    def save(self, step: int, seconds: float) -> None:
        """Write the checkpoint after `step` steps. Every worker takes part."""
        files = self.parallel.state()
        if self.group.rank == 0:
            state = State(step=step, loss=self.loss, tokens=self.tokens, seconds=seconds, job=self.job.digest)
            save(self.job.checkpoints, state, **files)

    def resume(self, progress: ProgressWriter | None) -> tuple[int, float]:
        """Bring all workers to rank 0's newest checkpoint, or its first weights: (steps done, seconds spent)."""
        seconds = 0.0
        done = torch.zeros(2, dtype=torch.int64)  # steps and tokens
        found = newest_verified(self.job.checkpoints, progress.write, job=self.job.digest) if progress else None
        if found and progress:
            done[0], done[1], seconds, self.loss = (
                found.state.step,
                found.state.tokens,
                found.state.seconds,
                found.state.loss,
            )
            progress.write({"resumed_from": found.state.step})
        self.group.share(done)
        step, self.tokens = done.tolist()
        self.parallel.restore(found, step)
        return step, seconds
