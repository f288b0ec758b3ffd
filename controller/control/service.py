"""Service: what a verb acts on, as a protocol. The manager is one, the offline command another.

No verb and no part of the controller belongs here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from controller.control.health import Health
from controller.model.plan import Action, Plan
from controller.model.ports import Clock, Store


class Waiter:
    """Who waits for the answer: called, it says whether that is still so. A sweep asks, any other thread may end it.
    `_guard` guards both fields."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._ended = False
        self._wake: Callable[[], None] | None = None

    def __call__(self) -> bool:
        with self._guard:
            return not self._ended

    def end(self) -> None:
        """Nobody does any more; a sweep that waits hears of it."""
        with self._guard:
            self._ended, wake = True, self._wake
        if wake is not None:
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Within the block `wake` is called, without a lock of ours, when nobody waits any more."""
        with self._guard:
            self._wake = wake
        try:
            yield
        finally:
            with self._guard:
                self._wake = None


always: Final = Waiter()
"""Who asks waits for the answer however long it takes: nobody ends it."""


class Service(Protocol):
    """The running controller as the verbs see it."""

    @property
    def store(self) -> Store:
        """What is remembered."""

    @property
    def clock(self) -> Clock:
        """The time, for what people read."""

    def names(self) -> Sequence[str]:
        """All apps on disk or on record."""

    def sweep(
        self, apps: tuple[str, ...], dry_run: bool, *, lift: bool = False, wanted: Waiter = always
    ) -> tuple[Action, ...]:
        """One pass; waits until each app is Ready or can get no further by itself. No apps: all of them.
        `lift`: a generation of these apps that is kept out is tried again. When it is no longer `wanted` the waiting ends;
        what was begun goes on."""

    def plans(self, apps: tuple[str, ...]) -> tuple[tuple[str, Plan], ...]:
        """What would be done and why, app by app; touches nothing."""

    def requeue(self, app: str) -> None:
        """Look at this app now, whatever its backoff."""

    def take_engine(self) -> None:
        """Install everything anew on an engine that has nothing of what is on record. Raises `Refused`."""

    def purge(self, app: str, volumes: Sequence[str]) -> None:
        """Delete these volumes (full names) with all that is in them.

        Raises `AppError("VolumeInUse" | "ApplyFailed", …)`; those before it are gone then.
        """

    def describe(self) -> Mapping[str, object]:
        """The `service` object of the status."""


class RunningService(Service, Protocol):
    """What only a service that runs can tell of itself."""

    def health(self) -> Health:
        """Whether it does its work, and whether it can. Waits for nothing that may hang."""

    def metrics(self) -> bytes:
        """Its metrics, in the text format of Prometheus."""

    def stale_after(self) -> float:
        """Seconds after which what was seen of an app counts as unknown."""
