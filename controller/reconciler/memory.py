"""What runs remember between them, by what it is for. It need not outlive the process; times are monotonic seconds.

One of each for all apps. What only the one run touches that an app has at a time needs no lock; what any thread may
touch has one of its own. No part knows another: what concerns several is said to `Memory`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controller.model.effects import Moment

MOST_LIKELY_ALL = 0.15
"""Seconds of quiet after which what is there is most likely all of the edit: it can be rendered, while the rest of the
quiet period passes."""
AT_LATEST = 1.0
"""Seconds after which files that have not come to rest are looked at again at the latest."""
TURNS_APART = 0.5
"""Seconds between two apps whose files do not come to rest that are taken in all the same."""
LEAP = 5.0
"""Seconds by which the wall clock goes ahead of the monotonic one when it is set and not only slewed."""


class Retries:
    """The backoff: when an app that failed is tried again. An app's own run alone touches what is kept of it."""

    def __init__(self) -> None:
        self._waits: dict[str, tuple[float, str]] = {}

    def __contains__(self, app: str) -> bool:
        return app in self._waits

    def wait(self, app: str, until: float, against: str = "") -> None:
        """It is not tried again before this moment, whatever wakes it. `against`: what the failed try was made against."""
        self._waits[app] = until, against

    def left(self, app: str, now: float) -> float:
        """Seconds until the next try; none are left at 0 or below."""
        until, _ = self._waits.get(app, (0.0, ""))
        return until - now

    def are_outdated(self, app: str, against: str) -> bool:
        """Whether anything differs from what the failed try was made against: that is tried at once."""
        return app in self._waits and self._waits[app][1] != against

    def now(self, app: str) -> None:
        """The next try of the run that calls this is at once."""
        self._waits.pop(app, None)


class Settling:
    """Files that have not come to rest. An app's own run alone changes what is kept of it; `_turns` and `_next_turn`, which
    are all apps', change only under `_lock`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[str, float] = {}
        """When each that waits for its turn has it."""
        self._next_turn = 0.0
        self.unsettled: dict[str, float] = {}
        """Since when an edit is waited for."""
        self.still_changing: dict[str, tuple[float, str]] = {}
        """Since when the files of an app have not come to rest, and what was said of that, once it was."""
        self.shrinking: dict[str, tuple[str, float]] = {}
        """A revision in which a service is missing, and when it was first seen."""

    def __contains__(self, app: str) -> bool:
        return app in self.unsettled or app in self.shrinking

    def look_after_change(self, app: str, settle: float) -> float:
        """Seconds from a change to the look at it. From any thread: whoever hears of changes asks.

        What is waited for has its next look from its last run, and no look for each change.
        """
        return AT_LATEST if app in self.unsettled else min(settle, MOST_LIKELY_ALL)

    def look_after_look(self, app: str, left: float, now: float) -> float:
        """Seconds from a look that found it unsettled to the next. Of files that have been changing for long it may take a
        quarter as long to find out that they have come to rest: they are many looks otherwise, and none is of use."""
        with self._lock:
            turn = self._turns.get(app, math.inf)
        return min(AT_LATEST, max(left, self.changing_for(app, now) / 4), max(turn - now, 0.0))

    def changing_for(self, app: str, now: float) -> float:
        """Seconds for which its files have not come to rest, though they may have been taken in meanwhile."""
        since, _ = self.still_changing.get(app, (now, ""))
        return now - min(since, self.unsettled.get(app, now))

    def take_turn(self, app: str, now: float) -> bool:
        """Whether an app that has waited for long enough is to be taken in now, although its files still change.

        Each such is a child of Compose, most often for nothing. So who asks for the first time gets the next turn that is
        free, one after the other: fifty of them never stand before an edit that has come to rest, and none before another.
        """
        with self._lock:
            turn = self._turns.get(app)
            if turn is None:
                turn = self._turns[app] = max(now, self._next_turn)
                self._next_turn = turn + TURNS_APART
            if now < turn:
                return False
            del self._turns[app]
            return True

    def end(self, app: str) -> None:
        """No edit of it is waited for. A turn that it was to have passes unused."""
        self.unsettled.pop(app, None)
        with self._lock:
            self._turns.pop(app, None)

    def forget(self, app: str) -> None:
        self.end(app)
        self.still_changing.pop(app, None)
        self.shrinking.pop(app, None)


class Endings:
    """Apps whose last run came to its end, so that what it told is what it saved. For an app's own run alone."""

    def __init__(self) -> None:
        self._apps: set[str] = set()

    def note(self, app: str) -> None:
        """A run of it came to its end."""
        self._apps.add(app)

    def take(self, app: str) -> bool:
        """Whether its last run did. Until the next `note` no more."""
        ended = app in self._apps
        self._apps.discard(app)
        return ended

    def forget(self, app: str) -> None:
        self._apps.discard(app)


