"""Dry run: what a sweep would do, found out without a service and without touching anything.

With a service it is the manager that is asked, which knows more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from controller.clock import SystemClock
from controller.engine.docker_engine import DockerEngine
from controller.model.effects import Host, drive
from controller.model.errors import EngineUnreachable
from controller.model.observed import EngineInfo, Observed
from controller.model.plan import Plan
from controller.model.ports import Engine
from controller.parts import engine_of, in_order, plan_lost, policy_of, tree_of
from controller.reconciler import Memory, Reconciler
from controller.status.store import SqliteStore

if TYPE_CHECKING:
    from controller.settings import Settings


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
        names = apps or in_order(tree, store, reread=True)
        found = [(name, Plan(drive(reconciler.run(name, dry_run=True), host).actions)) for name in names]
        return [*found, *([] if apps else plan_lost(tree))]
    finally:
        engine.close()
        store.close()


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


def has_containers(settings: Settings, app: str) -> bool:
    """Whether there are any of the app, running or not, whatever folder they are from. Raises `EngineUnreachable`."""
    engine = engine_of(settings, SystemClock())
    try:
        return app in engine.survey(volumes=False).projects()
    finally:
        engine.close()
