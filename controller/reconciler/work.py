"""What one run carries along, what runs remember between them, and what a run says at its end.

Values and small holders only; the steps that use them are in the modules beside this one.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controller.model import effects as fx
from controller.model.desired import Desired
from controller.model.effects import Moment, Run, ask
from controller.model.observed import Observed
from controller.model.plan import Action
from controller.model.record import Event, Record
from controller.planner.plan import Wishes
from controller.planner.rollback import Mode
from controller.status.transition import with_since

LEAP = 5.0
"""Seconds by which the wall clock goes ahead of the monotonic one when it is set and not only slewed."""


@dataclass(frozen=True)
class Policy:
    """What the user set, as far as a reconcile needs it. Seconds throughout."""

    settle: float = 0.3
    settle_new: float = 2.0
    removal_settle: float = 10.0
    stable_after: float = 10.0
    health_timeout: float = 300.0
    install_timeout: float = 300.0
    start_timeout: float = 30.0
    volume_prefix: str = "furtka"
    remove_timeout: float = 60.0
    rollback: Mode = "auto"
    prune: bool = True
    poll_incomplete: float = 2.0
    """How soon to look again for a path that a service mounts and that is not there yet."""


@dataclass
class Memory:
    """What is remembered between runs of this process and need not outlive it. Monotonic seconds.

    One for all apps. `not_before`, `failed_against`, `unsettled`, `still_changing` and `shrinking` of an app are touched only by
    the one run that it has at a time; `_lock` guards the others, which any thread may touch.
    """

    not_before: dict[str, float] = field(default_factory=dict)
    """An app that failed is not tried again before this moment, whatever wakes it."""
    failed_against: dict[str, str] = field(default_factory=dict)
    """What the failed try was made against; anything else is tried at once."""
    unsettled: dict[str, float] = field(default_factory=dict)
    still_changing: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Since when the files of an app have not come to rest, and what was said of that, once it was."""
    shrinking: dict[str, tuple[str, float]] = field(default_factory=dict)
    """A revision in which a service is missing, and when it was first seen."""
    own_project: str = ""
    """The compose project that the service itself runs in; set before anything is done on an engine."""
    all_looked_at: datetime | None = None
    """When all apps were looked at last: what rests was known to be as it is then."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _all_seen_at: datetime | None = None
    _unseen: set[str] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)
    _forced: set[str] = field(default_factory=set)
    _lifted: set[str] = field(default_factory=set)
    _orphans: dict[str, str] = field(default_factory=dict)
    _missing: dict[str, float] = field(default_factory=dict)
    _missing_told: set[str] = field(default_factory=set)
    _removed: dict[str, float] = field(default_factory=dict)
    _offset: float | None = None
    """Wall clock less monotonic clock, when that was last read."""
    _leaps: int = 0
    _leaps_seen: dict[str, int] = field(default_factory=dict)

    def minds(self, app: str) -> bool:
        """Whether the next look has something to do with the app that only this process knows of."""
        with self._lock:
            if any(app in apps for apps in (self._forced, self._lifted, self._missing, self._unseen)):
                return True
        return app in self.not_before or app in self.unsettled or app in self.shrinking

    def note_look(self, now: datetime, restless: Collection[str]) -> None:
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

    def take_told(self, app: str) -> bool:
        """Whether the app's last run came to its end, so that what it told is what it saved. Until `note_told` no more."""
        with self._lock:
            told = app in self._told
            self._told.discard(app)
            return told

    def note_told(self, app: str) -> None:
        """A run of it came to its end."""
        with self._lock:
            self._told.add(app)

    def note_time(self, moment: Moment) -> None:
        """Nobody may have to run for days: a clock that is slewed meanwhile has not leaped."""
        with self._lock:
            self._note_time(moment)

    def _note_time(self, moment: Moment) -> None:
        offset = moment.now.timestamp() - moment.monotonic
        if self._offset is not None and offset - self._offset > LEAP:
            self._leaps += 1
        self._offset = offset

    def retry_now(self, app: str) -> None:
        """The next try of the run that calls this is at once."""
        self.not_before.pop(app, None)
        self.failed_against.pop(app, None)

    def force(self, app: str, *, lift: bool = False) -> None:
        """A person asks: the next run tries at once, even if one is failing at this moment. `lift`: and what was
        rolled back is tried once more."""
        with self._lock:
            self._forced.add(app)
            if lift:
                self._lifted.add(app)

    def take_lifted(self, app: str) -> bool:
        """Whether a person asked since the last run for what was rolled back."""
        with self._lock:
            lifted = app in self._lifted
            self._lifted.discard(app)
            return lifted

    def take_leap(self, app: str, moment: Moment) -> bool:
        """Whether the wall clock leaped ahead since the app's last run: it was set, or the machine slept. What was
        noted before says nothing of the time that has passed. Answers so once for each app."""
        with self._lock:
            self._note_time(moment)
            seen, self._leaps_seen[app] = self._leaps_seen.get(app, 0), self._leaps
            return seen < self._leaps

    def note_orphan(self, app: str, folder: str) -> None:
        """Containers of a project in the apps tree run, and there is neither a folder nor a record of it."""
        with self._lock:
            self._orphans[app] = folder

    def take_orphan(self, app: str) -> str:
        """The folder that an orphan was started from, once; "" when it is none."""
        with self._lock:
            return self._orphans.pop(app, "")

    def take_forced(self, app: str) -> bool:
        """Whether a person asked since the last run."""
        with self._lock:
            forced = app in self._forced
            self._forced.discard(app)
            return forced

    def note_missing(self, missing: Iterable[str], now: float) -> Mapping[str, float]:
        """All apps that are missing in one look at the tree; since when each has been, without a break."""
        with self._lock:
            self._missing = {app: self._missing.get(app, now) for app in missing}
            self._missing_told &= self._missing.keys()
            return dict(self._missing)

    def tell_missing(self, app: str) -> bool:
        """Whether that its folder is gone was not told yet; answers so once for each time that it goes."""
        with self._lock:
            told = app in self._missing_told
            self._missing_told.add(app)
            return not told

    def note_back(self, app: str) -> None:
        """Its folder is there."""
        with self._lock:
            self._missing.pop(app, None)
            self._missing_told.discard(app)
            self._removed.pop(app, None)

    def forget_missing(self) -> None:
        """The tree was lost: every quiet period starts anew."""
        with self._lock:
            self._missing.clear()
            self._missing_told.clear()

    def note_removed(self, app: str, now: float) -> None:
        """It was removed, and counts towards the brake; a removal that a person let go does not."""
        with self._lock:
            self._removed[app] = now

    def forget(self, app: str) -> None:
        """It is gone, and may never come back: nothing of it is remembered but that it went. For the run that it has."""
        self.retry_now(app)
        self.unsettled.pop(app, None)
        self.shrinking.pop(app, None)
        with self._lock:
            self._told.discard(app)
            self._forced.discard(app)
            self._lifted.discard(app)
            self._missing.pop(app, None)
            self._missing_told.discard(app)
            self._leaps_seen.pop(app, None)

    def removed_lately(self, now: float, window: float) -> int:
        """How many removals within the last `window` seconds count towards the brake."""
        with self._lock:
            self._removed = {app: at for app, at in self._removed.items() if now - at < window}
            return len(self._removed)


