"""The service within the test's own process, so that its parts can be looked at, and broken, from inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from controller.manager import Manager
from controller.model.record import Event
from controller.settings import Settings
from rig.service import Home


@contextmanager
def service_in_this_process(home: Home, **settings: str) -> Iterator[tuple[Manager, list[Event]]]:
    """It runs for the length of the block; with it comes what it has told of itself so far."""
    told: list[Event] = []
    values: dict[str, Any] = {"apps": home.apps, "state": home.state, **home.settings, **settings}
    values = {key.replace("-", "_"): value for key, value in values.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", home.engine)
        with closing(Manager(Settings.load(values), told.append)) as manager:
            try:
                manager.start()
                yield manager, told
            finally:
                manager.stop()
