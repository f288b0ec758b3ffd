"""What the tests of commands share: a tree, a state with two apps, a service that answers on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from controller.api.server import ApiServer
from controller.cli.main import cli
from controller.clock import SystemClock
from controller.control.errors import Refused
from controller.control.health import Check, Health
from controller.control.service import Waiter, always
from controller.model.plan import Action, Plan
from controller.model.record import Condition, Event
from controller.status.lock import StateLock
from controller.status.store import SqliteStore
from fakes.build import at, record

Homeport = Callable[..., Result]


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    folder = tmp_path / "apps"
    (folder / "web").mkdir(parents=True)
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def homeport(apps: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> Homeport:
    monkeypatch.setenv("HOMEPORT_APPS", str(apps))
    monkeypatch.setenv("HOMEPORT_STATE", str(state))
    return lambda *arguments, stdin="": CliRunner().invoke(
        cli, list(arguments), prog_name="homeport", input=stdin
    )


@pytest.fixture
def recorded(state: Path) -> Path:
    """A state with one app that is Ready and one whose removal is held."""
    now = SystemClock().now()
    ready = Condition("Ready", "True", "ReconciliationSucceeded", "all\nis well", now, 1)
    held = replace(ready, status="False", reason="RemovalHeld", message="too many at once")
    store = SqliteStore(state)
    store.save(record("web", conditions=(ready,), observed_generation=1, last_reconcile=now))
    store.save(record("old", conditions=(held,), observed_generation=0, last_reconcile=now))
    store.tell(Event(at(0), "web", "app.discovered", "info", "found"))
    store.tell(Event(now, "web", "app.ready", "info", "everything runs", {"generation": 1}))
    store.close()
    return state


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever engine the other tests have: none for this one."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/none.sock")


class Answering:
    """A Service on the recorded state."""

    def __init__(self, state: Path) -> None:
        self.store = SqliteStore(state)
        self.clock = SystemClock()
        self.requeued: list[str] = []
        self.purged: list[str] = []
        self.alive = Check("workers")

    def names(self) -> list[str]:
        return ["old", "web"]

    def sweep(
        self, apps: tuple[str, ...], dry_run: bool, *, lift: bool = False, wanted: Waiter = always
    ) -> tuple[Action, ...]:
        return (Action("wait", apps[0] if apps else "all", "by the service"),)

    def plans(self, apps: tuple[str, ...]) -> tuple[tuple[str, Plan], ...]:
        return (("web", Plan((Action("restart", "web", cause="by the service"),))),)

    def requeue(self, app: str) -> None:
        self.requeued.append(app)

    def purge(self, app: str, volumes: Sequence[str]) -> None:
        self.purged += volumes

    def take_engine(self) -> None:
        raise Refused("it is not new")

    def health(self) -> Health:
        return Health((self.alive,), (Check("engine", "it does not answer", "`homeport doctor`"),))

    def metrics(self) -> bytes:
        raise AssertionError("no command asks for them")

    def stale_after(self) -> float:
        return 600.0

    def describe(self) -> dict[str, Any]:
        return {"running": True, "engine": {"reachable": False, "version": None}, "lastResync": None}


@pytest.fixture
def unserved(recorded: Path) -> Iterator[Answering]:
    """A service that nobody can ask."""
    answering = Answering(recorded)
    yield answering
    answering.store.close()


@pytest.fixture
def service(recorded: Path, unserved: Answering) -> Iterator[Answering]:
    server = ApiServer(unserved, recorded / "homeport.sock")
    with StateLock(recorded):
        server.start()
        yield unserved
        server.stop()
