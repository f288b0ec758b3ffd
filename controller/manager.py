"""The composition root: builds every part in the order in which data passes it, starts, stops in reverse.

`serve` is the service, `sweep` one pass, `plans` a look without touching. What the parts do is theirs; here
is only who knows whom, and the bookkeeping of "has everything come to rest?".
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from controller import __version__
from controller.api.server import ApiServer
from controller.clock import SystemClock
from controller.complaints import Complaints
from controller.control.health import Facts, Health, Step, judge
from controller.control.queries import activity_document
from controller.control.service import Wanted, always
from controller.control.volumes import forget_left
from controller.engine.docker_engine import DockerEngine
from controller.engine.endpoint import resolve_endpoint
from controller.heap import share_heap
from controller.known_engine import KnownEngine
from controller.model.activity import Activity
from controller.model.desired import Census, Present
from controller.model.effects import Host, drive, perform
from controller.model.errors import EngineUnreachable, StateLocked, StateUnusable
from controller.model.facts import ALL_SEEN, LAST_RESYNC, NOTIFIED, ROOT_ID
from controller.model.observed import EngineInfo, Observed
from controller.model.plan import Action, Plan, Result
from controller.model.ports import Clock, Engine, Listener
from controller.model.record import Event
from controller.notify.sender import Address, Notifier, open_addresses
from controller.notify.sight import see
from controller.planner.gates import order
from controller.reconciler import Memory, Policy, Reconciler
from controller.source.lock import TreeLock
from controller.source.tree import AppsTree
from controller.source.watcher import TreeWatcher
from controller.sources import EngineEvents, Task, Ticker
from controller.status.lock import StateLock
from controller.status.store import SqliteStore
from controller.status.summary import WORDS, last_word
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
LOST_RESCAN = 2.0
"""Seconds between two looks at an apps tree that is lost, or at a state that cannot be written."""


_STATE_LOST = "Until it can, nothing is begun; what runs goes on running"
_STATE_BACK = "what happens can be remembered again; everything is looked at afresh"


def policy_of(settings: Settings) -> Policy:
    """The settings that a reconcile needs."""
    return Policy(
        settle=settings.settle,
        settle_new=settings.settle_new,
        removal_settle=settings.removal_settle,
        stable_after=settings.stable_after,
        health_timeout=settings.health_timeout,
        install_timeout=settings.install_timeout,
        start_timeout=settings.start_timeout,
        remove_timeout=settings.remove_timeout,
        rollback=settings.rollback,
        volume_prefix=settings.volume_prefix,
        prune=settings.prune,
    )


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


def _still_true(runs: Sequence[tuple[str, Result]]) -> list[Action]:
    last = {app: index for index, (app, _) in enumerate(runs)}
    return [
        action
        for index, (app, result) in enumerate(runs)
        for action in result.actions
        if last[app] == index or action.asked or action.kind not in ("wait", "skip", "error")
    ]


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
    ) -> None:
        """`activity`: where it is noted what is done at this moment, for who wants to look meanwhile. `addresses`: where
        a person is told of trouble."""
        self.settings = settings
        self.clock: Clock = SystemClock()
        self.stopped = threading.Event()
        """Set when the service is asked to stop, or has stopped."""
        self._started = False
        with contextlib.ExitStack() as opened:
            # Closed in reverse by `close`, or here when one of them cannot be opened.
            self._state_lock = opened.enter_context(StateLock(settings.state))
            tree_lock = opened.enter_context(TreeLock(settings.apps))
            self.store = opened.enter_context(SqliteStore(settings.state))
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
            )
        self._listeners = tuple(one for one in (listen or LogListener(), self.notifier) if one is not None)
        self.tree = tree_of(settings, self.store, self.clock, tree_lock)
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
        self.known_engine = KnownEngine(self.engine, self.store, self.complaints, self.tell)
        self.host = Host(
            self.tree,
            self.known_engine.guarded(),
            self.store,
            self.clock,
            self.queue,
            self._told,
            activity or Activity(),
        )
        self.progress = Progress()
        self.crew = Crew(
            settings.workers,
            self.queue,
            self.reconciler.run,
            self.host,
            self._ran,
            self._meter.perform if self._meter else perform,
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
            lambda: self.health().healthy, self.words, self.tell, os.environ if service else {}
        )

    # -- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all parts; nothing is reconciled before the tree was read once and the engine was tried once."""
        if self.notifier is not None:
            self.notifier.start()
        self.tree.tidy()
        self.engine.tidy()
        self.queue.start()
        if self.watcher is not None:
            self.watcher.start()
        self.rescan(quiet=True)
        self.known_engine.expect()
        self.engine_events.start(timeout=10.0)
        self._say_what_is_there()
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
        if self.notifier is not None:
            self.notifier.stop()
        if (seen := self.memory.all_seen_at()) is not None:
            with contextlib.suppress(StateUnusable):
                self.store.put(ALL_SEEN, seen.isoformat())

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
        self.queue.add_after(app, self.settings.settle)

    def _engine_event(self, app: str) -> None:
        if self.store.record(app) is not None:
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
        # What failed calls leave in circles (an error, its frames and all that these hold) outlives the young generations.
        # The old one is collected by itself only once it has grown by a quarter: with what was imported, days later.
        gc.collect()
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
        self._say_lost_or_back(census)
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
            self._see_that_it_watches(self.watcher, () if quiet else changed)

    def _say_ignored(self, census: Census) -> None:
        ignored = [f"{entry} {rule}" for entry, rule in sorted(census.ignored.items())]
        more = [f"and {len(ignored) - MOST_IGNORED} more"] if len(ignored) > MOST_IGNORED else []
        if ignored:
            self.complaints.say("tree.ignored", "; ".join([*ignored[:MOST_IGNORED], *more]))
        else:
            self.complaints.over("tree.ignored")

    def _see_that_it_watches(self, watcher: TreeWatcher, changed: Iterable[str]) -> None:
        """`changed`: the apps of which other folders may be there than those that are watched."""
        for app in changed:
            watcher.sync(app)
        if watcher.healthy():
            watcher.sync()
        unheard, trouble = watcher.check(), watcher.healthy()
        if trouble:
            trouble += f"; changes are found by a scan every {self.settings.rescan:g} s"
        elif unheard:
            trouble = f"{unheard}; the whole tree is scanned for what was missed"
        if trouble:
            self.complaints.say("tree.overflow", trouble)
        else:
            self.complaints.over("tree.overflow", "tree.watched", "the whole apps tree is watched again")

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

    def _say_lost_or_back(self, census: Census) -> None:
        installed = len(self.store.records())
        lost = census.lost
        if not lost and not census.names and installed > 1:
            lost = f"it holds no app, where there were {installed}"
        tree = f"apps tree {self.settings.apps}"
        if lost:
            message = f"{tree}: {lost}. Nothing is stopped or removed"
            if self.complaints.say("tree.lost", message, "error", anew=False):
                for name in self.names():  # so that each says so, and not the last that it knew
                    self.queue.add(name)
        elif self.complaints.over("tree.lost", "tree.back", f"{tree} is back"):
            self.resync()
        # A tree that is lost gives no events; somebody may be waiting for it to be found again.
        hurry = lost or self.complaints.holds("state.lost")
        self._scan.interval = min(self.settings.rescan, LOST_RESCAN) if hurry else self.settings.rescan

    # -- what the verbs act on --------------------------------------------------------------------------

    def requeue(self, app: str, *, lift: bool = False) -> None:
        """Look at this app now, whatever its backoff; with `lift` also at a generation that is kept out."""
        self.memory.force(app, lift=lift)
        self.queue.forget(app)
        self.queue.add(app)

    def sweep(
        self, apps: tuple[str, ...], dry_run: bool, *, lift: bool = False, wanted: Wanted = always
    ) -> tuple[Action, ...]:
        """See `Service.sweep`. Raises `EngineUnreachable`."""
        if dry_run:
            return tuple(action for _, plan in self.plans(apps) for action in plan.actions)

        self.engine.version()
        if (trouble := self.known_engine.trouble) is not None:
            raise EngineUnreachable(trouble)
        mark = self.progress.begin(apps)
        try:
            for name in apps:
                self.requeue(name, lift=lift)
            names = apps or drive(self.reconciler.look_at_all(reread=False), self.host)
            # A run that ends may have queued others of them: at rest is when nobody is pending and none is queued. Apps
            # that nobody asked for are not waited for: one that hangs would hold up all answers.
            while (
                not self.stopped.is_set()
                and wanted()
                and (not self.progress.wait(names, 0.1) or self.queue.holds(names))
            ):
                self.stopped.wait(0.01)
                if not apps:
                    names = tuple({*names, *self.progress.since(mark)})
        finally:
            runs = self.progress.end(mark)
        asked = set(names)
        return tuple(_still_true([run for run in runs if not apps or run[0] in asked]))

    def plans(self, apps: tuple[str, ...]) -> tuple[tuple[str, Plan], ...]:
        """What would be done and why, app by app; touches nothing. Raises `EngineUnreachable`."""
        self.engine.version()
        wanted = apps or _in_order(self.tree, self.store, reread=False)
        return tuple(
            (name, Plan(drive(self.reconciler.run(name, dry_run=True), self.host).actions)) for name in wanted
        )

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
        self.known_engine.take()

    def health(self) -> Health:
        """Whether the service does its work, and whether it can act. Waits two seconds at most, for the API."""
        return judge(self._facts())

    def _facts(self) -> Facts:
        threads = {
            "queue timer": self.queue.timed(),
            "engine events": self.engine_events.alive(),
            **({"scanner": self.ticker.alive()} if self.ticker is not None else {}),
            **({"watcher": self.watcher.alive()} if self.watcher is not None else {}),
            **({"API": self.api.alive()} if self.api is not None else {}),
            **({"notifier": self.notifier.alive()} if self.notifier is not None else {}),
        }
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
        watched = not self.complaints.holds("tree.overflow")
        return see(self.store, self.clock, facts, judge(facts), watched=watched)

    def describe(self) -> dict[str, object]:
        """The `service` object of the status."""
        return {
            "running": True,
            "version": __version__,
            "engine": self.known_engine.describe(),
            "appsRoot": str(self.settings.apps),
            "state": {"writable": not self.store.trouble, "message": self.store.trouble or None},
            "lastResync": self.store.get(LAST_RESYNC),
            "trouble": self.complaints.messages("tree.ignored", "tree.overflow"),
            "activity": activity_document(self.host.activity.steps()),
        }


