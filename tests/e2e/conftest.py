"""A home of its own for each test, on the engine that all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.cleanup import EngineCleanup
from rig.service import Home


@pytest.fixture
def home(tmp_path: Path, engine_host: str, app_prefix: str, engine_cleanup: EngineCleanup) -> Iterator[Home]:
    """An empty apps tree; the test starts the service when it likes. Stopped at the end."""
    home = Home(tmp_path, engine_host, app_prefix)
    yield home
    home.stop()
