"""Programs of the machine that some tests need beside the engine.

Without one its tests are skipped, and fail where `CI` is set, as those without an engine do.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def find_program(name: str, package: str) -> Path:
    """Where the program is. Skips or fails the test when it is not there; `package` is Debian's that holds it."""
    found = shutil.which(name)
    if found is None:
        missing(f"needs {name} (on Debian: apt-get install {package})")
    return Path(found)


def missing(text: str) -> NoReturn:
    """The test cannot be run here. Where `CI` is set that is no excuse."""
    if os.environ.get("CI"):
        pytest.fail(f"{text} (CI is set, so this is no reason to skip)", pytrace=False)
    pytest.skip(text)
