"""What is in an app's folder, and a true copy of it.

Modes and links are kept; what belongs to the place rather than to the app (owner, `.git`, sockets, what editors
leave) is not. Whether the folder makes an app does not matter here.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controller.source import environment, files
from controller.source.droppings import is_dropping
from controller.source.reading import FIXED, SCRIPTS

REPOSITORY: Final = ".git"
"""A folder, or in a work tree of git a file."""


@dataclass
class Contents:
    """One folder, looked through; paths are relative to it, a folder before what is in it."""

    folder: Path
    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    size: int = 0
    """Bytes of all files, sparse ones in full."""
    refused: list[str] = field(default_factory=list)
    """Links that a copy must not have, each with what to do."""
    left_out: list[str] = field(default_factory=list)
    """Sockets, pipes and devices."""

    def room(self, block: int) -> int:
        """Bytes that a copy takes on a file system with blocks of that size."""
        entries = len(self.folders) + len(self.files) + len(self.links) + 1
        return self.size + entries * block


def survey(folder: Path) -> Contents:
    """Look through a folder. Raises `OSError` for what cannot be read."""
    found = Contents(folder)
    real = Path(os.path.realpath(folder))
    waiting = [""]
    while waiting:
        here = waiting.pop()
        with os.scandir(folder / here) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = f"{here}/{entry.name}" if here else entry.name
                if entry.name == REPOSITORY or is_dropping(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    found.folders.append(path)
                    waiting.append(path)
                else:
                    _take(found, entry, path, real)
    return found


def _take(found: Contents, entry: os.DirEntry[str], path: str, real: Path) -> None:
    if entry.is_symlink():
        target = Path(entry.path).readlink()
        if target.is_absolute() or not Path(os.path.realpath(entry.path)).is_relative_to(real):
            found.refused.append(
                f"{path} is a link out of the folder, to {target}; put the file itself there"
            )
        found.links.append(path)
    elif entry.is_file(follow_symlinks=False):
        found.files.append(path)
        found.size += entry.stat(follow_symlinks=False).st_size
    else:
        found.left_out.append(path)


def copy(contents: Contents, target: Path) -> None:
    """Make the folder `target` with these contents, all of it on disk when this returns. Raises `OSError`.

    The files belong to whoever calls; a file never keeps its setuid and setgid bits, because they would then
    give the caller's rights away. Not everyone may write to them. `.env` is only for its owner.
    """
    target.mkdir(mode=0o700)
    for path in contents.folders:
        (target / path).mkdir(mode=0o700)
    for path in contents.links:
        (target / path).symlink_to((contents.folder / path).readlink())
    for path in contents.files:
        _copy_file(contents.folder, path, target)
    # Innermost first, once nothing has to be written into them: a folder may be read-only.
    for path in ("", *contents.folders)[::-1]:
        (target / path).chmod(_mode(path, (contents.folder / path).stat().st_mode))
        files.sync_folder(target / path)


def _mode(path: str, mode: int) -> int:
    """The mode of a copy: the tree takes no app whose own files everyone can write. Data is the app's affair."""
    if path == environment.FILE:
        return 0o600
    kept = mode & (0o7777 if stat.S_ISDIR(mode) else 0o777)
    own = path in ("", *FIXED) or path.partition("/")[0] == SCRIPTS
    return kept & ~stat.S_IWOTH if own else kept


def _copy_file(folder: Path, path: str, target: Path) -> None:
    # It was a regular file when it was looked at; a link or a pipe in its place is neither followed nor waited for.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(folder / path, flags), "rb") as old:
        status = os.fstat(old.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no longer a regular file", str(folder / path))
        made = os.open(target / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(made, "wb") as new:
            shutil.copyfileobj(old, new, files.LIMIT)
            os.fchmod(new.fileno(), _mode(path, status.st_mode))
            new.flush()
            os.fsync(new.fileno())
