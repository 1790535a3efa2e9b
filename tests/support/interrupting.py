"""Ends a training in its middle, in this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from components.digests import folder_content
from components.training.loop import Loop


class Interrupted(Exception):
    """What ends it."""


@contextmanager
def interrupted(before: int) -> Iterator[None]:
    """What trains inside comes to the step `before` and no further; one checkpoint of the steps just done is there."""
    step = Loop.step

    def until(loop: Loop, number: int) -> dict:
        if number == before - 1:  # a checkpoint is not taken while one is written: the next one is
            for thread in threading.enumerate():
                if thread.name == "checkpoint-writer":
                    thread.join()
        if number == before:
            raise Interrupted
        return step(loop, number)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Loop, "step", until)
        with pytest.raises(Interrupted):
            yield


def check_resumes(run_train: Any, phase: Any, samples: Any, steps: int) -> None:
    """Interrupted three steps before `steps` and gone on from a checkpoint, `phase` gives the bytes of no interruption."""
    undisturbed, facts, _ = run_train(phase, samples, name="undisturbed")
    with interrupted(steps - 3):
        run_train(phase, samples, name="interrupted")
    out, resumed, _ = run_train(phase, samples, name="interrupted")
    assert 0 < resumed["resumed_from"] < facts["steps"]
    assert folder_content(out, "export") == folder_content(undisturbed, "export")
