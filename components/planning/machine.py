"""What this machine can do, measured."""

import os
import time

from components.recipe import Strict

SIDE = 1024
SECONDS = 1.0


class Machine(Strict):
    """A machine as the plan sees it."""

    cores: int
    memory_bytes: int
    threads: int
    """How many threads `flops` was measured with."""
    flops: float
    """Floating-point operations per second of an fp32 matrix product: the peak that utilisation is a part of."""


def measure(threads: int = 1) -> Machine:
    """This machine, with the best rate of a 1024-cubed fp32 product on `threads` threads; takes about a second."""
    import psutil
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        flops = _product_rate()
    finally:
        torch.set_num_threads(before)
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        threads=threads,
        flops=flops,
    )


def _product_rate() -> float:
    import torch

    left, right = torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE)
    best, until = 0.0, time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        start = time.perf_counter()
        torch.mm(left, right)
        best = max(best, 2 * SIDE**3 / (time.perf_counter() - start))
    return best
