"""Arithmetic that gives the same bits each time: an explicit number of threads and deterministic kernels."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch
from torch.utils import deterministic


@contextmanager
def exact_arithmetic(threads: int) -> Iterator[None]:
    """So many threads, only deterministic kernels and fp32 in full while inside; the process is as before afterwards."""
    threads_before, deterministic_before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled_before = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    tf32_before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False  # convolutions on a GPU, which keep 10 bits of 23 by default
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling costs 2% of the time, and only finds kernels that read what nobody wrote.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = tf32_before
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(deterministic_before)
        deterministic.fill_uninitialized_memory = filled_before  # type: ignore[attr-defined]


def seed_draws(seed: int, index: int) -> None:
    """Make what a model draws (dropout) a function of the global index of a sample: then no random state has to be kept."""
    torch.manual_seed(int.from_bytes(blake2b(f"{seed}/{index}".encode(), digest_size=7).digest(), "little"))
