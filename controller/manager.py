"""The composition root: builds every part in the order in which data passes it, starts, stops in reverse.

`serve` is the service, `sweep` one pass, `plans` a look without touching. What the parts do is theirs; here
is only who knows whom, and the bookkeeping of "has everything come to rest?".
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller import __version__
from controller.api.server import ApiServer
from controller.clock import SystemClock
from controller.complaints import Complaints
from controller.control.health import Facts, Health, Step, judge
from controller.control.queries import activity_document
from controller.control.service import Waiter, always
from controller.control.volumes import forget_left
from controller.dryrun import plans
from controller.heap import share_heap, tidy_heap
from controller.known_engine import AWAY, NOT_SEEN, KnownEngine
from controller.model.activity import Activity
from controller.model.desired import Census
from controller.model.effects import Host, drive, perform
from controller.model.errors import EngineUnreachable, StateLocked, StateUnusable
from controller.model.facts import ALL_SEEN, LAST_RESYNC, NOTIFIED
from controller.model.plan import Action, Plan, Result
from controller.model.ports import Clock, Listener
from controller.model.record import Event
from controller.notify.sender import Address, Notifier, open_addresses
from controller.notify.sight import see
from controller.parts import engine_of, in_order, plan_lost, policy_of, say_lost, tree_of
from controller.reconciler import Memory, Reconciler
from controller.signals import stopped_by_signals
from controller.source.lock import TreeLock
from controller.source.watcher import Cause, TreeWatcher
from controller.sources import EngineEvents, Task, Ticker
from controller.status.lock import StateLock
from controller.status.store import SqliteStore
from controller.status.summary import WORDS, last_word
from controller.sweeps import Progress, StopSign, still_true
from controller.systemd import Supervisor
from controller.telemetry.logging import LogListener
from controller.worker import Crew
from controller.workqueue import NO_METRICS, ExponentialBackoff, WorkQueue

if TYPE_CHECKING:
    from controller.metering import Meter
    from controller.settings import Settings
    from controller.telemetry.metrics import Seen


MOST_IGNORED = 20
"""Entries of the root that are named when they are no apps."""
RESYNCS_OF_A_HEAP = 12
"""Resyncs, of which the first tidies all of the heap: once an hour, by the settings that it has by itself."""
UNDER_WAY = 60.0
"""Seconds that a person waits who takes an engine for a new one, for what began before."""
LOST_RESCAN = 2.0
"""Seconds between two looks at an apps tree that is lost, or at a state that cannot be written."""


_UNHEARD: Mapping[Cause, str] = {
    "overflow": "tree.overflow",
    "replaced": "tree.replaced",
    "broken": "tree.unheard",
}
"""How it is told that changes may have gone unheard."""
_STATE_LOST = "Until it can, nothing is begun; what runs goes on running"
_STATE_BACK = "what happens can be remembered again; everything is looked at afresh"


class Manager:
    """All parts of one running controller. Also what the control room's verbs act on."""

    def __init__(
        self,
        settings: Settings,
        listen: Listener | None = None,
        *,
        service: bool = True,
        activity: Activity | None = None,
        addresses: Sequence[Address] = (),
        only: Sequence[str] = (),
    ) -> None:
        """`activity`: where it is noted what is done at this moment, for who wants to look meanwhile. `addresses`: where
        a person is told of trouble. `only`: a command is about these apps, and no event is a reason to look at others."""
        self.settings = settings
        self.clock: Clock = SystemClock()
        self.progress = Progress()
        self.stopped: threading.Event = StopSign(self.progress.wake)
        """Set when the service is asked to stop, or has stopped."""
        self._started = False
        self._resyncs = itertools.count()
        self._only = frozenset(only)
        with contextlib.ExitStack() as opened:
            # Closed in reverse by `close`, or here when one of them cannot be opened.
            self._state_lock = opened.enter_context(StateLock(settings.state))
            self.store = opened.enter_context(SqliteStore(settings.state))
            tree_lock = TreeLock(settings.apps)
            opened.callback(tree_lock.let_go)
            self.tree = tree_of(settings, self.store, self.clock, tree_lock)
            if not self.tree.is_lost():  # else it is not ours, and to be left to whom it belongs
                opened.enter_context(tree_lock)
            self.engine = engine_of(settings, self.clock)
            opened.callback(self.engine.close)
            self._opened = opened.pop_all()
        self._meter: Meter | None = None
        if service:
            from controller.metering import Meter  # 30 ms, for who is asked

            self._meter = Meter(__version__, self.clock, self._see)
            self.engine = self._meter.metered(self.engine)
        self.notifier: Notifier | None = None
        if addresses:
            self.notifier = Notifier(
                addresses,
                lambda: see(self.store.records()),
                self.clock,
                self.store.get(NOTIFIED),
                self._note_told,
                wrong=self._wrong,
            )
        self._listeners = tuple(one for one in (listen or LogListener(), self.notifier) if one is not None)
        limiter: ExponentialBackoff[str] = ExponentialBackoff(
            settings.backoff_base,
            settings.backoff_max,
            random.Random(),  # noqa: S311 - spreads load, protects nothing
        )
        self.queue: WorkQueue[str] = WorkQueue(
            self.clock, limiter, metrics=self._meter.queue if self._meter else NO_METRICS
        )
        self.memory = Memory()
        self.reconciler = Reconciler(policy_of(settings), self.memory, f"{__version__} {settings.trust}")
        self.complaints = Complaints(self.tell)
        self.known_engine = KnownEngine(self.engine, self.store, self.clock, self.complaints, self.tell)
        self.host = Host(
            self.tree,
            self.known_engine.guarded(),
            self.store,
            self.clock,
            self.queue,
            self._told,
            activity or Activity(),
        )
        self.crew = Crew(
            settings.workers,
            self.queue,
            self.reconciler.run,
            self.host,
            self._ran,
            self._meter.perform if self._meter else perform,
            self.progress.wake,
        )
        self.engine_events = EngineEvents(
            self.engine,
            self._engine_event,
            self._engine_connected,
            self.known_engine.lose,
            self.tell,
            self.engine.close_events,
        )
        self._scan = Task(settings.rescan, self.rescan)
        self.ticker: Ticker | None = None
        self.watcher: TreeWatcher | None = None
        self.api: ApiServer | None = None
        self._seen: Mapping[str, object] = {}
        self._lost_tree = ""
        """Why the apps tree cannot be known, as the last look found it."""
        if service:
            self.ticker = Ticker(
                "homeport-scanner",
                [Task(settings.resync, self.store.check), self._scan, Task(settings.resync, self.resync)],
                self.clock.monotonic,
            )
            self.watcher = TreeWatcher(self.tree.folders, self._tree_event, self.tree.is_input)
            self.tree.on_other_paths = self.watcher.sync
            self.api = ApiServer(self, settings.socket, settings.tcp)
        self.supervisor = Supervisor(
            lambda patience: self.health(patience).trouble, self.words, self.tell, self.clock.monotonic,
            os.environ if service else {},
        )  # fmt: skip

    # -- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all parts; nothing is reconciled before the tree was read once and the engine was tried once."""
        self.tree.tidy()
        self.engine.tidy()
        self.queue.start()
        if self.watcher is not None:
            self.watcher.start()
        self.rescan(quiet=True)
        self.known_engine.expect()
        self.engine_events.start(timeout=10.0)
        self._say_what_is_there()
        if self.notifier is not None:  # it heard all until now, and compares with what is so
            self.notifier.start()
        self.crew.start()
        if self.ticker is not None:
            self.ticker.start()
        if self.api is not None:
            self.api.start()
        self._started = True

    def _say_what_is_there(self) -> None:
        names, queued = self.names(), len(self.queue)
        message = f"{len(names)} app{'' if len(names) == 1 else 's'} on disk or on record; "
        if (trouble := self.known_engine.trouble) is not None:
            message += f"nothing is done: {trouble}"
        elif queued:
            message += f"{queued} to be looked at, the others are as they were"
        else:
            message += "all are as they were"
        self.tell("service.watching", message, apps=len(names), queued=queued)

    def stop(self) -> None:
        """No new work; the running step ends or is ended; everything that was started is joined. Stops no app."""
        self.stopped.set()
        self.supervisor.stopping()
        self.crew.stop()
        self.engine.interrupt(self.settings.shutdown_grace)
        if self.ticker is not None:
            self.ticker.stop()
        if self.watcher is not None:
            self.watcher.stop()
        if self.api is not None:
            self.api.stop()
        self.engine_events.stop()
        self.queue.shut_down()
        self.crew.join()
        if (seen := self.memory.looks.all_seen_at()) is not None:
            with contextlib.suppress(StateUnusable):
                self.store.put(ALL_SEEN, seen.isoformat())
        if self.notifier is not None:  # last: it waits for others than us
            self.notifier.stop()

    def close(self) -> None:
        """Let go of files and of the lock."""
        self._opened.close()

    def listen(self, event: Event) -> None:
        """An event for all who listen: the log, and whoever tells a person of it."""
        for listener in self._listeners:
            listener(event)

    def _note_told(self, memory: str) -> None:
        with contextlib.suppress(StateUnusable):
            self.store.put(NOTIFIED, memory or None)

    def _wrong(self) -> dict[str, str]:
        """What is wrong with the service, or may still be, by the event that says so."""
        engine = self.known_engine.trouble or ""
        wrong = {
            "engine.lost": engine if engine in (AWAY, NOT_SEEN) else "",
            "engine.strange": engine,  # one that does not answer may be it
            "tree.lost": " ".join(self.complaints.messages("tree.lost")),
            "state.lost": self.store.trouble,
        }
        return {name: message for name, message in wrong.items() if message}

    def tell(self, name: str, message: str, level: str = "info", /, **fields: Any) -> None:
        """Say something about the service itself, once. In the log also when it cannot be remembered."""
        event = Event(self.clock.now(), "", name, level, message, fields)
        with contextlib.suppress(StateUnusable):
            self.store.tell(event)
        self._told(event)

    def _told(self, event: Event) -> None:
        self.listen(event)
        if self.api is not None:
            self.api.tell_news()

    def words(self) -> str:
        """How all apps are, in one line: `12 apps: 11 Ready, 1 Waiting`."""
        counts = Counter(last_word(record) for record in self.store.records())
        told = ", ".join(f"{counts[word]} {word}" for word in reversed(WORDS) if counts[word])
        trouble = self.known_engine.trouble or self.store.trouble
        line = f"{counts.total()} app{'' if counts.total() == 1 else 's'}{': ' if told else ''}{told}"
        return f"{line}; {trouble}" if trouble else line

    # -- what makes a key look again --------------------------------------------------------------------

    def names(self) -> list[str]:
        """All apps on disk or on record, by name."""
        return sorted(self.tree.census().names | {record.name for record in self.store.records()})

    def _tree_event(self, app: str) -> None:
        if not app:
            # The kernel lost events: which ones, the scan finds out.
            if self.ticker is not None:
                self.ticker.poke()
            return
        # The quiet period is checked by the reconcile; this only spares it looks in the middle of a save.
        self.queue.add_after(app, self.memory.settling.look_after_change(app, self.settings.settle))

    def _engine_event(self, app: str) -> None:
        if self.store.record(app) is not None and (not self._only or app in self._only):
            self.queue.add(app)

    def _recognize(self) -> None:
        """Whose engine it is, and which of its projects is ourselves. Raises `EngineUnreachable`."""
        self.memory.own_project = self.engine.own_project()
        self.known_engine.recognize()

    def _engine_connected(self) -> None:
        self._recognize()
        if self.ticker is not None:  # one pass looks at what it was asked for, and at nothing else
            self._look_at_all(reread=False)

    def _ran(self, app: str, result: Result, seconds: float) -> None:
        if self._meter is not None:
            self._meter.ran(result, seconds)
        self.progress.report(app, result)
        if self.store.trouble and not self.complaints.holds("state.lost") and self.ticker is not None:
            self.ticker.poke()

    def resync(self) -> None:
        """All inputs are read again, all containers listed; what is not surely at rest is looked at."""
        tidy_heap(thoroughly=next(self._resyncs) % RESYNCS_OF_A_HEAP == 0)
        with contextlib.suppress(EngineUnreachable):
            self._recognize()
        if self.watcher is not None:
            self.watcher.sync()
        self._look_at_all(reread=True)
        self.supervisor.refresh()

    def _look_at_all(self, *, reread: bool) -> None:
        """Queue all apps but those that are surely at rest. `reread`: their inputs are read for it."""
        # When the engine does not answer all are queued, and each is tried again.
        with contextlib.suppress(EngineUnreachable, StateUnusable):
            drive(self.reconciler.look_at_all(reread=reread), self.host)
        with contextlib.suppress(StateUnusable):
            self.store.put(LAST_RESYNC, self.clock.now().isoformat())

    def rescan(self, *, quiet: bool = False) -> None:
        """Find what the watcher missed, and see that it still watches. `quiet`: only learn what is there."""
        self._check_state()
        census = self.tree.census()
        back = self._say_lost_or_back(census)
        if census.lost:
            return
        self._say_ignored(census)
        seen, before = self.tree.signatures(), self._seen
        self._seen = seen
        changed = sorted(name for name in {*seen, *before} if seen.get(name) != before.get(name))
        if not quiet:
            gone = {record.name for record in self.store.records()} - census.names
            for name in sorted({*changed, *gone}):
                self.queue.add(name)
        if self.watcher is not None:
            self._see_that_it_watches(self.watcher, () if quiet else changed, back=back)

    def _say_ignored(self, census: Census) -> None:
        ignored = [f"{entry} {rule}" for entry, rule in sorted(census.ignored.items())]
        more = [f"and {len(ignored) - MOST_IGNORED} more"] if len(ignored) > MOST_IGNORED else []
        if ignored:
            self.complaints.say("tree.ignored", "; ".join([*ignored[:MOST_IGNORED], *more]))
        else:
            self.complaints.over("tree.ignored")

    def _see_that_it_watches(self, watcher: TreeWatcher, changed: Iterable[str], *, back: bool) -> None:
        """`changed`: the apps of which other folders may be there than those that are watched. `back`: the tree was lost
        until now."""
        for app in changed:
            watcher.sync(app)
        if watcher.healthy():
            watcher.sync()
        unheard, trouble = watcher.check(), watcher.healthy()
        if back:  # that it was away is told
            unheard.pop("replaced", None)
        for cause, name in _UNHEARD.items():
            if cause in unheard:
                self.complaints.say(name, f"{unheard[cause]}; the whole tree is scanned for what was missed")
            else:
                self.complaints.over(name)
        if trouble:
            trouble += f"; changes are found by a scan every {self.settings.rescan:g} s"
            self.complaints.say("tree.unwatched", trouble)
        else:
            self.complaints.over("tree.unwatched", "tree.watched", "the whole apps tree is watched again")

    def _check_state(self) -> None:
        """See that what is remembered is on disk; say when it cannot be, and when it can again."""
        try:
            if rebuilt := self.store.mend():
                self._state_lock.follow()
                self.tell("state.rebuilt", rebuilt, "error")
        except StateUnusable:
            pass  # `trouble` says why
        except StateLocked as error:
            self.tell("state.lost", str(error), "error")
            self.stopped.set()
        self.known_engine.remember()
        if trouble := self.store.trouble:
            message = f"nothing can be remembered: {trouble}. {_STATE_LOST}"
            self.complaints.say("state.lost", message, "error", anew=False)
        elif self.complaints.over("state.lost", "state.back", _STATE_BACK):
            for name in self.names():
                self.queue.forget(name)
            self.resync()

    def _say_lost_or_back(self, census: Census) -> bool:
        """Answers whether it was lost until now."""
        installed = len(self.store.records())
        lost, back = census.lost, False
        if not lost and not census.names and installed > 1:
            lost = f"holds no app, where there were {installed}"
        self._lost_tree = lost
        tree = f"apps tree {self.settings.apps}"
        if lost:
            message = f"{tree}: {lost}. Nothing is stopped or removed"
            if self.complaints.say("tree.lost", message, "error", anew=False):
                for name in self.names():  # so that each says so, and not the last that it knew
                    self.queue.add(name)
        elif back := self.complaints.over("tree.lost", "tree.back", f"{tree} is back"):
            self.resync()
        # A tree that is lost gives no events; somebody may be waiting for it to be found again.
        hurry = lost or self.complaints.holds("state.lost")
        self._scan.interval = min(self.settings.rescan, LOST_RESCAN) if hurry else self.settings.rescan
        return back

    # -- what the verbs act on --------------------------------------------------------------------------

    def requeue(self, app: str, *, lift: bool = False) -> None:
        """Look at this app now, whatever its backoff; with `lift` also at a generation that is kept out."""
        self.memory.requests.note(app, lift=lift)
        self.queue.forget(app)
        self.queue.add(app)

    def sweep(
        self, apps: tuple[str, ...], dry_run: bool, *, lift: bool = False, wanted: Waiter = always
    ) -> tuple[Action, ...]:
        """See `Service.sweep`. Raises `EngineUnreachable`."""
        if dry_run:
            return tuple(action for _, plan in self.plans(apps) for action in plan.actions)

        # To say its version the engine starts runc and docker-init and asks containerd (moby's daemon/info_unix.go): a quarter
        # of what a sweep of 100 apps takes. Where it answers to a ping and to nothing else, the list of all containers finds
        # that out; of one app there is none.
        if apps:
            self.engine.version()
        else:
            self.engine.ping()
        if (trouble := self.known_engine.trouble) is not None:
            raise EngineUnreachable(trouble)
        sweep = self.progress.begin()
        try:
            for name in apps:
                self.requeue(name, lift=lift)
            sweep.everything = not apps
            names = apps or drive(self.reconciler.look_at_all(reread=False), self.host)
            # A run that ends may have queued others of them: at rest is when nobody is pending and none is queued. Apps
            # that nobody asked for are not waited for: one that hangs would hold up all answers.
            with wanted.waking(self.progress.wake):
                self.progress.wait(
                    sweep, names, lambda: self.stopped.is_set() or not wanted(), self.queue.holds
                )
        finally:
            runs = self.progress.end(sweep)
        done = still_true([run for run in runs if not apps or run[0] in sweep.apps])
        return (*done, *(() if apps else say_lost(self.tree)))

    def plans(self, apps: tuple[str, ...]) -> tuple[tuple[str, Plan], ...]:
        """What would be done and why, app by app; touches nothing. Raises `EngineUnreachable`."""
        self.engine.version()
        wanted = apps or in_order(self.tree, self.store, reread=False)
        found = [
            (name, Plan(drive(self.reconciler.run(name, dry_run=True), self.host).actions)) for name in wanted
        ]
        return (*found, *(() if apps else plan_lost(self.tree)))

    def purge(self, app: str, volumes: Sequence[str]) -> None:
        """Delete these volumes with all that is in them. Raises `AppError("VolumeInUse" | "ApplyFailed", …)`."""
        for volume in volumes:
            self.engine.remove_volume(volume)
            forget_left(self.store, app, volume)
            message = f"volume {volume} was deleted with all that was in it, by command"
            event = Event(self.clock.now(), app, "volume.purged", "info", message, {"volume": volume})
            self.store.tell(event)
            self._told(event)

    def take_engine(self) -> None:
        """See `KnownEngine.take`."""
        self.known_engine.take(lambda: self.crew.outlast(UNDER_WAY))

    def health(self, patience: float = 1.0) -> Health:
        """Whether the service does its work, and whether it can act. Waits for the API alone, for about so many seconds."""
        return judge(self._facts(patience))

    def _facts(self, patience: float = 1.0) -> Facts:
        threads = {
            "queue timer": self.queue.timed(),
            "engine events": self.engine_events.alive(),
            **({"scanner": self.ticker.alive()} if self.ticker is not None else {}),
            **({"watcher": self.watcher.alive()} if self.watcher is not None else {}),
            **({"API": self.api.alive()} if self.api is not None else {}),
            **({"notifier": self.notifier.alive()} if self.notifier is not None else {}),
        }
        late = threads.get("API") and self.api is not None and not self.api.comes_round(patience)
        lost = self.complaints.messages("tree.lost")
        return Facts(
            started=self._started,
            stopping=self.stopped.is_set(),
            threads=threads,
            workers=self.settings.workers,
            workers_missing=self.crew.missing(),
            steps=tuple(Step(at.key, at.effect, at.seconds, at.longest) for at in self.crew.busy()),
            scan_seconds=self.ticker.busy() if self.ticker is not None else 0.0,
            engine=self.known_engine.trouble or "",
            tree=lost[0] if lost else "",
            state=self.store.trouble,
            late={"API": patience} if late else {},
        )

    def metrics(self) -> bytes:
        """See `RunningService.metrics`."""
        return self._meter.text() if self._meter is not None else b""

    def stale_after(self) -> float:
        """Seconds: two looks at everything."""
        return 2 * self.settings.resync

    def _see(self) -> Seen:
        from controller.metering import see

        facts = self._facts()
        watched = not self.complaints.holds("tree.unwatched")
        return see(self.store, self.clock, facts, judge(facts), watched=watched)

    def describe(self) -> dict[str, object]:
        """The `service` object of the status."""
        return {
            "running": True,
            "version": __version__,
            "engine": self.known_engine.describe(),
            "appsRoot": str(self.settings.apps),
            "tree": {"readable": not self._lost_tree, "message": self._lost_tree or None},
            "state": {"writable": not self.store.trouble, "message": self.store.trouble or None},
            "lastResync": self.store.get(LAST_RESYNC),
            "trouble": self.complaints.messages("tree.ignored", "tree.unwatched", *_UNHEARD.values()),
            "activity": activity_document(self.host.activity.steps()),
        }


