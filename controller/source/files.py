"""Reading and writing one file so that nothing can hang, leak or be torn.

For files that other people wrote: a FIFO must not block, a device must not be read, a link must not lead a
write elsewhere. What is in the files does not matter here.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
import struct
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from controller.model.errors import WriteFailed
from controller.model.observed import MountedFile

LIMIT = 1024 * 1024
"""Bytes; a manifest, a compose file or an `.env` beyond this is a mistake."""
LIMIT_DIGEST = 64 * LIMIT
"""Bytes of a file of which only the digest matters."""
MOST_LISTED = 300
"""Names in a folder. So many, of the usual length, the system gives at once; among more, one that is being replaced might
be missing."""
_CHUNK = 64 * 1024  # bytes of one read; so many are allocated for it, however small the file is

Signature = tuple[int, ...]
"""Device, inode, size, modification and change time in nanoseconds."""
Place = tuple[int, ...]
"""Device and inode of a folder; () for what is no folder."""

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)
_AT_FDCWD, _RENAME_NOREPLACE, _RENAME_EXCHANGE = -100, 1, 2
_STATX_BTIME, _BTIME_AT = 0x800, 80  # linux/stat.h: the flag, and the place of stx_btime in struct statx
# What a plain rename is fallen back on for: an old kernel or C library, and file systems that cannot.
_NO_FLAGS = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
_NO_LINK = "is a link; put a plain file in its place"
_libc = ctypes.CDLL(None, use_errno=True)


class Unfit(Exception):
    """A file that is there but cannot be used; the message is a rule for people."""


class Irregular(Unfit):
    """It is a folder, a device, a pipe or a socket."""

    def __init__(self) -> None:
        super().__init__("is not a regular file")


class Unreadable(Unfit):
    """The disk or the rights say no: nothing can be said about the content, and it may be there a moment later."""


def read(path: Path | str, limit: int = LIMIT, *, follow: bool = True) -> bytes | None:
    """The bytes of a regular file, or None when there is none.

    A link is followed, or else unfit. Raises `Irregular`, `Unreadable`, or `Unfit` for what is larger than `limit`
    bytes.
    """
    with _opened(path, 0 if follow else os.O_NOFOLLOW) as descriptor:
        if descriptor is None:
            return None
        return _all_of(descriptor, limit)


def read_inside(folder: Path, name: str) -> bytes | None:
    """The bytes of a regular file below the folder, or None when there is none. Raises as `read` does.

    Links are followed as long as they stay inside. Judged is the file that was opened, by its own place: a link that
    is changed meanwhile leads nowhere else. What lies outside is not opened, for some devices act when they are.
    """
    with _opened(folder, os.O_PATH | os.O_DIRECTORY) as top, _opened(folder / name, os.O_PATH) as found:
        if top is None or found is None:
            return None
        if not _place_of(found).is_relative_to(_place_of(top)):
            raise Unfit("leads out of the folder")
        return read(Path(f"/proc/self/fd/{found}"))


def _place_of(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def digest(path: Path | str, limit: int = LIMIT_DIGEST) -> bytes | None:
    """The SHA-256 of a regular file in bounded memory, or None when there is none. Raises as `read` does."""
    with _opened(path) as descriptor:
        if descriptor is None:
            return None
        _check(descriptor, limit)
        result, left = hashlib.sha256(), limit + 1
        while left > 0 and (part := os.read(descriptor, min(left, _CHUNK))):
            result.update(part)
            left -= len(part)
        if left <= 0:
            raise Unfit(f"has more than {limit} bytes")
        return result.digest()


def read_mounted(path: Path) -> MountedFile | None:
    """A regular file with its mode and owner, or None when there is none. Raises as `digest` does."""
    with _opened(path) as descriptor:
        if descriptor is None:
            return None
        data, status = _all_of(descriptor, LIMIT_DIGEST), os.fstat(descriptor)
        return MountedFile(data, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid))


@contextmanager
def _opened(path: Path | str, flags: int = 0) -> Iterator[int | None]:
    descriptor = -1
    try:
        # To open a device is to use it: a tape rewinds, a watchdog begins to count. Of a link `open` says what is wrong.
        status = os.stat(path, follow_symlinks=not flags & os.O_NOFOLLOW)  # noqa: PTH116 - see `stat_of`
        if not flags & os.O_PATH and not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
            raise Irregular()
        # Not blocking, should it be a FIFO by now: without a writer that would hold the open for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | flags)
        yield descriptor
    except ValueError as error:
        raise Unfit("has a name that no file can have") from error
    except OSError as error:
        if descriptor < 0 and error.errno in _NOT_THERE:
            yield None
        elif error.errno == errno.ENXIO:
            raise Irregular() from error
        elif error.errno == errno.ENAMETOOLONG:
            raise Unfit("has a name that no file can have: it is too long") from error
        elif error.errno == errno.ELOOP:
            raise Unfit(_NO_LINK if flags & os.O_NOFOLLOW else "is a link that leads nowhere") from error
        else:
            raise Unreadable(f"cannot be read: {reason(error)}") from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _all_of(descriptor: int, limit: int) -> bytes:
    _check(descriptor, limit)
    parts, left = [], limit + 1
    while left > 0 and (part := os.read(descriptor, min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    if left <= 0:
        raise Unfit(f"has more than {limit} bytes")
    return b"".join(parts)


def _check(descriptor: int, limit: int) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise Irregular()
    if status.st_size > limit:
        raise Unfit(f"has {status.st_size} bytes; at most {limit} are read")


def text(data: bytes) -> str:
    """The bytes as text; raises `Unfit` when they are not UTF-8. A byte order mark is dropped."""
    try:
        decoded = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unfit(f"is not UTF-8 (byte {error.start})") from None
    if "\0" in decoded:
        raise Unfit("holds a NUL byte")
    return decoded


def printable(name: str) -> str:
    """A file's name, of whatever bytes, as text that can be shown and stored."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return text if text.isprintable() else ascii(text)[1:-1]


