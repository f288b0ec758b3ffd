"""What the tests of the apps tree share."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig.apps import Apps


@pytest.fixture
def apps(tmp_path: Path) -> Apps:
    return Apps(tmp_path)