# -- the ways in --------------------------------------------------------------------------------------------


def serve(settings: Settings, once: bool, activity: Activity | None = None) -> int:
    """Run the service until a signal; with `once` until every app is at rest. Answers with the exit code.

    SIGTERM and SIGINT stop it in order; a second one ends the process at once.
    """
    share_heap()
    addresses = () if once else open_addresses(settings.notify)
    manager = Manager(settings, service=not once, activity=activity, addresses=addresses)
    with contextlib.closing(manager), stopped_by_signals(manager.stopped):
        if manager.store.notice:
            manager.tell("state.rebuilt", manager.store.notice, "error")
        manager.tell(
            "service.started",
            f"Homeport {__version__} keeps {settings.apps}",
            apps=str(settings.apps), state=str(settings.state), workers=settings.workers, pid=os.getpid(),
        )  # fmt: skip
        if once:
            manager.engine.version()
        try:
            manager.start()
            if once:
                manager.sweep((), dry_run=False)
            else:
                manager.supervisor.ready()
                manager.stopped.wait()
            manager.tell("service.stopping", "the service stops; all apps go on running")
        finally:
            manager.stop()
        manager.tell("service.stopped", "stopped")
        return 0 if not once or _all_as_wanted(manager) else 1


def _all_as_wanted(manager: Manager) -> bool:
    """Whether the tree can be known, and each app is Ready, or what a person said that it is to be."""
    records = manager.store.records()
    words = {record.name: last_word(record) for record in records} | dict(manager.progress.words())
    asked = {
        record.name
        for record in records
        if words[record.name] in ("Stopped", "Suspended")
        or (
            words[record.name] == "RolledBack"
            and record.quarantine is not None
            and record.quarantine.by_person
        )
    }
    return not say_lost(manager.tree) and all(word == "Ready" or app in asked for app, word in words.items())


