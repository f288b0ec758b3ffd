"""A Compose that lies, hangs or is not there: what the service finds beside its interpreter is a script of the test's.

The interpreter is the test run's own, under another roof; the real Compose is at `$REAL` in the script.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


class Shim:
    """An environment of its own for the service: use `python` as `Home.python`."""

    def __init__(self, folder: Path) -> None:
        self._bin = folder / "bin"
        self._bin.mkdir(parents=True)
        roof = Path(sys.prefix)
        shutil.copy(roof / "pyvenv.cfg", folder)
        (folder / "lib").symlink_to(roof / "lib")
        python = self._bin / "python"
        python.symlink_to(Path(sys.executable).resolve())
        self.python = str(python)
        self._real = roof / "bin" / "docker-compose"
        self._compose = self._bin / "docker-compose"

    def write(self, script: str, mode: int = 0o755) -> None:
        """From the next call on this shell script is Compose; `exec "$REAL" "$@"` is the real one."""
        new = self._bin / "new"
        new.write_text(f"#!/bin/sh\nREAL={self._real}\n{script}\n")
        new.chmod(mode)
        new.rename(self._compose)
