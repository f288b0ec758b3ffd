"""The heap of a process that runs for months: one for all threads, without large holes, and tidied now and then.

What is kept, and for how long, does not belong here.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

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


def tidy_heap(*, thoroughly: bool) -> None:
    """Take away what is left in circles, and keep what has lasted out of the collector's way.

    What failed calls leave in circles (an error, its frames and all that these hold) outlives the young generations. The
    old one is collected by itself only once it has grown by a quarter: days later, or, where much is made in a short
    time, over and over while all threads wait. So it is collected here, and afterwards holds only what comes next.
    `thoroughly`: what had lasted until an earlier call is looked through, too; with 1,000 apps that takes a tenth of a second.
    """
    if thoroughly:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
