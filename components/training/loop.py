"""The training loop: the same for every objective, for one process and for many.

Every worker takes its share of each batch, in micro-batches where the phase says so; their gradients add up, and all
make the same step. How the model lies in the workers is the business of `components.training.parallel`. Only rank 0
writes progress, makes checkpoints and says which one to resume from. What it holds reaches the others by broadcast; where
the model lies in shards each worker writes and reads its own.
"""

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import nn

from components.training.arithmetic import seed_draws
from components.training.batch import Batch
from components.training.checkpoint import Checkpoint
from components.training.commit import partial
from components.training.config import Job
from components.training.figures import Figures
from components.training.group import Group
from components.training.guards import BadStep, Guard, described, skips_of
from components.training.kernels import use_fast_kernels
from components.training.loader import Loader, total_steps
from components.training.model import initial_model
from components.training.objectives import objective
from components.training.parallel import divided
from components.training.parallel.base import Sums
from components.training.precision import chosen, use_precision
from components.training.progress import Line
from components.training.record import Record
from components.training.schedule import learning_rate
from components.training.texts import sample_of_text
from components.training.writer import PartWriter


class Loop:
    """One worker's part of one phase."""

    def __init__(self, job: Job, group: Group) -> None:
        phase = job.config.phase
        self.job, self.group, self.phase = job, group, phase
        self.objective = objective(phase.objective).of(phase, job.samples)
        self.loader = Loader.of(phase, job.samples)
        self.total = total_steps(phase, job.samples)
        precision = chosen(phase)

        def ready() -> nn.Module:
            model = use_fast_kernels(initial_model(job).to(group.device), phase)
            return use_precision(model, precision, group.device)

        self.model: nn.Module = ready().train()
        self.parallel = divided(phase, self.model, self.objective, group)
        frozen = ready().eval().requires_grad_(False) if self.objective.needs_reference else None
        self.reference = self.parallel.frozen(frozen) if frozen else None
        self.guard = Guard(phase)
        self.tokens, self.loss = 0, 0.0
        self.writer: PartWriter | None = None

    def run(self) -> None:
        """Train from the newest checkpoint to the last step, and leave a checkpoint of it. Raises TrainingError."""
        with self.record() if self.group.rank == 0 else nullcontext() as record:
            step = self.resume(record)
            if step == 0 and self.phase.max_skips:
                self.save(record, 0)  # a bad step among the first ones goes back to it
            while step < self.total:
                try:
                    line = self.step(step)
                except BadStep as bad:
                    step = self.go_back(record, step, str(bad))
                    continue
                step += 1
                if record:
                    record.show(line)
                if self.phase.text_steps and step % self.phase.text_steps == 0:
                    text = sample_of_text(self.model, self.job.samples, self.loader)
                    if record:
                        record.progress.write({"text": text, "after": step})
                due = record is not None and record.due(self.phase.checkpoint_seconds)
                if step == self.total or self.group.agreed(due):
                    self.save(record, step)
            self.written(record)

    def record(self) -> Record:
        """What rank 0 does beside training."""
        figures = Figures(self.phase, self.job.samples, self.model, self.loader, self.group)
        return Record(self.job, figures)

    def step(self, step: int) -> Line:
        """One step; returns what there is to show of it. Every worker raises the same BadStep before it learns."""
        shown: Line = {}
        if not self.guard.is_skipped(step):
            sums = self.reduce(step)
            loss, norm = sums.loss / max(1, sums.num_targets), self.parallel.norm()
            self.guard.check(loss, norm)
            self.loss = loss
            if norm > self.phase.clip_norm:
                self.parallel.scale(self.phase.clip_norm / norm)
            rate = learning_rate(self.phase, step, self.total)
            for group in self.parallel.optimizer.param_groups:
                group["lr"] = rate
            if self.writer:
                self.writer.wait_for_copy()
            self.parallel.optimizer.step()
            self.tokens += sums.num_tokens
            means = {n: s / max(1, sums.num_targets) for n, s in zip(self.objective.metrics, sums.metrics, strict=True)}
            shown = {"learning_rate": rate, "grad_norm": norm, **means}
        here = {"step": step + 1, "total": self.total, "workers": self.group.world_size}
        return {**here, "loss": self.loss, "tokens": self.tokens, **shown}

    def go_back(self, record: Record | None, step: int, reason: str) -> int:
        """Skip the batches up to the bad `step`; returns the step of the checkpoint to go on from. Raises TrainingError."""
        skip = self.guard.skip(step, reason, self.total)
        if record is None:
            return self.restore(None)
        indices = range(step * self.phase.batch_size, (step + 1) * self.phase.batch_size)
        return self.restore(record.back_before(described(skip, reason, indices, self.loader.origins(indices))))

    def reduce(self, step: int) -> Sums:
        """Put the mean gradient over all targets of batch `step` into the parameters' `grad`; returns the batch's sums."""
        self.parallel.begin()
        batches = [batch.to(self.group.device) for batch in self.parallel.micro_batches(self.loader, step)]
        losses = self.objective.backward(self.model, batches, self.parallel.data, self.reference)
        for batch, found in zip(self.seeded(batches), losses, strict=True):
            self.parallel.take(found, batch.num_tokens)
        return self.parallel.mean()

    def seeded(self, batches: list[Batch]) -> Iterator[Batch]:
        """The micro-batches, each of which decides what a model draws at random (dropout) while it goes through it."""
        for batch in batches:
            seed_draws(self.phase.seed, int(batch.indices[0]))
            yield batch

    def save(self, record: Record | None, step: int) -> None:
        """Begin to write the checkpoint after `step` steps; every worker takes part."""
        token = torch.tensor(record.writer.begin(step) if record else 0)
        if self.parallel.num_parts > 1:
            self.group.share(token)
        part = self.parallel.part()
        if record:
            self.writer = record.writer
            record.save(step, self.loss, self.tokens, self.guard.losses, part, int(token))
        elif self.parallel.num_parts > 1:
            self.writer = self.writer or PartWriter(self.job.checkpoints)
            self.writer.submit(partial(self.job.checkpoints, step, int(token)), part)

    def written(self, record: Record | None) -> None:
        """Wait until the others' parts of the last checkpoint are there; where one is not, everyone raises."""
        if self.writer and not record:
            self.writer.wait()
        if self.parallel.num_parts > 1:
            self.group.meet()

    def resume(self, record: Record | None) -> int:
        """Bring all workers to rank 0's newest checkpoint, or its first weights; returns the steps done."""
        found = record.newest() if record else None
        self.guard.skips = skips_of(record.skips) if record else []
        return self.restore(found)

    def restore(self, found: Checkpoint | None) -> int:
        """Bring all workers to rank 0's checkpoint `found`, or its first weights; returns the steps done."""
        done = torch.zeros(3, dtype=torch.int64)  # steps, tokens, and whether there is a checkpoint
        if found:
            done[0], done[1], done[2], self.loss = found.state.step, found.state.tokens, 1, found.state.loss
            self.guard.put_losses(found.state.losses)
        memory = self.guard.memory()
        self.group.share(done, memory)
        self.guard.remember(memory)
        step, self.tokens, there = done.tolist()
        if there and self.parallel.num_parts > 1:  # then each reads what it has a part of
            found = found or Checkpoint.of_step(self.job.checkpoints, step)
        self.parallel.restore(found, self.guard.updates(step))
        return step
