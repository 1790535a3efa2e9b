"""Who holds a lease: a process, named so that a dead one is known at once on its own machine."""

import os
import secrets
import socket

import psutil

from components.ledger.database import now


def this_process() -> str:
    """A name for this process that no other, earlier or later, has."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{pid}/{psutil.Process(pid).create_time():.2f}/{secrets.token_hex(4)}"


def holds(owner: str | None, lease: float) -> bool:
    """Whether `owner` is still at work: its lease runs, and, where we can see, its process lives."""
    if not owner or lease < now():
        return False
    host, pid, started, _ = owner.split("/")
    if host != socket.gethostname():
        return True
    try:
        process = psutil.Process(int(pid))
        return f"{process.create_time():.2f}" == started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
