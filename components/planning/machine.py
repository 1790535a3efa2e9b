"""What this machine can do, measured."""

import os

from components.flops import product_rate
from components.recipe.fields import Strict

SECONDS = 1.0


class Machine(Strict):
    """A machine as the plan sees it."""

    cores: int
    memory_bytes: int
    threads: int
    """How many threads `flops` was measured with."""
    flops: float
    """Floating-point operations per second of an fp32 matrix product: the peak that utilisation is a part of."""


def measure(threads: int = 1, seconds: float = SECONDS) -> Machine:
    """This machine, with the best rate of a 1024-cubed fp32 product on `threads` threads, tried for so many `seconds`."""
    import psutil
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        flops = product_rate(seconds)
    finally:
        torch.set_num_threads(before)
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        threads=threads,
        flops=flops,
    )
