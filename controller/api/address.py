"""Address: Unix socket paths of any length. The kernel takes 107 bytes; folders may be deeper.

A longer path is reached through the open folder: `/proc/self/fd/N/name`. No protocol belongs here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT = 107
"""Bytes of a Unix socket's path that Linux takes."""


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A path to the same socket that fits, good within the block. Raises `OSError` when the folder is not there."""
    if len(os.fsencode(path)) <= LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