def stat_of(path: Path | str) -> os.stat_result | None:
    """What stands there, links followed; None when nothing does, or nobody can tell. For what is asked thousands of times: a
    path object costs more than the call of the system that it is for."""
    try:
        return os.stat(path)  # noqa: PTH116 - as above
    except (OSError, ValueError):
        return None


def may_be_there(folder: str, names: Collection[str]) -> Collection[str]:
    """Those of these names that may stand in the folder, which is asked once for all of them. Of the others nothing is
    there, not even a link to nothing.

    Case does not count, as it does not on some file systems. All of them where the folder cannot be listed, or holds
    more than `MOST_LISTED`.
    """
    try:
        with os.scandir(folder) as entries:
            listed = [entry.name.casefold() for entry in islice(entries, MOST_LISTED + 1)]
    except (OSError, ValueError):
        return names
    if len(listed) > MOST_LISTED:
        return names
    there = set(listed)
    return {name for name in names if not name.isascii() or name.casefold() in there}


def holder(path: str) -> str:
    """The folder in which a normal path is; `os.path.dirname`, for which it need not be one, takes five times as long."""
    return path.rpartition(os.sep)[0] or os.sep


def is_in(path: str, folder: str) -> bool:
    """Whether a path lies below this folder (not `/`, which is no app's), by name alone."""
    return path.startswith(folder + os.sep)


def is_at(path: str, place: str) -> bool:
    """Whether a path is this place or lies below it, by name alone."""
    return path == place or is_in(path, place)


def leading_to(paths: Iterable[str]) -> set[str]:
    """All folders that lead to any of these."""
    found: set[str] = set()
    for path in paths:
        # What leads to a folder that was found is in it already: most paths share all but their last part.
        while (parent := holder(path)) not in found and parent != path:
            found.add(parent)
            path = parent
    return found


def signature(path: Path | str, *, follow: bool = True) -> Signature | None:
    """What changes whenever the file may have changed, without reading it; None when it is not there."""
    try:
        return signature_of(os.stat(path, follow_symlinks=follow))  # noqa: PTH116 - as above
    except (OSError, ValueError):
        return None


def place(path: Path | str) -> Place | None:
    """What changes when another folder takes this one's place, and not with what is in it.

    () for what is there and is no folder, None when nothing is there. Links are followed.
    """
    status = stat_of(path)
    return None if status is None else place_of(status)


def place_of(status: os.stat_result) -> Place:
    """See `place`."""
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else ()


