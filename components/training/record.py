"""What rank 0 does beside training: it alone reads and writes checkpoints and progress."""

import time
from contextlib import ExitStack
from types import TracebackType

from components.training.checkpoint import Checkpoint, State, Tensors, newest_verified
from components.training.config import Job
from components.training.lock import sole_writer
from components.training.peak import peak_memory
from components.training.progress import Line, ProgressWriter
from components.training.writer import CheckpointWriter


class Record:
    """The checkpoints and the progress of a phase, held while it trains; leaving waits for the last checkpoint."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seconds_before, self.tokens_before = 0.0, 0
        self._held = ExitStack()

    def __enter__(self) -> "Record":
        phase = self.job.config.phase
        self._held.enter_context(sole_writer(self.job.scratch))
        self.progress = ProgressWriter(self.job.progress)
        self.writer = CheckpointWriter(self.job.checkpoints, keep_last=phase.keep_last, keep_best=phase.keep_best)
        self._start = self._saved = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._held:
            self.writer.wait(quietly=error is not None)

    def newest(self) -> Checkpoint | None:
        """The checkpoint to go on from. Raises TrainingError where it is another job's."""
        found = newest_verified(self.job.checkpoints, self.progress.write, job=self.job.digest)
        if found:
            self.seconds_before, self.tokens_before = found.state.seconds, found.state.tokens
            self.progress.write({"resumed_from": found.state.step})
        self._start = self._saved = time.monotonic()
        return found

    def show(self, line: Line) -> None:
        """A line of progress after a step: every half second, and the last one."""
        if self.progress.due or line["step"] == line["total"]:
            speed = (line["tokens"] - self.tokens_before) / (time.monotonic() - self._start)
            self.progress.write({**line, "tokens_per_second": round(speed, 1), "memory_bytes": peak_memory()})

    def due(self, checkpoint_seconds: float) -> bool:
        """Whether the next checkpoint should be taken: never while one is being written."""
        return time.monotonic() - self._saved >= checkpoint_seconds and not self.writer.busy

    def save(self, step: int, loss: float, tokens: int, files: dict[str, Tensors]) -> None:
        """Begin to write the checkpoint after `step` steps. Raises TrainingError where the one before failed."""
        self._saved = time.monotonic()
        seconds = self.seconds_before + self._saved - self._start
        self.writer.submit(State(step=step, loss=loss, tokens=tokens, seconds=seconds, job=self.job.digest), files)
