"""The engine as the service knows it: it answers or not, and is the one on record or a strange one.

Kept as one fact, so that every reconcile finds out before it does anything, and a command that looks without the service
does. Whether an engine is strange is decided in the planner; what is done on it is the reconciler's.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

from controller.complaints import Complaints, Tell
from controller.control.errors import Refused
from controller.control.reading import rfc3339
from controller.model.errors import EngineUnreachable, StateUnusable
from controller.model.facts import ENGINE_TROUBLE, ENGINE_TROUBLE_SINCE
from controller.model.observed import Observed
from controller.model.ports import Clock, Engine, Store
from controller.model.record import Record
from controller.planner.recognition import what_is_strange
from controller.reconciler.work import folders_of

AWAY = "the engine cannot be reached; what runs goes on running. See `homeport doctor`"
NOT_SEEN = "the engine was not looked at yet"


_CHANGES = frozenset({"apply", "ensure_volume", "exec", "keep_images", "pull", "remove", "restart", "stop"})
"""What a reconcile does on the engine; all else only looks."""


class KnownEngine:
    """One for each service. `trouble` is one reference, read without a lock.

    `_lock` guards its changes, so that it is written down in the order in which it was found out, and `_lost`.
    """

    def __init__(
        self, engine: Engine, store: Store, clock: Clock, complaints: Complaints, tell: Tell
    ) -> None:
        self._engine, self._store, self._clock = engine, store, clock
        self._complaints, self._tell = complaints, tell
        self._lock = threading.Lock()
        self._taking = threading.Lock()
        """Held by the person who takes the engine for a new one: one at a time."""
        self._version: str | None = None
        self._lost = 0
        """How often it did not answer: a look that began before the last time says nothing of who answers next."""
        self.trouble: str | None = NOT_SEEN
        """Why nothing is done on the engine at present, or None."""

    def guarded(self) -> Engine:
        """The engine, on which nothing can be changed while there is trouble: a run may have begun before it."""
        return cast("Engine", _Guarded(self._engine, self))

    def expect(self) -> None:
        """The service starts: whose engine it is, is found out before anything is done on it, however long that takes."""
        with self._lock:
            self._note(NOT_SEEN)

    def lose(self) -> None:
        """It does not answer. Another one may in its place, before we hear of it: it is looked at first."""
        with self._lock:
            self._lost += 1
            self._note(AWAY)

    def recognize(self) -> None:
        """It answers: nothing is done on it if all that is on record is gone, until a person says so, or something of ours
        is there again. Raises `EngineUnreachable`, also when it was lost in the middle of the look."""
        lost = self._lost
        version = self._engine.version()
        strange = what_is_strange(self._store.records(), self._look)
        with self._lock:
            if self._lost != lost:
                raise EngineUnreachable(AWAY)
            self._version = version
            self._note(strange or None)
        if strange:
            self._complaints.say("engine.strange", strange)
        else:
            known = "the engine is the one on record again; everything goes on"
            self._complaints.over("engine.strange", "engine.known", known)

    def take(self, at_rest: Callable[[], bool]) -> None:
        """A person wants everything installed anew on an engine that has nothing of ours: what is on record of the apps is
        forgotten, their folders are not. `at_rest`: waits for the runs that are under way, and answers whether they have
        ended. Raises `Refused` when it has something, they have not, or somebody said so already, `EngineUnreachable`."""
        if not self._taking.acquire(blocking=False):
            raise Refused("somebody takes this engine for a new one already, and waits for what began before")
        try:
            self._take(at_rest)
        finally:
            self._taking.release()

    def _take(self, at_rest: Callable[[], bool]) -> None:
        self.recognize()
        self._check_strange()
        # No run begins anything any more. One that began before may save what it knew, and by that the engine would be
        # strange again.
        if not at_rest():
            raise Refused(
                "what began before is still under way (`homeport status` says what); say it again then"
            )
        # That may take a minute, and a disk can be mounted in it: then all goes on, and nothing is to be forgotten.
        self.recognize()
        # Who finds out now that it is ours waits until all is forgotten: no run begins in the middle.
        with self._lock:
            self._check_strange()
            records = self._store.records()
            for record in records:
                self._store.forget(record.name)
        message = f"a person takes this engine for a new one; {len(records)} apps are installed on it anew"
        self._tell("engine.taken", message, "warning")
        self._complaints.over("engine.strange")
        self.recognize()

    def _check_strange(self) -> None:
        if self.trouble is None:
            raise Refused(
                "the engine that answers is the one on record; --new-engine is for one that has nothing"
            )

    def describe(self) -> dict[str, object]:
        """The `engine` object of the status."""
        # Not asked now: one that hangs would hold up every question, as long as it takes to say that it is away.
        trouble = self.trouble
        return {
            "reachable": trouble is None,
            "version": self._version if trouble not in (AWAY, NOT_SEEN) else None,
            "message": trouble if trouble != AWAY else None,
            "sinceTime": self._store.get(ENGINE_TROUBLE_SINCE) if trouble is not None else None,
        }

    def _look(self, record: Record, volumes: Sequence[str]) -> Observed:
        return self._engine.observe(record.name, folders_of(record), volumes)

    def remember(self) -> None:
        """Write down what is known, if that was not possible when it was found out."""
        with self._lock:
            self._note(self.trouble)

    def _note(self, trouble: str | None) -> None:
        """The caller holds `_lock`."""
        self.trouble = trouble
        # A state that cannot be written must not cost the engine's events or the scan; it is said by whoever checks it.
        with contextlib.suppress(StateUnusable):
            self._store.put(ENGINE_TROUBLE, trouble)
            if trouble is None:
                self._store.put(ENGINE_TROUBLE_SINCE, None)
            elif self._store.get(ENGINE_TROUBLE_SINCE) is None:
                self._store.put(ENGINE_TROUBLE_SINCE, rfc3339(self._clock.now()))


class _Guarded:
    def __init__(self, engine: Engine, known: KnownEngine) -> None:
        self._engine, self._known = engine, known

    def __getattr__(self, name: str) -> Any:
        if name in _CHANGES and (trouble := self._known.trouble) is not None:
            raise EngineUnreachable(trouble)
        return getattr(self._engine, name)
