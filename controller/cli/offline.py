"""Offline: what the commands do where no service runs. The store alone, under the state's lock.

The same verbs act on it as on the service; what they leave is found by the next start. No printing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller import __version__
from controller.api.client import ApiClient, ServiceUnreachable
from controller.clock import SystemClock
from controller.control.queries import action_document, status_document
from controller.control.service import Waiter, always
from controller.control.verbs import check_among
from controller.model.errors import HomeportError
from controller.model.facts import ENGINE_TROUBLE, ENGINE_TROUBLE_SINCE, LAST_RESYNC
from controller.model.plan import Action, Plan
from controller.model.ports import Clock, Store
from controller.status.lock import StateLock
from controller.status.store import SqliteStore

if TYPE_CHECKING:
    from controller.places import Where


def running(settings: Where) -> ApiClient | None:
    """The service, when one answers. Raises `ServiceUnreachable` when it may not be asked."""
    client = ApiClient(settings.socket)
    return client if client.answers() else None


def service_runs(settings: Where) -> bool:
    """Whether a service holds the state, be it still starting."""
    return StateLock(Path(settings.state)).holder() is not None


STARTING = 5.0
"""Seconds for which a service that holds the state, and does not listen yet, is taken for one that starts."""


def awaited(settings: Where) -> ApiClient | None:
    """The service, for who has something done: one that starts is waited for. Raises as `running`."""
    deadline = time.monotonic() + STARTING
    while (client := running(settings)) is None and service_runs(settings) and time.monotonic() < deadline:
        time.sleep(0.05)
    return client


def folders(apps: Path) -> tuple[Path, ...]:
    """The folders of the tree that may be apps. Raises `HomeportError` when the tree cannot be read."""
    try:
        return tuple(sorted(p for p in Path(apps).iterdir() if p.is_dir() and not p.name.startswith(".")))
    except OSError as problem:
        message = (
            f"apps tree {apps}: {problem.strerror or problem}. --apps or HOMEPORT_APPS names another tree"
        )
        raise HomeportError(message) from problem


def known_names(settings: Where, store: Store) -> set[str]:
    """Names on record, and of folders in the tree as far as it can be read."""
    names = {record.name for record in store.records()}
    try:
        names |= {folder.name for folder in folders(Path(settings.apps))}
    except HomeportError:
        return names
    return names


def check_known(settings: Where, names: Iterable[str]) -> None:
    """Raise `UnknownApp` for the first name that is neither in the tree nor on record."""
    wanted = tuple(names)
    if wanted:
        with looking(settings) as store:
            check_among(wanted, known_names(settings, store))


def documents(actions: Iterable[Action]) -> list[dict[str, Any]]:
    """What we did by ourselves, in the shape in which the service answers."""
    return [dict(action_document(action)) for action in actions]


class OfflineService:
    """A Service whose facts can be changed while nothing runs. It does no work."""

    def __init__(self, settings: Where, store: Store) -> None:
        self._settings = settings
        self.store: Store = store
        self.clock: Clock = SystemClock()

    def names(self) -> list[str]:
        """All apps on disk or on record."""
        return sorted(known_names(self._settings, self.store))

    def sweep(
        self, apps: tuple[str, ...], dry_run: bool, *, lift: bool = False, wanted: Waiter = always
    ) -> tuple[Action, ...]:
        """Not here: a sweep needs the engine."""
        raise ServiceUnreachable("no service runs that could do it. Start it with `homeport run`")

    def plans(self, apps: tuple[str, ...]) -> tuple[tuple[str, Plan], ...]:
        """Not here: a plan needs the tree."""
        raise ServiceUnreachable("no service runs that could do it. Start it with `homeport run`")

    def requeue(self, app: str) -> None:
        """The next start looks at every app anyway."""

    def take_engine(self) -> None:
        """Not here: it has to be looked at."""
        raise ServiceUnreachable("no service runs that could do it. Start it with `homeport run`")

    def purge(self, app: str, volumes: Sequence[str]) -> None:
        """Not here: volumes are the engine's."""
        raise ServiceUnreachable("no service runs that could do it. Start it with `homeport run`")

    def describe(self) -> Mapping[str, object]:
        """The `service` object of the status."""
        return describe(self._settings, self.store, running=False)


@contextmanager
def looking(settings: Where) -> Iterator[Store]:
    """The store, to look at; whether a service runs or not."""
    store = SqliteStore.open_readonly(Path(settings.state))
    try:
        yield store
    finally:
        store.close()


@contextmanager
def offline(settings: Where) -> Iterator[OfflineService]:
    """The store, writable, for one verb. Raises `StateLocked` when a service has it."""
    folder = Path(settings.state)
    lock = StateLock(folder)
    lock.acquire()
    try:
        store = SqliteStore(folder)
        try:
            yield OfflineService(settings, store)
        finally:
            store.close()
    finally:
        lock.release()


def describe(settings: Where, store: Store, *, running: bool) -> dict[str, Any]:
    """The `service` object as far as the store tells it. Whether an engine answers is known only while it runs."""
    from controller.cli import serve

    trouble, lost = store.get(ENGINE_TROUBLE), serve.lost_tree(settings, store)
    return {
        "running": running,
        "version": __version__,
        "engine": {
            "reachable": trouble is None if running else None,
            "version": None,
            "message": trouble if running else None,
            "sinceTime": store.get(ENGINE_TROUBLE_SINCE) if running else None,
        },
        "appsRoot": str(settings.apps),
        "tree": {"readable": not lost, "message": lost or None},
        "lastResync": store.get(LAST_RESYNC),
    }


def service_now(settings: Where, store: Store) -> dict[str, Any]:
    """The `service` object: the service's own words when it answers, else what the store and the lock tell."""
    try:
        client = running(settings)
        if client is not None:
            return dict(client.status()["service"])
    except HomeportError:
        pass  # no right to the socket, or no answer: the store knows enough
    return describe(settings, store, running=service_runs(settings))


def looked_at_now(settings: Where) -> dict[str, Any]:
    """The status document right after apps were reconciled, by the service or by ourselves: nothing of it is old."""
    with looking(settings) as store:
        return status_document(store, describe(settings, store, running=True), SystemClock().now(), None)


def status_recorded(settings: Where, unseen: Iterable[str]) -> dict[str, Any]:
    """The status document of what the store and the lock tell; `unseen` as in `status_document`."""
    with looking(settings) as store:
        service = describe(settings, store, running=service_runs(settings))
        return status_document(store, service, SystemClock().now(), 2 * settings.resync, unseen)
