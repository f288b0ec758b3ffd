"""Activity: what is being done for each app at this very moment. In memory, for whoever looks; gone with the process.

What came of it is in the record and in the events. Nothing is decided by it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from controller.model.values import replace


@dataclass(frozen=True)
class Step:
    """One action that is under way."""

    what: str
    since: datetime
    detail: str = ""
    """How far it has come, where that is known."""


class Activity:
    """The steps that are under way, one for each app. `_lock` guards `_steps`; any thread may note and look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: dict[str, Step] = {}

    def begin(self, app: str, what: str, now: datetime) -> None:
        """This is done for the app from now on."""
        with self._lock:
            self._steps[app] = Step(what, now)

    def detail(self, app: str, detail: str) -> None:
        """How far the step of that app has come; nothing is noted when there is none."""
        with self._lock:
            if (step := self._steps.get(app)) is not None:
                self._steps[app] = replace(step, detail=detail)

    def end(self, app: str) -> None:
        """Nothing is done for it any more."""
        with self._lock:
            self._steps.pop(app, None)

    def steps(self) -> Mapping[str, Step]:
        """All that is under way, by app."""
        with self._lock:
            return dict(self._steps)
