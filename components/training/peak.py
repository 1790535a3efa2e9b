"""How much memory this process holds, and held at its busiest."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def peak_memory(device: "torch.device | None" = None) -> int:
    """The most bytes that were ever resident; on a GPU, the most that its tensors held.

    Not getrusage's, which a process inherits from the one that started it.
    """
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM")


def resident_memory() -> int:
    """The bytes that are resident now."""
    return _status("VmRSS")


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
