"""Event sources: what makes a key look again. The tree by scanning, the engine by its events.

They only add keys to the queue and say when a source is lost or back; what is true is found by the
reconcile. The watcher, which makes the scan quick to react, is in the source room.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from controller.model.errors import EngineUnreachable
from controller.model.ports import Engine
from controller.workqueue import ExponentialBackoff

log = structlog.get_logger("homeport")

Tell = Callable[[str, str, str], None]
"""Called with event name, message and level, for what is about the service and not about one app."""


class EngineEvents:
    """Follows the engine's events in one thread; after a break it connects again, for ever, with backoff.

    Each (re)connection is followed by `on_connected`, which queues all that is not surely as it was: what happened in between
    was not heard.
    """

    def __init__(
        self,
        engine: Engine,
        on_event: Callable[[str], None],
        on_connected: Callable[[], None],
        on_lost: Callable[[], None],
        tell: Tell,
        close: Callable[[], None],
    ) -> None:
        self._engine, self._on_event, self._tell, self._close = engine, on_event, tell, close
        self._on_connected, self._on_lost = on_connected, on_lost
        self._stopping = threading.Event()
        self._first = threading.Event()
        self._backoff: ExponentialBackoff[str] = ExponentialBackoff(0.2, 10.0)
        self._reachable: bool | None = None
        self._thread = threading.Thread(target=self._follow, name="homeport-engine-events", daemon=True)

    def start(self, timeout: float) -> None:
        """Begin; returns when the engine has answered or has been found away, at most after `timeout` seconds."""
        self._thread.start()
        self._first.wait(timeout)

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the stream and the thread."""
        self._stopping.set()
        self._close()
        if self._thread.ident is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except BaseException:
                # Nobody looks after this thread: a fault of ours, a full disk or a panic of a library costs one
                # connection, and not all events for ever.
                log.exception(
                    "events.failed", message="the engine's events cannot be followed; tried again soon"
                )
                self._first.set()
            self._stopping.wait(self._backoff.when("engine"))

    def _listen(self) -> None:
        """Follow one stream to its end, and say so when the engine is gone with it."""
        try:
            for event in self._engine.events():
                if self._stopping.is_set():
                    return
                if event.action == "connected":
                    self._connected()
                    self._backoff.forget("engine")
                else:
                    self._on_event(event.app)
        except EngineUnreachable as error:
            log.debug("events.ended", message=str(error))
        if not self._stopping.is_set():
            self._see_whether_lost()

    def _connected(self) -> None:
        if self._reachable is False:
            self._engine.version()  # one that is half dead has events, too, and is not back
            self._tell("engine.back", "the engine answers again; everything is looked at afresh", "info")
        self._reachable = True
        self._on_connected()
        self._first.set()

    def _see_whether_lost(self) -> None:
        """A stream that ends while the engine still answers is no loss; it is only opened again.

        One whose containerd hangs lives by the smallest question and answers none that a run has. That one is asked first
        all the same: a frozen engine is known by it in a quarter of the time.
        """
        try:
            self._engine.ping()
            self._engine.version()
        except EngineUnreachable as why:
            if self._reachable is not False:
                self._reachable = False
                self._on_lost()
                self._tell(
                    "engine.lost", f"the engine cannot be reached ({why}); what runs goes on running", "error"
                )
        self._first.set()


@dataclass
class Task:
    """Something to do again and again; `interval` in seconds."""

    interval: float
    call: Callable[[], None]
    due: float = 0.0


class Ticker:
    """Calls each of its tasks at a steady interval with 10 % of jitter, all in one thread."""

    def __init__(self, name: str, tasks: Iterable[Task], monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._tasks = tuple(tasks)
        self._changed = threading.Condition()
        self._stopping = False  # guarded by _changed
        self._poked = False  # guarded by _changed
        self._since: float | None = (
            None  # when the task began that is under way; one reference, set by the thread
        )
        self._thread = threading.Thread(target=self._tick, name=name, daemon=True)
        self._jitter = random.Random()  # noqa: S311 - spreads load, protects nothing

    def start(self) -> None:
        """Begin; the first call of each task comes after its interval."""
        for task in self._tasks:
            self._put_off(task)
        self._thread.start()

    def poke(self) -> None:
        """All tasks are due now."""
        with self._changed:
            self._poked = True
            self._changed.notify_all()

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def busy(self) -> float:
        """For how many seconds the task has been under way that is under way now; else 0."""
        since = self._since
        return 0.0 if since is None else self._monotonic() - since

    def stop(self) -> None:
        """End the thread; a task that runs is waited for."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _put_off(self, task: Task) -> None:
        task.due = self._monotonic() + task.interval * self._jitter.uniform(0.9, 1.1)

    def _tick(self) -> None:
        while True:
            left = min(task.due for task in self._tasks) - self._monotonic()
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._poked, max(0.0, left))
                if self._stopping:
                    return
                poked, self._poked = self._poked, False
            now = self._monotonic()
            for task in self._tasks:
                if poked or task.due <= now:
                    self._call(task)
                    self._put_off(task)

    def _call(self, task: Task) -> None:
        self._since = self._monotonic()
        try:
            task.call()
        except BaseException:
            # Nobody looks after this thread: what fails now is tried again at the next interval.
            log.exception(
                "scan.failed", message=f"{task.call.__name__} failed; tried again in {task.interval:g} s"
            )
        finally:
            self._since = None