def birth(path: Path) -> int:
    """When the folder or file was made, in nanoseconds; 0 where the system cannot tell.

    A rename keeps it, and what is made in the place of something deleted has its own: inode numbers are used again.
    """
    statx, found = getattr(_libc, "statx", None), ctypes.create_string_buffer(256)
    if statx is None or statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, found) != 0:
        return 0
    (mask,) = struct.unpack_from("=I", found, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", found, _BTIME_AT)
    return int(seconds * 10**9 + nanoseconds) if mask & _STATX_BTIME else 0


def signature_of(s: os.stat_result) -> Signature:
    """See `signature`."""
    return (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


def reason(error: OSError) -> str:
    """What the system says went wrong, without the path."""
    return os.strerror(error.errno) if error.errno else type(error).__name__


def write_whole(path: Path, data: bytes) -> None:
    """Replace a small file of our own at once; raises `OSError`, and leaves nothing behind then."""
    new = _write_beside(path, data, None, 0o644)
    try:
        new.replace(path)
        sync_folder(path.parent)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def write_new(path: Path, data: bytes) -> bool:
    """Write a small file that is not there yet, at once; answers False, and changes nothing, when something is.

    Raises `OSError`.
    """
    new = _write_beside(path, data, None, 0o644)
    try:
        if not _put(new, path, None):
            return False
        sync_folder(path.parent)
        return True
    finally:
        new.unlink(missing_ok=True)


def replace_private(path: Path, data: bytes, expected: Signature | None) -> bool:
    """Replace the file at once with mode 0600, its owner kept; the old content stays whole until then.

    Answers False, and changes nothing, when the file is not the one with the signature `expected`.
    Raises `WriteFailed`, also for a link or a folder in its place: a link is not followed.
    """
    new: Path | None = None
    try:
        try:
            old: os.stat_result | None = path.lstat()
        except FileNotFoundError:
            old = None
        if old is not None and not stat.S_ISREG(old.st_mode):
            what = "a link" if stat.S_ISLNK(old.st_mode) else "not a regular file"
            raise WriteFailed(f"{path} is {what}; put a plain file in its place")
        new = _write_beside(path, data, old, 0o600)
        if signature(path, follow=False) != expected or not _put(new, path, expected):
            return False
        sync_folder(path.parent)
    except OSError as error:
        raise WriteFailed(f"{path} could not be written: {reason(error)}; the old file is whole") from error
    finally:
        if new is not None:
            new.unlink(missing_ok=True)
    return True


def move(path: Path, new: Path) -> bool:
    """Rename, a link itself and not what it leads to; False, and nothing changes, when `new` is there already.

    Raises `OSError`.
    """
    try:
        if not _rename(path, new, _RENAME_NOREPLACE):
            if os.path.lexists(new):
                return False
            path.rename(new)
    except FileExistsError:
        return False
    # It is done; a disk that cannot say for how long does not undo it.
    for folder in (new.parent, path.parent):
        with suppress(OSError):
            sync_folder(folder)
    return True


def forget_unfinished(path: Path) -> None:
    """Take away what a process left that was killed while it replaced the file: it holds the old or the new content."""
    with suppress(OSError):
        _beside(path).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".homeport-{path.name}.new")


def _write_beside(path: Path, data: bytes, owner: os.stat_result | None, mode: int) -> Path:
    new = _beside(path)
    new.unlink(missing_ok=True)  # a crash left it; it may be a link to elsewhere, so it is not opened
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
            made = os.fstat(file.fileno())
            if owner is not None and (owner.st_uid, owner.st_gid) != (made.st_uid, made.st_gid):
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        new.unlink(missing_ok=True)
        raise
    return new


def _put(new: Path, path: Path, expected: Signature | None) -> bool:
    """Put `new` in the place of `path`, unless a person was there a moment before: then theirs stays.

    Between a last look and a rename a person's save could be lost. So the two change places, and what came out
    is looked at: when it is not what was expected, they change back.
    """
    if expected is None:
        try:
            os.link(new, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            if os.path.lexists(path):
                return False
            new.replace(path)
        return True
    placed = _identity(new)
    if not _exchange(new, path):
        new.replace(path)
        return True
    out = _identity(new)
    if out == expected[:4]:
        return True
    # Put back what came out. What comes out then is ours, or else what a person saved on top of it: theirs is newer.
    while True:
        before, placed = placed, out
        _exchange(new, path)
        out = _identity(new)
        if out == before:
            return False


def _identity(path: Path) -> Signature:
    """A signature that a rename does not change (it moves the change time)."""
    return signature_of(path.lstat())[:4]


def _exchange(one: Path, other: Path) -> bool:
    """Let two files change places, or answer False where the system cannot do that at once."""
    return _rename(one, other, _RENAME_EXCHANGE)


def _rename(one: Path, other: Path, flags: int) -> bool:
    rename = getattr(_libc, "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_FLAGS:
        return False
    raise OSError(code, os.strerror(code))


def sync_folder(folder: Path) -> None:
    """Have the names in this folder on disk before anything else happens; raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
