"""What tells a process from a later one of the same number, whatever becomes of the clock."""

from functools import cache
from pathlib import Path


def birth(pid: int) -> str | None:
    """What tells `pid` from a later process of the same number: boot and start tick; None where there is none alive."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{_boot()}/{fields[19]}"


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def is_alive(pid: int | None, born: str | None) -> bool:
    """Whether the process that was started as `pid` still runs."""
    return pid is not None and born is not None and birth(pid) == born
