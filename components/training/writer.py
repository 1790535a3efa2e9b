"""Checkpoints are written beside the training: copied while the next step's gradients are computed, then written.

The loop waits only where the copy is not done when the weights are about to change.
"""

import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

import torch

from components.errors import TrainingError
from components.training.checkpoint import State, Tensors, write
from components.training.retention import prune


class CheckpointWriter:
    """Writes checkpoints in a thread, one at a time, and prunes after each. It holds one copy of the state.

    An error of the thread is raised at the next call, as TrainingError.
    """

    def __init__(self, checkpoints: Path, *, keep_last: int, keep_best: int) -> None:
        self.checkpoints, self.keep_last, self.keep_best = checkpoints, keep_last, keep_best
        self._buffers: dict[str, dict[str, torch.Tensor]] = {}
        self._thread: threading.Thread | None = None
        self._copied = threading.Event()
        self._copied.set()
        self._given: Mapping[str, Tensors] = {}
        self._error: Exception | None = None
        self._remove_torn()

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, state: State, files: Mapping[str, Tensors]) -> None:
        """Copy the tensors and write them as the checkpoint of `state`, after the one before. Raises TrainingError.

        Nobody may change them before `wait_for_copy` returns.
        """
        self.wait()
        self._copied.clear()
        self._given = files
        # Not a daemon: whoever leaves the loop by an error still finds the checkpoint that was on its way.
        self._thread = threading.Thread(target=self._write, args=(state,), name="checkpoint-writer")
        self._thread.start()

    def wait_for_copy(self) -> None:
        """Return when the tensors last submitted may change again."""
        self._copied.wait()

    def wait(self, quietly: bool = False) -> None:
        """Return when nothing is being written any more. Unless `quietly`, raises TrainingError where that failed."""
        if self._thread is not None:
            self._thread.join()
        error, self._error = self._error, None
        if error and not quietly:
            raise TrainingError(f"The checkpoint cannot be written to {self.checkpoints}: {error}") from error

    def _write(self, state: State) -> None:
        try:
            self._copy()
            write(self.checkpoints, state, self._buffers)
            prune(self.checkpoints, keep_last=self.keep_last, keep_best=self.keep_best)
        except Exception as error:
            self._error = error
            self._remove_torn()  # a full disk has need of its room

    def _copy(self) -> None:
        try:
            for name, tensors in self._given.items():
                if name not in self._buffers:
                    self._buffers[name] = {key: torch.empty_like(part, device="cpu") for key, part in tensors.items()}
                for key, tensor in tensors.items():
                    self._buffers[name][key].copy_(tensor)
        finally:
            self._given = {}  # gathered from shards, they are nobody else's
            self._copied.set()

    def _remove_torn(self) -> None:
        for torn in self.checkpoints.glob(".step-*.partial"):
            shutil.rmtree(torn)
