"""Named places at which a test may have the process killed, to show that a rerun ends the same.

`HEADWATER_FAULT=name` kills this process, as SIGKILL does, when it passes `point(name)`; `name:3` at the third
passage. Without the variable a point costs one look into the environment.
"""

import os
import signal
from collections import Counter

passed: Counter[str] = Counter()
"""How often each point was passed in this process."""


def point(name: str) -> None:
    """Die here if HEADWATER_FAULT says so."""
    passed[name] += 1
    wanted, _, nth = os.environ.get("HEADWATER_FAULT", "").partition(":")
    if wanted == name and passed[name] == int(nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)
