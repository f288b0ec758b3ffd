"""What the tests of the API share: a service that only remembers what it was asked, and a server for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from controller.api.server import ApiServer
from controller.clock import SystemClock
from controller.control.errors import Refused
from controller.control.health import Facts, Health, judge
from controller.control.service import Waiter, always
from controller.model.plan import Action, Plan
from controller.model.record import Condition
from controller.status.store import SqliteStore
from fakes.build import NOON, record

UP = Action("compose_up", "web", "1 service", "service web: config hash differs", "web")
FINE = Facts(
    started=True, stopping=False, threads={"scanner": True, "API": True}, workers=2, workers_missing=0, steps=(),
    scan_seconds=0.0, engine="", tree="", state="",
)  # fmt: skip


class Asked:
    """A Service with one app whose removal is held; `trouble` is raised by a sweep, `gate` holds it up."""

    def __init__(self) -> None:
        self.store = SqliteStore.in_memory()
        self.store.save(record("web", conditions=(Condition("Ready", "False", "RemovalHeld", "m", NOON, 1),)))
        self.clock = SystemClock()
        self.trouble: BaseException | None = None
        self.gate: threading.Event | None = None
        self.entered = threading.Event()
        self.unwanted = threading.Event()
        """Set when a sweep finds that nobody waits for it."""
        self.asked: list[tuple[tuple[str, ...], bool]] = []
        self.requeued: list[str] = []
        self.purged: list[str] = []
        self.facts = FINE

    def names(self) -> list[str]:
        return ["web"]

    def sweep(
        self, apps: tuple[str, ...], dry_run: bool, *, lift: bool = False, wanted: Waiter = always
    ) -> tuple[Action, ...]:
        self.asked.append((apps, dry_run))
        self.entered.set()
        deadline = self.clock.monotonic() + 30
        while self.gate is not None and not self.gate.wait(0.01) and self.clock.monotonic() < deadline:
            if not wanted():
                self.unwanted.set()
                break
        if self.trouble is not None:
            raise self.trouble
        return (UP,)

    def plans(self, apps: tuple[str, ...]) -> tuple[tuple[str, Plan], ...]:
        return (("web", Plan((UP,))),)

    def requeue(self, app: str) -> None:
        self.requeued.append(app)

    def purge(self, app: str, volumes: Sequence[str]) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.purged += volumes

    def describe(self) -> dict[str, object]:
        return {"running": True}

    def take_engine(self) -> None:
        raise Refused("it is not new")

    def health(self) -> Health:
        return judge(self.facts)

    def metrics(self) -> bytes:
        return b"homeport_healthy 1.0\n"

    def stale_after(self) -> float:
        return 600.0


@contextmanager
def served(service: Asked, path: Path, tcp: tuple[str, int] | None = None) -> Iterator[ApiServer]:
    """The service behind a socket for the length of the block. No thread of it is left afterwards."""
    server = ApiServer(service, path, tcp)
    server.start()
    try:
        yield server
    finally:
        server.stop()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("homeport-api")]
    assert not path.exists()
