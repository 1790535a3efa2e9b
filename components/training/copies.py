"""Copies of what goes into a checkpoint, in the memory of the CPU: one at a time, in the same memory each time.

What lies on a GPU is copied in a stream of its own, beside the work that was asked for since.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from components.training.pieces import Part

CPU = torch.device("cpu")


class Copies:
    """The memory of a part's tensors."""

    def __init__(self) -> None:
        self._buffers: dict[str, dict[str, torch.Tensor]] = {}
        self._ready: torch.cuda.Event | None = None

    def expect(self, part: Part) -> None:
        """Remember the place in a GPU's work at which `part` is to be copied: after all that was asked for up to now."""
        tensors = (tensor for tensors in part.files.values() for tensor in tensors.values())
        device = next((tensor.device for tensor in tensors), CPU)
        self._ready = torch.cuda.current_stream(device).record_event() if device.type == "cuda" else None

    def take(self, part: Part) -> Part:
        """`part` with copies of its tensors, as they are at the place that was remembered; they are done."""
        for name, tensors in part.files.items():
            if name not in self._buffers:
                self._buffers[name] = {key: _buffer(tensor) for key, tensor in tensors.items()}
        with _beside(self._ready):
            for name, tensors in part.files.items():
                for key, tensor in tensors.items():
                    self._buffers[name][key].copy_(tensor, non_blocking=True)
        return replace(part, files=self._buffers)


def _buffer(tensor: torch.Tensor) -> torch.Tensor:
    """Memory for a copy of `tensor`; pinned where a GPU is to write it by itself."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)


@contextmanager
def _beside(ready: torch.cuda.Event | None) -> Iterator[None]:
    """What a GPU does inside waits for `ready` and for nothing else, and is done afterwards."""
    if ready is None:
        yield
        return
    stream = torch.cuda.Stream(ready.device)
    with torch.cuda.stream(stream):
        stream.wait_event(ready)
        yield
    stream.synchronize()
