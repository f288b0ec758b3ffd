"""One service for one apps tree: a lock on the tree's root itself.

The state folder has a lock of its own; this one keeps two services with two states off the same apps. It ends
with the process that holds it, and writes nothing into the tree.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from controller.model.errors import StateLocked


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
        """Who else holds the root that is there now, or "". Holds it not."""
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
        try:
            # Several may look at the same time, and none of them keeps another from looking.
            fcntl.flock(descriptor, (fcntl.LOCK_EX if keep else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError:
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
