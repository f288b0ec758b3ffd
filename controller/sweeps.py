"""Sweeps: what the runs of all apps come to while somebody waits for them, until everything has come to rest.

How a sweep is begun and what it looks at is the manager's and the reconciler's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.model.plan import Action, Result


class StopSign(threading.Event):
    """An event that also wakes those who wait for more than that: `wake` is called each time that it is set."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake

    def set(self) -> None:
        """See `threading.Event.set`."""
        super().set()
        self._wake()


@dataclass
class Sweep:
    """What one sweep waits for. All of it is the `Progress`'s, under its lock."""

    begun: int
    """How many runs there had been before it."""
    seen: int
    """Up to where runs have been taken in."""
    everything: bool = False
    """Apps that run meanwhile are waited for as well."""
    apps: set[str] = field(default_factory=set)
    restless: set[str] = field(default_factory=set)
    """Those that have not ended a run yet, or will move on by themselves."""


class Progress:
    """What the runs of each app come to while a sweep is under way, so that it can wait until everything is at rest.

    `_changed` guards all fields, and those of the sweeps. Workers report; sweeps wait. What they wait for is not all in here: who
    changes the rest of it calls `wake`, and holds no lock that a sweep may want.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._last: dict[str, Result] = {}
        self._log: list[tuple[str, Result]] = []
        """Every run since the first of the sweeps that are under way began."""
        self._sweeps = 0

    def report(self, app: str, result: Result) -> None:
        """A run of this app has ended. It is not at rest before its key is given back: until then nobody is woken."""
        with self._changed:
            if not self._sweeps:
                return  # nobody waits for it, and apps may come and go for ever
            self._last[app] = result
            self._log.append((app, result))

    def wake(self) -> None:
        """Something has changed that a sweep may wait for."""
        with self._changed:
            self._changed.notify_all()

    def begin(self) -> Sweep:
        """A sweep begins: what apps came to before no longer counts."""
        with self._changed:
            if not self._sweeps:
                self._last.clear()
            self._sweeps += 1
            return Sweep(len(self._log), len(self._log))

    def end(self, sweep: Sweep) -> list[tuple[str, Result]]:
        """The sweep is over; all runs since it began."""
        with self._changed:
            runs = self._log[sweep.begun :]
            self._sweeps -= 1
            if not self._sweeps:
                self._log.clear()
            return runs

    def wait(
        self,
        sweep: Sweep,
        apps: Iterable[str],
        over: Callable[[], bool],
        queued: Callable[[Iterable[str]], bool],
    ) -> None:
        """Wait until each of these apps has ended a run since the sweep began, none will move on by itself, and none is
        `queued`; or until it is `over`. A sweep over everything waits for the others that run meanwhile, too."""
        with self._changed:
            sweep.apps.update(apps)
            sweep.restless.update(sweep.apps)
            self._changed.wait_for(lambda: over() or (self._rests(sweep) and not queued(sweep.apps)))

    def _rests(self, sweep: Sweep) -> bool:
        # Each run is taken in once: of many apps each end of a run would else cost a look at all of them.
        for app, result in self._log[sweep.seen :]:
            if sweep.everything:
                sweep.apps.add(app)
            if result.pending and app in sweep.apps:
                sweep.restless.add(app)
            else:
                sweep.restless.discard(app)
        sweep.seen = len(self._log)
        return not sweep.restless

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
