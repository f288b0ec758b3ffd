"""The heap of the C library: one for all threads of the service, without large holes.

For a process that runs for months. What Python itself takes and gives back does not belong here.
"""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h
_LARGE = 32 * 1024  # bytes; less than what a pipe, a socket or a file is read into
_SPARE = 128 * 1024  # bytes; glibc's own value, until it raises it


def share_heap() -> None:
    """To be called before the first thread is started; without effect where the C library is not glibc.

    glibc gives each thread a heap of its own. Work falls to any worker, so each heap grows, over hours, to the most that
    any run ever took, and keeps it. Threads of Python take turns anyway: one heap costs them nothing.

    What is read goes into 64 KiB, of which a few hundred bytes are kept: where those stay, the next 64 KiB do not fit,
    and the heap grows at its end. So large blocks are taken beside it, and given back one by one.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        # Once they are said, glibc no longer raises them by itself.
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _SPARE)