def tree_of(settings: Settings, store: SqliteStore, clock: Clock, lock: TreeLock | None) -> AppsTree:
    """The apps tree that this state belongs to. Without its lock it is only looked at: its root is not marked as ours."""
    return AppsTree(
        settings.apps,
        clock,
        settings.state,
        # A record without a generation is of a folder that was not taken in yet, or of none.
        known=lambda: {record.name for record in store.records() if record.generation},
        root_id=lambda: store.get(ROOT_ID),
        recall=lambda app: record.rest.stamp if (record := store.record(app)) and record.rest else None,
        remember_root_id=(lambda value: store.put(ROOT_ID, value)) if lock else None,
        trust=settings.trust,
        lock=lock,
    )


def engine_of(settings: Settings, clock: Clock) -> DockerEngine:
    """The engine that `DOCKER_HOST` or the context names. Raises `EngineUnreachable` when that makes no sense."""
    return DockerEngine(resolve_endpoint(), settings.state / "compose", clock, trust=settings.trust)


# -- the ways in --------------------------------------------------------------------------------------------


def serve(settings: Settings, once: bool, activity: Activity | None = None) -> int:
    """Run the service until a signal; with `once` until every app is at rest. Answers with the exit code.

    SIGTERM and SIGINT stop it in order; a second one ends the process at once.
    """
    share_heap()
    addresses = () if once else open_addresses(settings.notify)
    manager = Manager(settings, service=not once, activity=activity, addresses=addresses)
    with contextlib.closing(manager), _stopped_by_signals(manager.stopped):
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
        words = manager.progress.words()
        return 1 if once and any(word != "Ready" for word in words.values()) else 0


