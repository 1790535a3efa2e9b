"""Checkpoints are written beside the training: copied while the next step's gradients are computed, then written.

The loop waits only where the copy is not done when the weights are about to change.
"""

import json
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

from components.errors import TrainingError
from components.faults import point
from components.training.checkpoint import State
from components.training.commit import begin, commit, partial, write_part
from components.training.copies import Copies
from components.training.pieces import Part
from components.training.retention import prune

GRACE_SECONDS = 5.0
"""How long a writer that ends by an error still waits for what the others write."""
LOOK_SECONDS = 0.02


class PartWriter:
    """Writes this worker's part of checkpoints in a thread, one at a time. It holds one copy of it.

    An error of the thread is raised at the next call, as TrainingError.
    """

    def __init__(self, checkpoints: Path) -> None:
        self.checkpoints = checkpoints
        self._copies = Copies()
        self._thread: threading.Thread | None = None
        self._copied = threading.Event()
        self._copied.set()
        self._part = Part({})
        self._error: Exception | None = None

    @property
    def busy(self) -> bool:
        """Whether a part is being written."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, folder: Path, part: Part) -> None:
        """Copy `part` and write it into `folder`, after the one before. Raises TrainingError.

        Nobody may change its tensors before `wait_for_copy` returns.
        """
        self.wait()
        self._copied.clear()
        self._part = part
        self._copies.expect(part)
        # Not a daemon: whoever leaves the loop by an error still finds the checkpoint that was on its way.
        self._thread = threading.Thread(target=self._run, args=(folder,), name="checkpoint-writer")
        self._thread.start()

    def wait_for_copy(self) -> None:
        """Return when the tensors last submitted may change again. Raises TrainingError where they were not written."""
        self._copied.wait()
        if not self.busy:
            self.wait()

    def wait(self, quietly: bool = False) -> None:
        """Return when nothing is being written any more. Unless `quietly`, raises TrainingError where that failed."""
        if self._thread is not None:
            self._thread.join()
        error, self._error = self._error, None
        if error and not quietly:
            raise self._told(error) from error

    def _told(self, error: Exception) -> TrainingError:
        return TrainingError(f"The checkpoint cannot be written to {self.checkpoints}: {error}")

    def _run(self, folder: Path) -> None:
        try:
            self._write(folder, self._copy())
        except Exception as error:
            self._error = error
            self._failed(folder, error)

    def _copy(self) -> Part:
        try:
            return self._copies.take(self._part)
        finally:
            self._copied.set()

    def _write(self, folder: Path, part: Part) -> None:
        digests = write_part(folder, part)
        point("checkpoint.part_written")
        tell(folder, part.number, {"files": digests})

    def _failed(self, folder: Path, error: Exception) -> None:
        with suppress(OSError):  # then the others hear of it when this worker leaves
            tell(folder, self._part.number, {"error": str(error)})


class CheckpointWriter(PartWriter):
    """Rank 0's: it makes a checkpoint of its own part and those of the others, and prunes after each."""

    def __init__(self, checkpoints: Path, *, keep_last: int, keep_best: int) -> None:
        super().__init__(checkpoints)
        self.keep_last, self.keep_best = keep_last, keep_best
        self._state: State
        self._left = threading.Event()
        self._remove_torn()

    def begin(self, step: int) -> int:
        """Make the folder of the checkpoint of `step`; returns the token of its name. Raises TrainingError."""
        self.wait()
        token = time.time_ns()
        try:
            begin(self.checkpoints, step, token)
        except OSError as error:
            raise self._told(error) from error
        return token

    def save(self, state: State, part: Part, token: int) -> None:
        """Make the checkpoint of `state`, whose folder has this `token`. Raises TrainingError."""
        self._state = state
        self.submit(partial(self.checkpoints, state.step, token), part)

    def wait(self, quietly: bool = False) -> None:
        """As of a part. Whoever waits `quietly`, for an error, does not wait long for the others."""
        if quietly:
            if self._thread is not None and self._part.of > 1:
                self._thread.join(GRACE_SECONDS)
            self._left.set()
        super().wait(quietly)

    def _write(self, folder: Path, part: Part) -> None:
        digests = write_part(folder, part)
        for number in range(1, part.of):
            digests |= self._heard(folder, number)
        commit(folder, self._state, digests)
        prune(self.checkpoints, keep_last=self.keep_last, keep_best=self.keep_best)

    def _heard(self, folder: Path, number: int) -> dict[str, str]:
        """The digests of the files of part `number`, when they are written. Raises OSError."""
        path = _message(folder, number)
        while not path.exists():
            if self._left.wait(LOOK_SECONDS):
                raise OSError(f"worker {number} has not written its part")
        said = json.loads(path.read_bytes())
        path.unlink()
        if "error" in said:
            raise OSError(f"worker {number}: {said['error']}")
        found: dict[str, str] = said["files"]
        return found

    def _failed(self, folder: Path, error: Exception) -> None:
        self._remove_torn()  # a full disk has need of its room

    def _remove_torn(self) -> None:
        for torn in self.checkpoints.glob(".step-*.partial"):
            shutil.rmtree(torn, ignore_errors=True)


def tell(folder: Path, number: int, said: dict[str, object]) -> None:
    """Leave for rank 0 what it is to know of part `number`. Raises OSError."""
    path = _message(folder, number)
    path.with_suffix(".new").write_text(json.dumps(said))
    path.with_suffix(".new").rename(path)


def _message(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.json"
