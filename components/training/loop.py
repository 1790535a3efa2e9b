"""The training loop: the same for every objective, for one process and for many.

Every worker holds the whole model, takes its share of each batch, and adds its gradients to the others' in one
all-reduce; then all make the same step. Only rank 0 reads and writes checkpoints and progress; what it resumes from
reaches the others by broadcast, so when a checkpoint is due is nobody else's business.
"""

from contextlib import nullcontext

import torch
from torch import nn

from components.training.adapters import trained
from components.training.arithmetic import seed_step
from components.training.checkpoint import Checkpoint, Tensors
from components.training.config import Job
from components.training.flat import FlatModel, Sums
from components.training.group import Group
from components.training.guards import BadStep, Guard, described, skips_of
from components.training.loader import Loader, total_steps
from components.training.model import initial_model, put_weights
from components.training.objectives import objective
from components.training.optimizers import make_optimizer
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
        self.reference = initial_model(job).eval().requires_grad_(False) if self.objective.needs_reference else None
        self.flat = FlatModel(self.model, num_metrics=len(self.objective.metrics))
        self.optimizer = make_optimizer(phase, self.flat, self.model)
        self.guard = Guard(phase)
        self.tokens, self.loss = 0, 0.0

    def run(self) -> None:
        """Train from the newest checkpoint to the last step, and leave a checkpoint of it. Raises TrainingError."""
        with Record(self.job) if self.group.rank == 0 else nullcontext() as record:
            step = self.resume(record)
            if record and step == 0 and self.phase.max_skips:
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
                    if step == self.total or record.due(self.phase.checkpoint_seconds):
                        self.save(record, step)

    def step(self, step: int) -> Line:
        """One step; returns what there is to show of it. Every worker raises the same BadStep before it learns."""
        shown: Line = {}
        if not self.guard.is_skipped(step):
            seed_step(self.phase.seed, step, self.group.rank)
            sums = self.reduce(step)
            loss, norm = sums.loss / max(1, sums.num_targets), float(self.flat.gradients.norm())
            self.guard.check(loss, norm)
            self.loss = loss
            if norm > self.phase.clip_norm:
                self.flat.gradients.mul_(self.phase.clip_norm / norm)
            rate = learning_rate(self.phase, step, self.total)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            self.tokens += sums.num_tokens
            means = {n: s / max(1, sums.num_targets) for n, s in zip(self.objective.metrics, sums.metrics, strict=True)}
            shown = {"learning_rate": rate, "grad_norm": norm, **means}
        return {"step": step + 1, "total": self.total, "loss": self.loss, "tokens": self.tokens, **shown}

    def go_back(self, record: Record | None, step: int, reason: str) -> int:
        """Skip the batches up to the bad `step`; returns the step of the checkpoint to go on from. Raises TrainingError."""
        skip = self.guard.skip(step, reason, self.total)
        if record is None:
            return self.restore(None)
        indices = range(step * self.phase.batch_size, (step + 1) * self.phase.batch_size)
        return self.restore(record.back_before(described(skip, reason, indices, self.loader.origins(indices))))

    def reduce(self, step: int) -> Sums:
        """Put the mean gradient over all targets of batch `step` into `flat.gradients`; returns the batch's sums."""
        batch = self.loader.batch(step, rank=self.group.rank, world_size=self.group.world_size)
        self.flat.reduced.zero_()
        found = self.objective.backward(self.model, [batch] if batch.size else [], self.group, self.reference)
        if found:
            metrics = [found.metric_sums[name] for name in self.objective.metrics]
            self.flat.put_sums(found.loss_sum, found.num_targets, batch.num_tokens, metrics)
        self.group.add(self.flat.reduced)
        sums = self.flat.sums()
        self.flat.gradients.div_(max(1, sums.num_targets))
        return sums

    def tensors(self) -> dict[str, Tensors]:
        """What a checkpoint holds of this worker's state, by file."""
        model = {name: parameter.detach() for name, parameter in trained(self.model).items()}
        return {"model": model, "optimizer": {"exp_avg": self.flat.exp_avg, "exp_avg_sq": self.flat.exp_avg_sq}}

    def save(self, record: Record, step: int) -> None:
        """Begin to write the checkpoint after `step` steps."""
        record.save(step, self.loss, self.tokens, self.guard.losses, self.tensors())

    def resume(self, record: Record | None) -> int:
        """Bring all workers to rank 0's newest checkpoint, or its first weights; returns the steps done."""
        found = record.newest() if record else None
        self.guard.skips = skips_of(record.skips) if record else []
        return self.restore(found)

    def restore(self, found: Checkpoint | None) -> int:
        """Bring all workers to rank 0's checkpoint `found`, or its first weights; returns the steps done."""
        done = torch.zeros(2, dtype=torch.int64)  # steps and tokens
        if found:
            put_weights(self.model, found.tensors("model"), str(found.folder))
            moments = found.tensors("optimizer")
            self.flat.exp_avg.copy_(moments["exp_avg"])
            self.flat.exp_avg_sq.copy_(moments["exp_avg_sq"])
            done[0], done[1], self.loss = found.state.step, found.state.tokens, found.state.loss
            self.guard.put_losses(found.state.losses)
        memory = self.guard.memory()
        self.group.share(self.flat.values, self.flat.exp_avg, self.flat.exp_avg_sq, done, memory)
        self.guard.remember(memory)
        step, self.tokens = done.tolist()
        for state in self.optimizer.state.values():
            state["step"].fill_(self.guard.updates(step))
        return step