class Requests:
    """What people asked for and no run has taken yet. They ask from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tries: set[str] = set()
        self._lifts: set[str] = set()

    def __contains__(self, app: str) -> bool:
        with self._lock:
            return app in self._tries or app in self._lifts

    def note(self, app: str, *, lift: bool = False) -> None:
        """The next run tries at once, even if one is failing at this moment. `lift`: and what was rolled back is tried
        once more."""
        with self._lock:
            self._tries.add(app)
            if lift:
                self._lifts.add(app)

    def take_try(self, app: str) -> bool:
        """Whether a person asked since the last run."""
        return self._take(self._tries, app)

    def take_lift(self, app: str) -> bool:
        """Whether a person asked since the last run for what was rolled back."""
        return self._take(self._lifts, app)

    def forget(self, app: str) -> None:
        with self._lock:
            self._tries.discard(app)
            self._lifts.discard(app)

    def _take(self, asked: set[str], app: str) -> bool:
        with self._lock:
            was_asked = app in asked
            asked.discard(app)
            return was_asked


class Looks:
    """What the last look at all apps found. Timers and the engine's events make such looks, runs follow them up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.all_looked_at: datetime | None = None
        """When all apps were looked at last: what rests was known to be as it is then."""
        self._all_seen_at: datetime | None = None
        self._unseen: set[str] = set()
        self._orphans: dict[str, str] = {}

    def note(self, now: datetime, restless: Collection[str]) -> None:
        """All apps were looked at, and are at rest but for these: each of them counts as not seen until a run has."""
        with self._lock:
            self._all_seen_at = self._seen_at()
            self.all_looked_at, self._unseen = now, set(restless)

    def all_seen_at(self) -> datetime | None:
        """When all apps were looked at, and those that were not at rest then have been seen by a run since."""
        with self._lock:
            return self._seen_at()

    def _seen_at(self) -> datetime | None:
        return self._all_seen_at if self._unseen else self.all_looked_at

    def note_run(self, app: str) -> None:
        """A run has seen all of it."""
        with self._lock:
            self._unseen.discard(app)

    def await_run(self, app: str) -> bool:
        """Whether it was not at rest, and no run has seen it since."""
        with self._lock:
            return app in self._unseen

    def note_orphan(self, app: str, folder: str) -> None:
        """Containers of a project in the apps tree run, and there is neither a folder nor a record of it."""
        with self._lock:
            self._orphans[app] = folder

    def take_orphan(self, app: str) -> str:
        """The folder that an orphan was started from, once; "" when it is none."""
        with self._lock:
            return self._orphans.pop(app, "")


class Leaps:
    """How often the wall clock leaped ahead, and how many leaps each app's runs know of. Runs and timers read clocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offset: float | None = None
        """Wall clock less monotonic clock, when that was last read."""
        self._count = 0
        self._known: dict[str, int] = {}

    def note_time(self, moment: Moment) -> None:
        """Nobody may have to run for days: a clock that is slewed meanwhile has not leaped."""
        with self._lock:
            self._note_time(moment)

    def _note_time(self, moment: Moment) -> None:
        offset = moment.now.timestamp() - moment.monotonic
        if self._offset is not None and offset - self._offset > LEAP:
            self._count += 1
        self._offset = offset

    def take(self, app: str, moment: Moment) -> bool:
        """Whether the wall clock leaped ahead since the app's last run: it was set, or the machine slept. What was
        noted before says nothing of the time that has passed. Answers so once for each app."""
        with self._lock:
            self._note_time(moment)
            known, self._known[app] = self._known.get(app, 0), self._count
            return known < self._count

    def forget(self, app: str) -> None:
        with self._lock:
            self._known.pop(app, None)


class Missing:
    """Folders that are gone, and their quiet periods. Each run that finds its folder gone looks for all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    def __contains__(self, app: str) -> bool:
        with self._lock:
            return app in self._since

    def note(self, missing: Iterable[str], now: float) -> Mapping[str, float]:
        """All apps that are missing in one look at the tree; since when each has been, without a break."""
        with self._lock:
            self._since = {app: self._since.get(app, now) for app in missing}
            self._told &= self._since.keys()
            return dict(self._since)

    def tell(self, app: str) -> bool:
        """Whether that its folder is gone was not told yet; answers so once for each time that it goes."""
        with self._lock:
            told = app in self._told
            self._told.add(app)
            return not told

    def forget(self, app: str) -> None:
        with self._lock:
            self._since.pop(app, None)
            self._told.discard(app)

    def begin_anew(self) -> None:
        """The tree was lost: every quiet period starts anew."""
        with self._lock:
            self._since.clear()
            self._told.clear()


class Removals:
    """The removals that count towards the brake. The runs of all apps note theirs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: dict[str, float] = {}

    def note(self, app: str, now: float) -> None:
        """It was removed; a removal that a person let go does not count."""
        with self._lock:
            self._at[app] = now

    def lately(self, now: float, window: float) -> int:
        """How many there were within the last `window` seconds."""
        with self._lock:
            self._at = {app: at for app, at in self._at.items() if now - at < window}
            return len(self._at)

    def take_back(self, app: str) -> None:
        """It is there again."""
        with self._lock:
            self._at.pop(app, None)


@dataclass
class Memory:
    """All of it, for one process."""

    own_project: str = ""
    """The compose project that the service itself runs in; set before anything is done on an engine."""
    retries: Retries = field(default_factory=Retries)
    settling: Settling = field(default_factory=Settling)
    endings: Endings = field(default_factory=Endings)
    requests: Requests = field(default_factory=Requests)
    looks: Looks = field(default_factory=Looks)
    leaps: Leaps = field(default_factory=Leaps)
    missing: Missing = field(default_factory=Missing)
    removals: Removals = field(default_factory=Removals)

    def minds(self, app: str) -> bool:
        """Whether the next look has something to do with the app that only this process knows of."""
        return (
            app in self.requests
            or app in self.missing
            or self.looks.await_run(app)
            or app in self.retries
            or app in self.settling
        )

    def note_back(self, app: str) -> None:
        """Its folder is there."""
        self.missing.forget(app)
        self.removals.take_back(app)

    def forget(self, app: str) -> None:
        """It is gone, and may never come back: nothing of it is remembered but that it went. For the run that it has."""
        self.retries.now(app)
        self.settling.forget(app)
        self.endings.forget(app)
        self.requests.forget(app)
        self.leaps.forget(app)
        self.missing.forget(app)
