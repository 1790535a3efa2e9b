"""Ends a training in its middle, in this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

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
