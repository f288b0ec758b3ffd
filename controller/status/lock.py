"""The lock of the state folder: one service at a time, known by an open file and not by a pid that may be old.

The kernel lets go of a `flock` when its holder ends, however it ends. What the folder holds is the store's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
from pathlib import Path
from types import TracebackType

from controller.model.errors import StateLocked, StateUnusable

LOCK = "lock"
_TRIES, _PAUSE = 12, 0.01
"""A `holder()` elsewhere holds the lock for some microseconds; a service holds it for longer than this."""
_OURS = (LOCK, "homeport.", "models", "compose")


def prepare_folder(folder: Path) -> None:
    """Make the state folder, readable by its owner alone whatever the umask.

    A folder that also holds things of others (`--state /srv`) keeps its rights: they are not ours to take.
    Raises `StateUnusable`.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.stat()
        mine = info.st_uid == os.geteuid() and all(e.name.startswith(_OURS) for e in folder.iterdir())
        if mine and stat.S_IMODE(info.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise unusable(folder, error) from error


def unusable(path: Path, error: OSError) -> StateUnusable:
    """The error for a state folder or file that the system refuses."""
    advice = (
        "run it as the user of the service (root), or choose another folder with --state"
        if isinstance(error, PermissionError)
        else "make room or mend it, or choose another folder with --state"
    )
    return StateUnusable(f"state {path}: {error.strerror or error}; {advice}")


class StateLock:
    """The lock on one state folder. A context manager: `with StateLock(folder): …`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock; the folder is made when it is not there.

        Raises `StateLocked` with the holder's pid, `StateUnusable` when the folder cannot be used.
        """
        prepare_folder(self.path.parent)
        pause = threading.Event()
        for _ in range(_TRIES):
            if self._try():
                return
            pause.wait(_PAUSE)
        raise StateLocked(
            f"state {self.path.parent}: a running Homeport holds it, {_called(self._pid())}. "
            "Stop that one first: two would undo each other's work"
        )

    def release(self) -> None:
        """Let go. Fine when it is not held."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.ftruncate(fd, 0)
            os.close(fd)

    def follow(self) -> None:
        """Hold the file that stands there now, if it is another one than before: somebody deleted the folder.

        Raises `StateLocked` and `StateUnusable`.
        """
        if self._fd is None:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._fd), self.path.stat()):
                return
        self.release()
        self.acquire()

    def holder(self) -> int | None:
        """The pid of who holds it now, 0 when it is held by someone unknown, None when it is free.

        Raises `StateUnusable` when that cannot be found out.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unusable(self.path, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._pid()
        finally:
            os.close(fd)
        return None

    def __enter__(self) -> StateLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _try(self) -> bool:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise unusable(self.path, error) from error
        try:
            os.fchmod(fd, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Someone may have deleted the file in between; a lock on a nameless file keeps nobody out.
            if os.fstat(fd).st_ino != self.path.stat().st_ino:
                raise BlockingIOError
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except (BlockingIOError, FileNotFoundError):
            os.close(fd)
            return False
        except OSError as error:
            os.close(fd)
            raise unusable(self.path, error) from error
        self._fd = fd
        return True

    def _pid(self) -> int:
        try:
            return int(self.path.read_text())
        except (OSError, ValueError):
            return 0


def _called(pid: int) -> str:
    return f"pid {pid}" if pid else "pid unknown"
