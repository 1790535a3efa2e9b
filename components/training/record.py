"""What rank 0 does beside training: it alone makes and chooses checkpoints, and writes progress."""

import shutil
import time
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from components.errors import TrainingError
from components.training.checkpoint import Checkpoint, State, newest_verified, step_of, whole
from components.training.config import Job
from components.training.figures import Figures
from components.training.lock import sole_writer
from components.training.pieces import Part
from components.training.progress import Line, ProgressWriter
from components.training.writer import CheckpointWriter


class Record:
    """The checkpoints and the progress of a phase, held while it trains; leaving waits for the last checkpoint."""

    def __init__(self, job: Job, figures: Figures) -> None:
        self.job, self.figures = job, figures
        self.seconds_before = 0.0
        self.skips: list[dict[str, Any]] = []

    def __enter__(self) -> "Record":
        phase = self.job.config.phase
        with ExitStack() as held:  # let go of again where one of these raises
            held.enter_context(sole_writer(self.job.scratch))
            self.progress = ProgressWriter(self.job.progress)
            self.writer = CheckpointWriter(self.job.checkpoints, keep_last=phase.keep_last, keep_best=phase.keep_best)
            self._held = held.pop_all()
        self._saved = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._held:
            self.writer.wait(quietly=error is not None)

    def newest(self) -> Checkpoint | None:
        """The checkpoint to go on from. Raises TrainingError where it is another job's."""
        found = self._verified()
        if found:
            self.seconds_before, self.skips = found.state.seconds, found.state.skips
            self.progress.write({"resumed_from": found.state.step})
        return found

    def back_before(self, skip: dict[str, Any]) -> Checkpoint:
        """Keep the record of a `skip`; the checkpoint from before it. Raises TrainingError where there is none."""
        self.skips.append(skip)
        first, last = skip["skipped_steps"]
        self.seconds_before = self.seconds
        self.writer.wait()
        for folder in whole(self.job.checkpoints):
            if step_of(folder) >= first:  # it has learnt what is skipped now
                shutil.rmtree(folder)
        found = self._verified()
        if found is None:
            raise TrainingError(f"{skip['reason']} at step {last}, and no checkpoint from before step {first} is left.")
        back = f"going back to step {found.state.step} and skipping the batches of steps {first} to {last}"
        self.progress.write({"warning": f"Step {last}: {skip['reason']}; {back}.", "skip": skip})
        return found

    @property
    def seconds(self) -> float:
        """Time spent in the loop, over all attempts."""
        return self.seconds_before + self.figures.seconds

    def _verified(self) -> Checkpoint | None:
        found = newest_verified(self.job.checkpoints, self.progress.write, job=self.job.digest)
        self._saved = time.monotonic()
        self.figures.begin(found.state.tokens if found else 0)
        return found

    def show(self, line: Line) -> None:
        """A line of progress after a step: every half second, and the last one."""
        self.figures.stepped()
        if self.progress.due or line["step"] == line["total"]:
            self.progress.write({**line, **self.figures.of(line)})

    def due(self, checkpoint_seconds: float) -> bool:
        """Whether the next checkpoint should be taken: never while one is being written."""
        return time.monotonic() - self._saved >= checkpoint_seconds and not self.writer.busy

    def save(self, step: int, loss: float, tokens: int, losses: Iterable[float], part: Part, token: int) -> None:
        """Begin to write the checkpoint after `step` steps, of which `token` is the name's. Raises TrainingError."""
        self._saved = time.monotonic()
        state = State(step, loss, tokens, self.seconds, self.job.digest, list(losses), list(self.skips))
        self.writer.save(state, part, token)
