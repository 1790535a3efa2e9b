"""Guards: what happens at a step that should not be learnt from.

A step is bad where the loss or the gradient is not finite, or the loss is a spike. Its batch and those just before it,
whose updates may have led there, are skipped, and training goes back to a checkpoint from before them (as for PaLM,
Chowdhery et al. 2022, section 5.1). Decisions are taken on sums over all workers and on what checkpoints carry along, so
every worker decides alike, and so does whoever goes on after a kill.
"""

import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from components.errors import TrainingError
from components.recipe import TrainPhase

RUNNING = 64
"""Losses of the running window."""
ENOUGH = 32
"""Losses from which on a spike is looked for: the first ones fall fast."""
LEAST_RISE = 0.1
"""A spike is also this much above the mean: where all losses are nearly equal, a small difference is many sigma."""
SKIPPED = 8
"""Batches of a skipped window, the bad one being the last."""


class BadStep(Exception):
    """Nothing was learnt from this step's batch; the text says why."""


@dataclass(frozen=True)
class Skip:
    """Steps `first` to `last` (counted from 0) that are not learnt from; `last` is the bad one."""

    first: int
    last: int


class Guard:
    """The losses learnt from of late, and the skipped windows."""

    def __init__(self, phase: TrainPhase) -> None:
        self.phase = phase
        self.losses: deque[float] = deque(maxlen=RUNNING)
        self.skips: list[Skip] = []

    def check(self, loss: float, norm: float) -> None:
        """Look at a batch's mean loss and gradient norm before its update. Raises BadStep."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise BadStep(f"the loss is {loss} and the gradient norm {norm}")
        if len(self.losses) >= ENOUGH:
            mean, sigma = statistics.fmean(self.losses), statistics.pstdev(self.losses)
            if loss > mean + max(self.phase.spike_sigma * sigma, LEAST_RISE * abs(mean)):
                raise BadStep(f"the loss is {loss:.4g}, {(loss - mean) / max(sigma, 1e-12):.3g} sigma above {mean:.4g}")
        self.losses.append(loss)

    def is_skipped(self, step: int) -> bool:
        """Whether `step` lies in a skipped window."""
        return any(skip.first <= step <= skip.last for skip in self.skips)

    def updates(self, step: int) -> int:
        """How many of the first `step` steps were learnt from."""
        return step - len({n for skip in self.skips for n in range(skip.first, min(skip.last + 1, step))})

    def skip(self, step: int, reason: str, total: int) -> Skip:
        """Skip the window that ends with the bad `step`. Raises TrainingError where that was done too often."""
        if len(self.skips) >= self.phase.max_skips:
            raise TrainingError(
                f"Phase {self.phase.name}: {reason} at step {step + 1} of {total}, after {len(self.skips)} skipped windows "
                f"(max_skips); try a learning_rate below {self.phase.learning_rate}."
            )
        self.skips.append(Skip(max(0, step + 1 - SKIPPED), step))
        return self.skips[-1]

    def put_losses(self, losses: Sequence[float]) -> None:
        """Compare the next loss with these."""
        self.losses = deque(losses, maxlen=RUNNING)

    def memory(self) -> torch.Tensor:
        """All of it as float64, of a length that only the phase decides; NaN where nothing is."""
        ends = [end for skip in self.skips for end in (skip.first, skip.last)]
        memory = torch.full((RUNNING + 2 * self.phase.max_skips,), math.nan, dtype=torch.float64)
        memory[: len(self.losses)] = torch.tensor(list(self.losses), dtype=torch.float64)
        memory[RUNNING : RUNNING + len(ends)] = torch.tensor(ends, dtype=torch.float64)
        return memory

    def remember(self, memory: torch.Tensor) -> None:
        """Take over what `memory` gave."""
        self.put_losses([x for x in memory[:RUNNING].tolist() if not math.isnan(x)])
        ends = [int(x) for x in memory[RUNNING:].tolist() if not math.isnan(x)]
        self.skips = [Skip(*pair) for pair in zip(ends[::2], ends[1::2], strict=True)]


def described(skip: Skip, reason: str, indices: Sequence[int], documents: Sequence[dict[str, str]]) -> dict[str, Any]:
    """What is kept of a skip: the bad step (counted from 1, as in progress), its samples, and whose text they are."""
    return {
        "step": skip.last + 1,
        "reason": reason,
        "skipped_steps": [skip.first + 1, skip.last + 1],
        "indices": list(indices),
        "documents": list(documents),
    }


def skips_of(records: Sequence[dict[str, Any]]) -> list[Skip]:
    """The windows that `described` has described."""
    return [Skip(first - 1, last - 1) for first, last in (record["skipped_steps"] for record in records)]
