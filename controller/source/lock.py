"""One service for one apps tree: a lock on the tree's root itself.

The state folder has a lock of its own; this one keeps two services with two states off the same apps. It ends
with the process that holds it, and writes nothing into the tree.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from controller.model.errors import StateLocked

_TRIES, _PAUSE = 12, 0.01
"""An `other()` elsewhere shares the lock for some microseconds; a service keeps it for itself."""


class TreeLock:
    """A context manager. A root that is not there or cannot be opened cannot be locked, and needs no lock."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._descriptor: int | None = None

    def __enter__(self) -> TreeLock:
        """Take the lock. Raises `StateLocked`, naming the holder's pid where the system tells."""
        if kept := self._take():
            raise StateLocked(f"apps tree {self._root} {kept}")
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()

    def holds(self) -> bool:
        """Whether the root that is there now is the one that is held."""
        try:
            return self._descriptor is not None and os.path.samestat(
                os.fstat(self._descriptor), self._root.stat()
            )
        except OSError:
            return False

    def other(self) -> str:
        """Who else holds the root that is there now, or "". Holds it no longer than it takes to find out.

        By the lock and not by the kernel's table, which names other devices on some file systems and does not show who is
        in another container.
        """
        return self._take(keep=False)

    def let_go(self) -> None:
        """Hold nothing: an open folder keeps the disk that it is on from being unmounted."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def follow(self) -> str:
        """Hold the root that is there now, if it is another one than before; answers with who else holds it, or ""."""
        if self.holds():
            return ""
        self.let_go()
        return self._take()

    def _take(self, *, keep: bool = True) -> str:
        try:
            descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return ""
        if not (_lock(descriptor) if keep else _try(descriptor, fcntl.LOCK_SH)):
            holder = _holder(os.fstat(descriptor))
            os.close(descriptor)
            return (
                f"is kept by a running Homeport{holder}, with a state of its own. "
                "Stop that one first: two would undo each other's work"
            )
        if keep:
            self._descriptor = descriptor
        else:
            os.close(descriptor)
        return ""


def _lock(descriptor: int) -> bool:
    """Take the lock, unless somebody keeps it. Who only looks is waited for: nobody is refused its own tree by that."""
    pause = threading.Event()
    for _ in range(_TRIES):
        if _try(descriptor, fcntl.LOCK_EX):
            return True
        if not _try(descriptor, fcntl.LOCK_SH):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        pause.wait(_PAUSE)
    return False


def _try(descriptor: int, how: int) -> bool:
    """`how`: for oneself, or shared, by which none who looks keeps another from looking."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _holder(info: os.stat_result) -> str:
    """Who holds a flock on this file, from the kernel's table of locks."""
    wanted = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    try:
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == wanted:
                return f", pid {fields[4]}"
    except OSError:
        pass
    return ""
