"""Reading and writing one file so that nothing can hang, leak or be torn.

For files that other people wrote: a FIFO must not block, a device must not be read, a link must not lead a
write elsewhere. What is in the files does not matter here.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from controller.model.errors import WriteFailed

LIMIT = 1024 * 1024
"""Bytes; a manifest, a compose file or an `.env` beyond this is a mistake."""


class Unfit(Exception):
    """A file that is there but cannot be used; the message is a rule for people."""


def read(path: Path, limit: int = LIMIT) -> bytes | None:
    """The bytes of a regular file, or None when there is none.

    Raises `Unfit` for what is not a regular file, too large, or not readable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unfit(f"cannot be read: {os.strerror(error.errno or 0)}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unfit("is not a regular file")
        if status.st_size > limit:
            raise Unfit(f"has {status.st_size} bytes; at most {limit} are read")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit + 1)
    except OSError as error:
        raise Unfit(f"cannot be read: {os.strerror(error.errno or 0)}") from error
    finally:
        os.close(descriptor)


def text(data: bytes) -> str:
    """The bytes as text; raises `Unfit` when they are not UTF-8. A byte order mark is dropped."""
    try:
        decoded = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unfit(f"is not UTF-8 (byte {error.start})") from None
    if "\0" in decoded:
        raise Unfit("holds a NUL byte")
    return decoded


def signature(path: Path) -> tuple[int, ...] | None:
    """What changes whenever the file may have changed, without reading it; None when it is not there."""
    try:
        s = path.stat()
    except OSError:
        return None
    return (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


def replace_private(path: Path, data: bytes, expected: tuple[int, ...] | None) -> bool:
    """Replace the file at once with mode 0600, its owner kept; the old content stays whole until then.

    Answers False, and writes nothing, when the file is no longer the one of the signature `expected`.
    Raises `WriteFailed`, also for a link or a folder in its place: a link is not followed.
    """
    new = path.with_name(f".homeport-{path.name}.new")
    try:
        old = path.lstat() if path.is_symlink() or path.exists() else None
        if old is not None and not stat.S_ISREG(old.st_mode):
            raise WriteFailed(f"{path} is not a regular file; put a plain file in its place")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            if old is not None and os.geteuid() == 0:
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if signature(path) != expected:
            new.unlink()
            return False
        new.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise WriteFailed(
            f"{path} could not be written: {os.strerror(error.errno or 0)}; the old file is whole"
        ) from error
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
