"""Sweeps: what the runs of all apps come to while somebody waits for them, until everything has come to rest.

How a sweep is begun and what it looks at is the manager's and the reconciler's.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from controller.model.plan import Action, Result


class Progress:
    """What the runs of each app come to while a sweep is under way, so that it can wait until everything is at rest.

    `_changed` guards all fields. Workers report; sweeps wait.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._last: dict[str, Result] = {}
        self._log: list[tuple[str, Result]] = []
        """Every run since the first of the sweeps that are under way began."""
        self._sweeps = 0

    def report(self, app: str, result: Result) -> None:
        """A run of this app has ended."""
        with self._changed:
            if not self._sweeps:
                return  # nobody waits for it, and apps may come and go for ever
            self._last[app] = result
            self._log.append((app, result))
            self._changed.notify_all()

    def begin(self, apps: Sequence[str]) -> int:
        """A sweep over these apps begins: what they came to before no longer counts. Answers with its mark."""
        with self._changed:
            if not self._sweeps:
                self._last.clear()
            self._sweeps += 1
            for app in apps:
                self._last.pop(app, None)
            return len(self._log)

    def since(self, mark: int) -> set[str]:
        """The apps of which a run has ended since that mark."""
        with self._changed:
            return {app for app, _ in self._log[mark:]}

    def end(self, mark: int) -> list[tuple[str, Result]]:
        """The sweep is over; all runs since its mark."""
        with self._changed:
            runs = self._log[mark:]
            self._sweeps -= 1
            if not self._sweeps:
                self._log.clear()
            return runs

    def wait(self, apps: Sequence[str], timeout: float) -> bool:
        """Wait until each of these apps has ended a run and none will move on by itself; answers whether so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending(apps), timeout)

    def _pending(self, apps: Sequence[str]) -> bool:
        results = [self._last.get(app) for app in apps]
        return any(result is None or result.pending for result in results)

    def words(self) -> Mapping[str, str]:
        """The word that each app ended with in the last sweep."""
        with self._changed:
            return {app: result.word for app, result in self._last.items() if result.word}


def still_true(runs: Sequence[tuple[str, Result]]) -> list[Action]:
    """What was done, and of what was only said (waits, errors) what each app said last."""
    last = {app: index for index, (app, _) in enumerate(runs)}
    return [
        action
        for index, (app, result) in enumerate(runs)
        for action in result.actions
        if last[app] == index or action.asked or action.kind not in ("wait", "skip", "error")
    ]
