"""Who holds a lease: a process, named so that a dead one is known at once on its own machine."""

import os
import secrets
import socket

from components.births import birth, is_alive
from components.ledger.database import now


def this_process() -> str:
    """A name for this process that no other, earlier or later, has."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{pid}/{birth(pid)}/{secrets.token_hex(4)}"


def holds(owner: str | None, lease: float) -> bool:
    """Whether `owner` is still at work: its lease runs, and, where we can see, its process lives."""
    if not owner or lease < now():
        return False
    host, pid, born = owner.rpartition("/")[0].split("/", 2)
    return host != socket.gethostname() or is_alive(int(pid), born)
