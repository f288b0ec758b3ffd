"""Small disks of the tests' own (tmpfs): to be full, read-only, or gone, for real. Needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_FILLER = "filler"


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "4m") -> Iterator[Path]:
    """A disk of that size on the folder, which is made; gone at the end with all that is on it."""
    folder.mkdir(exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "homeport-test", folder], check=True
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> None:
    """Leave no byte of room on the disk."""
    with (disk / _FILLER).open("ab", buffering=0) as file:
        for size in (65536, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass
    status = os.statvfs(disk)
    assert status.f_bavail == 0, f"{status.f_bavail} blocks of {disk} are free still"


def make_room(disk: Path, size: int | None = None) -> None:
    """Take away what `fill` wrote, or this many bytes of it."""
    filler = disk / _FILLER
    if size is None:
        filler.unlink()
    else:
        os.truncate(filler, filler.stat().st_size - size)


@contextlib.contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """The disk cannot be written meanwhile; nothing may have a file on it open for writing."""
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
