"""A step belongs to a process that lives, whatever becomes of the machine's clock."""

import subprocess
import sys
import time

import psutil
import pytest

from components.ledger import owners
from components.ledger.owners import holds, this_process

HOUR = 3600.0


@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=["put back", "put forward"])
def test_a_clock_that_is_changed_makes_nobody_dead(monkeypatch, jump):
    """The system derives when a process was started from its clock, and says another time after it was changed."""
    owner, lease = this_process(), time.time() + 2 * HOUR
    boot_time = psutil.boot_time()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot_time + jump)
    monkeypatch.setattr(owners, "now", lambda: time.time() + jump)
    assert holds(owner, lease)


def test_a_process_that_has_ended_holds_nothing_however_long_its_lease():
    code = "from components.ledger.owners import this_process; print(this_process())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert not holds(ended, time.time() + 1000 * HOUR)
    assert holds("another-machine/" + ended.split("/", 1)[1], time.time() + HOUR)
    assert not holds(this_process(), time.time() - 1)
