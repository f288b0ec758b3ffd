"""What takes seconds to make and is only looked at: made once for a run of the tests, by whichever worker needs it first."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name, filled by `make` if no worker of this run has done so. What `make` raises passes through, and
    the next one who asks tries again."""
    base = factory.getbasetemp()
    # pytest-xdist gives each worker a folder in that of the run.
    shared = (base.parent if base.name.startswith("popen-") else base) / f"shared-{name}"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = shared / "made"
        if not made.exists():
            folder = shared / "making"
            if folder.exists():
                folder = shared / f"making-{len(list(shared.iterdir()))}"
            folder.mkdir()
            make(folder)
            made.symlink_to(folder)
        return made.resolve()