@contextlib.contextmanager
def _stopped_by_signals(stopped: threading.Event) -> Iterator[None]:
    """Within this block SIGTERM and SIGINT set the event; a second one ends the process at once.

    What counts is the byte that the interpreter writes the moment the signal arrives. A handler of ours would not do:
    it may run in the middle of anything, and when another thread than the main one took the signal it is not run
    at all for as long as the main one waits.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)

    def handle(_number: int, _frame: FrameType | None) -> None:
        pass

    def listen() -> None:
        while (number := os.read(told, 1)) not in (b"", b"\0"):
            if stopped.is_set():
                os._exit(128 + number[0])
            stopped.set()

    listener = threading.Thread(target=listen, name="homeport-signals", daemon=True)
    listener.start()
    woken = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        for number, old in before.items():
            signal.signal(number, old)
        os.write(tell, b"\0")
        listener.join()
        os.close(tell)
        os.close(told)


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
    manager = Manager(one_worker, listen, service=False, activity=activity)
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


def plans(
    settings: Settings, apps: tuple[str, ...], note: Callable[[str], None] | None = None
) -> list[tuple[str, Plan]]:
    """What a sweep would do, without a service and without touching anything.

    Where no engine answers: what an empty host would need, and `note` is told so.
    """
    clock = SystemClock()
    store = SqliteStore.open_readonly(settings.state)
    engine = engine_of(settings, clock)
    try:
        tree = tree_of(settings, store, clock, None)
        look: Engine = engine
        memory = Memory()
        try:
            engine.version()
            memory.own_project = engine.own_project()
        except EngineUnreachable as error:
            look = _EmptyHost(engine)
            if note is not None:
                note(f"no engine answers ({error}); this is what an empty host would need")
        host = Host(tree, look, store, clock, _NoQueue(), lambda _event: None)
        reconciler = Reconciler(policy_of(settings), memory)
        names = apps or _in_order(tree, store, reread=True)
        return [(name, Plan(drive(reconciler.run(name, dry_run=True), host).actions)) for name in names]
    finally:
        engine.close()
        store.close()


def _in_order(tree: AppsTree, store: SqliteStore, *, reread: bool) -> tuple[str, ...]:
    """All apps on disk or on record, providers first. `reread`: what they require is taken from disk, not from
    the records; a service asks often, and its records are as good as new."""
    requires: dict[str, tuple[str, ...]] = {record.name: record.requires for record in store.records()}
    for name in tree.census().names:
        if name in requires and not reread:
            continue
        desired = tree.load(name)
        if isinstance(desired, Present):
            requires[name] = tuple(r.app for r in desired.manifest.requires)
        else:
            requires.setdefault(name, ())
    return order(requires)


class _EmptyHost:
    """The engine of a dry run where none answers: it can say what files mean, and has nothing."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def observe(self, app: str, folders: Sequence[str], volumes: Sequence[str]) -> Observed:
        return Observed()


class _NoQueue:
    """A dry run queues nothing."""

    def add(self, app: str) -> None:
        raise AssertionError(f"a dry run queued {app}")

    def forget(self, app: str) -> None:
        raise AssertionError(f"a dry run forgot the failures of {app}")

    def backoff(self, app: str) -> float:
        raise AssertionError(f"a dry run recorded a failure of {app}")


def engine_info(settings: Settings) -> EngineInfo:
    """Which engine answers. Raises `EngineUnreachable`."""
    engine = engine_of(settings, SystemClock())
    try:
        return engine.info()
    finally:
        engine.close()
