"""The heap of the C library: one for all threads of the service, and what is free at its end goes back to the system.

For a process that runs for months. What Python itself takes and gives back does not belong here.
"""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h
_THRESHOLD = 128 * 1024  # bytes; glibc's own values, until it raises them


def share_heap() -> None:
    """To be called before the first thread is started; without effect where the C library is not glibc.

    glibc gives each thread a heap of its own. Work falls to any worker, so each heap grows, over days, to the most that
    any run ever took, and keeps it. And each large block that is freed raises the size from which on blocks are given
    back one by one, and twice that is kept at the end of each heap. Threads of Python take turns anyway: one heap costs
    them nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        # Said once, they stay.
        mallopt(_M_MMAP_THRESHOLD, _THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _THRESHOLD)
