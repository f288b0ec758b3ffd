"""Workers: take a key, drive its reconcile, turn the result into queue calls, give the key back.

A worker knows nothing of apps, decides nothing, and can be asked what it is at. An exception that a reconcile lets out is a fault of ours
or of the store: it is logged with its traceback, the key is tried again with backoff, the worker lives on.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from controller.model.effects import Effect, Host, Run, drive, perform
from controller.model.errors import HomeportError
from controller.model.plan import Result
from controller.model.ports import Clock
from controller.workqueue import WorkQueue

log = structlog.get_logger("homeport")


class Stopping(Exception):
    """The service stops: the run is dropped between two effects, which is as safe as a crash there."""


@dataclass(frozen=True)
class Busy:
    """What one worker is at."""

    key: str
    effect: str
    seconds: float
    longest: float
    """See `Effect.longest`."""


class Crew:
    """The worker threads. `on_result` hears of every run that ended and how many seconds it took, in the worker's thread;
    `on_done` that a key was given back, be its run ended or dropped.

    `_at` has an entry for each thread that is in an effect. Each thread writes its own alone, whole entries at a time.
    `_ended` guards `_runs`, which has one for each run that is under way.
    """

    def __init__(
        self,
        count: int,
        queue: WorkQueue[str],
        reconcile: Callable[[str], Run[Result]],
        host: Host,
        on_result: Callable[[str, Result, float], None],
        perform: Callable[[Effect[Any], Host], Any] = perform,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue, self._reconcile, self._host, self._on_result = queue, reconcile, host, on_result
        self._performed, self._on_done = perform, on_done
        self._clock: Clock = host.clock
        self._stopping = threading.Event()
        self._at: dict[int, tuple[str, Effect[Any], float]] = {}
        self._ended = threading.Condition()
        self._runs: set[object] = set()
        self._threads = [
            threading.Thread(target=self._work, name=f"homeport-worker-{number}", daemon=True)
            for number in range(1, count + 1)
        ]

    def start(self) -> None:
        """Begin to work. May be called once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no new key and drop running reconciles after the effect they are in. Does not wait."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for all workers; the queue must have been shut down."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def missing(self) -> int:
        """How many of the workers do not run."""
        return sum(not thread.is_alive() for thread in self._threads)

    def busy(self) -> tuple[Busy, ...]:
        """What each worker is at that is in an effect just now."""
        now = self._clock.monotonic()
        return tuple(
            Busy(key, type(effect).__name__, now - since, effect.longest)
            for key, effect, since in tuple(self._at.values())
        )

    def outlast(self, timeout: float) -> bool:
        """Wait until every run that is under way now has ended; others may begin meanwhile. Answers whether that was so
        before the time was over."""
        with self._ended:
            now = set(self._runs)
            return self._ended.wait_for(lambda: not (now & self._runs), timeout)

    def _work(self) -> None:
        while (key := self._queue.get()) is not None:
            run = object()
            with self._ended:
                self._runs.add(run)
            try:
                self._work_on(key)
            finally:
                self._host.activity.end(key)
                with self._ended:
                    self._runs.discard(run)
                    self._ended.notify_all()
                self._queue.done(key)
                self._on_done()

    def _work_on(self, key: str) -> None:
        if self._stopping.is_set():
            return
        began = self._clock.monotonic()
        with structlog.contextvars.bound_contextvars(app=key, reconcile_id=uuid.uuid4().hex[:8]):
            try:
                result = drive(self._reconcile(key), self._host, partial(self._perform, key))
            except Stopping:
                return
            except HomeportError as error:
                log.error("reconcile.failed", message=str(error))
                self._queue.add_rate_limited(key)
                result = Result("Failed", failed=True)
            except (
                BaseException
            ):  # a panic of pydantic's core is no Exception, and nobody looks after this thread
                log.exception(
                    "reconcile.crashed", message="a fault in Homeport itself; the app is tried again"
                )
                self._queue.add_rate_limited(key)
                result = Result("Failed", failed=True)
            else:
                if result.after is not None:
                    self._queue.add_after(key, result.after)
            self._on_result(key, result, self._clock.monotonic() - began)

    def _perform(self, key: str, effect: Effect[Any], host: Host) -> Any:
        if self._stopping.is_set():
            raise Stopping
        thread = threading.get_ident()
        self._at[thread] = (key, effect, self._clock.monotonic())
        try:
            return self._performed(effect, host)
        finally:
            del self._at[thread]
