"""How much memory this process holds, and held at its busiest."""

from pathlib import Path


def peak_memory() -> int:
    """The most bytes that were ever resident. Not getrusage's, which a process inherits from the one that started it."""
    return _status("VmHWM")


def resident_memory() -> int:
    """The bytes that are resident now."""
    return _status("VmRSS")


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
