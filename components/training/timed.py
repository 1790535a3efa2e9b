"""The training loop with a clock: it stops by itself when enough of its steps have been timed."""

import math
import os
import statistics
import time
from typing import Any

import torch

from components.training.config import Job
from components.training.group import Group
from components.training.loop import Loop
from components.training.others import Others, undisturbed
from components.training.peak import peak_memory

WARM_UP = 3
"""Steps before those that count."""
LEAST, MOST = 2, 500
NEVER, NOW = 1e9, 1e-9
"""Seconds from one checkpoint to the next."""


class Enough(Exception):
    """All steps that were wanted have been made."""


class TimedLoop(Loop):
    """A loop that times its steps for about `seconds`: first some without a checkpoint, then as many with one.

    The first step of all has one too, as a phase begins with one: what is held for it is used again by later steps.
    """

    def __init__(self, job: Job, group: Group, seconds: float) -> None:
        super().__init__(job, group)
        self.wanted, self.num_timed = seconds, MOST
        self.starts: list[float] = []
        self.peaks: list[int] = []
        self._checkpoints_every(NEVER)

    def step(self, step: int) -> dict[str, Any]:
        """One step of the loop. Raises Enough in place of the one after the last."""
        self.starts.append(time.perf_counter())
        self.peaks.append(peak_memory())
        done = len(self.starts) - 1
        if done == WARM_UP:
            self.num_timed, self.others = self._agreed(), Others(self.group)
        if done == WARM_UP + self.num_timed:
            self.disturbed = self.others.seconds()
        if done == WARM_UP + 2 * self.num_timed:
            raise Enough
        line = super().step(step)
        self._checkpoints_every(NOW if done in (0, WARM_UP + self.num_timed - 1) else NEVER)
        return line

    def figures(self) -> dict[str, float]:
        """Seconds of a step that has the machine to itself, of what the first takes more, and of what a checkpoint adds; and
        how memory grows.

        The heap fills up with blocks of the sizes that batches of several lengths ask for, by about as much from one step to
        the third as from the hundredth to the three-hundredth: growth_bytes is by how much while steps become e times as many.
        """
        took = [end - start for start, end in zip(self.starts, self.starts[1:], strict=False)]
        plain, saving = took[WARM_UP : WARM_UP + self.num_timed], took[WARM_UP + self.num_timed :]
        each, last = statistics.fmean(plain), WARM_UP + self.num_timed
        wanted = self.phase.most_workers * self.phase.threads
        alone = undisturbed(sum(plain), self.disturbed, wanted, os.cpu_count() or 1) / len(plain)
        growth = (self.peaks[last] - self.peaks[WARM_UP]) / math.log(last / WARM_UP)
        return {
            "step_seconds": alone,
            "first_seconds": max(0.0, sum(took[:WARM_UP]) - WARM_UP * each),
            "checkpoint_seconds": max(0.0, sum(saving) - len(saving) * each),
            "growth_bytes": growth,
            "steps": len(took),
        }

    def _agreed(self) -> int:
        """How many steps all workers will time, by the speed of rank 0."""
        last = self.starts[-1] - self.starts[-2]
        number = torch.tensor([min(MOST, max(LEAST, round(self.wanted / 2 / last)))])
        self.group.share(number)
        return int(number)

    def _checkpoints_every(self, seconds: float) -> None:
        self.phase = self.phase.model_copy(update={"checkpoint_seconds": seconds})