@dataclass
class Work:
    """The state of one run; made at its start, gone with it."""

    name: str
    moment: Moment
    before: Record
    record: Record
    desired: Desired
    observed: Observed = field(default_factory=Observed)
    before_start: Observed = field(default_factory=Observed)
    """What there was right before a start of this run began."""
    wishes: Wishes = field(default_factory=Wishes)
    mounts: Mapping[str, str] = field(default_factory=dict)
    """What is at the mounted paths of the model that is converged to: digests of files, identities of directories."""
    differences: Mapping[str, str] = field(default_factory=dict)
    """Service to what of it an edit changes, in words."""
    done: list[Action] = field(default_factory=list)
    news: list[Event] = field(default_factory=list)
    """Told with the first thing that is saved: a run that changes nothing says nothing."""

    told: bool = False
    """What the app's last run told is what it saved."""

    def __post_init__(self) -> None:
        self._saved = self.before
        self.began = self.moment.now
        """When the app's folder was read, or a moment before; `moment` moves on."""

    def event(self, name: str, message: str, level: str = "info", /, **fields: object) -> Event:
        return Event(self.moment.now, self.name, name, level, message, fields)

    def folders(self) -> tuple[str, ...]:
        """Where the app's containers may have been started from."""
        return folders_of(self.record)

    def observe(self) -> Run[None]:
        """Look at the app's containers and volumes afresh."""
        self.observed = yield from ask(fx.Observe(self.name, self.folders(), self.record.volumes))

    def save(self) -> Run[None]:
        """Remember the record as it stands. The news come first: cut off in between they are told twice, and not
        never; and who sees a status finds in the log what led to it."""
        for event in self.news:
            yield from ask(fx.Tell(event))
        self.news.clear()
        self.record = with_since(self.record, self._saved, self.before, self.moment.now)
        yield from ask(fx.SaveRecord(self.record))
        self._saved = self.record

    def tell(self, name: str, message: str, level: str = "info", /, **fields: object) -> Run[None]:
        """Say something now, after the news that came before it."""
        for event in (*self.news, self.event(name, message, level, **fields)):
            yield from ask(fx.Tell(event))
        self.news.clear()


@dataclass(frozen=True)
class Blocked:
    """Why the app on disk is not converged to; what runs is kept as it is, and repaired."""

    word: str
    reason: str
    message: str
    after: float | None = None
    pending: bool = False
    by_brake: bool = False

    def action(self, app: str) -> Action:
        """The line that says why nothing is done: `wait` for what will come, `skip` for what needs a person."""
        return Action("wait" if self.word == "Waiting" else "skip", app, self.message, app=app)


def folders_of(record: Record) -> tuple[str, ...]:
    """The app's folder, and those it had before."""
    return tuple(dict.fromkeys(folder for folder in (record.folder, *record.folders) if folder))
