"""Memory that the allocator keeps: a training step asks for the same large blocks again and again."""

import ctypes

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt (malloc.h)."""
LARGEST = 2**30
PAD = 64 * 2**20


def keep_pages() -> None:
    """Make glibc reuse large blocks in place of giving their pages back to the kernel, which clears them anew each time.

    For a process that trains: a step would spend a tenth of its time on page faults. Elsewhere than on glibc nothing
    happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((MMAP_THRESHOLD, LARGEST), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, PAD)):
        mallopt(parameter, value)