def sweep(
    settings: Settings,
    apps: tuple[str, ...],
    dry_run: bool,
    listen: Listener | None = None,
    note: Callable[[str], None] | None = None,
    *,
    lift: bool = False,
    new_engine: bool = False,
    activity: Activity | None = None,
) -> list[Action]:
    """One sweep by ourselves, with one worker; `note` as in `plans`, `lift` as in `Service.sweep`, `new_engine` as in
    `verbs.Reconcile`.

    Raises `StateLocked` when a service runs on that state, `EngineUnreachable` when there is none to act on.
    """
    if dry_run:
        return [action for _, plan in plans(settings, apps, note) for action in plan.actions]
    one_worker = settings.model_copy(update={"workers": 1})
    manager = Manager(one_worker, listen, service=False, activity=activity, only=apps)
    try:
        manager.engine.version()
        try:
            manager.start()
            if new_engine:
                manager.take_engine()
            return list(manager.sweep(apps, dry_run=False, lift=lift))
        finally:
            manager.stop()
    finally:
        manager.close()


def sweep_once(apps_root: str | Path, *, dry_run: bool, state: str | Path | None) -> list[Action]:
    """The library's face of `sweep`: settings from the environment, and these two folders."""
    from controller.settings import Settings

    overrides: dict[str, Any] = {"apps": Path(apps_root)}
    if state is not None:
        overrides["state"] = Path(state)
    return sweep(Settings.load(overrides), (), dry_run, listen=lambda _event: None)
