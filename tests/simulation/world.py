"""A world that can go wrong in every way: an engine that fails, hangs, lies and is cut off in the middle of a call,
a state that cannot be written, a process that is killed after or within any call. What is forbidden is in `watch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from controller.complaints import Complaints
from controller.known_engine import KnownEngine
from controller.model.effects import Effect, Host, Run
from controller.model.errors import HomeportError, StateUnusable
from controller.model.observed import Container, ExecResult, Observed
from controller.model.plan import Result
from controller.model.record import Event
from controller.reconciler import Policy
from controller.status.store import SqliteStore
from fakes.clock import SteppedClock
from fakes.engine import FakeEngine
from fakes.world import World
from simulation.watch import Forbidden, Watch, is_served_by

POLICY = Policy(settle=0.1, settle_new=0.2, removal_settle=1.0, stable_after=2.0, health_timeout=20.0)


class Killed(BaseException):
    """`kill -9`, in the middle of whatever was going on."""


class LyingEngine(FakeEngine):
    """An engine whose next answers may be old, and that can be left in the middle of a call."""

    def __init__(self, clock: SteppedClock) -> None:
        super().__init__(clock)
        self.stale: set[str] = set()
        """Apps of which the next list is the one that was seen last."""
        self.cut_after: int | None = None
        """The process is killed after so many more changes to containers."""
        self.in_call = False
        self.diskless = False
        """An empty disk stands in for the one on record."""
        self._last: dict[str, Observed] = {}

    def observe(self, app: str, folders: Sequence[str], volumes: Sequence[str]) -> Observed:
        truth = super().observe(app, folders, volumes)
        answer = self._last.get(app, truth) if app in self.stale else truth
        self.stale.discard(app)
        self._last[app] = truth
        return answer

    _DISK = ("volumes", "kept_images", "_apps", "_folders", "_services", "_volumes", "_networks")
    """What is gone when the engine's disk is."""

    def take_disk(self) -> dict[str, Any]:
        """The engine without its disk; answers with the disk."""
        disk = {name: getattr(self, name) for name in self._DISK}
        self.put_disk({name: {} for name in self._DISK})
        self.diskless = True
        return disk

    def _mutate(self, verb: str, app: str, services: Sequence[str]) -> None:
        self._on_its_disk(f"{verb} {app}")
        super()._mutate(verb, app, services)

    def ensure_volume(self, name: str, app: str) -> bool:
        self._on_its_disk(f"volume {name}")
        return super().ensure_volume(name, app)

    def exec(self, container: str, script: bytes, env: Mapping[str, str], timeout: float) -> ExecResult:
        self._on_its_disk("a hook")
        return super().exec(container, script, env, timeout)

    def _on_its_disk(self, what: str) -> None:
        if self.diskless and self.reachable:
            raise Forbidden(f"{what}, on an engine that has nothing of ours")

    def put_disk(self, disk: dict[str, Any]) -> None:
        """Another disk. No old list is given of what was on the one before."""
        for name, content in disk.items():
            setattr(self, name, content)
        self._last.clear()
        self.stale.clear()
        self.diskless = False

    def remove_volume(self, name: str) -> None:
        raise Forbidden(f"I4: volume {name} is deleted")

    def settle(self) -> None:
        """As ever; and what crashes does so even if the process was killed while it was being started."""
        for app, containers in self._apps.items():
            for container in list(containers.values()):
                if container.state == "running" and self._how(app, container) == "crash":
                    self._end(app, container, 3)
        super().settle()

    # ---- what is there ----

    def of(self, app: str) -> tuple[Container, ...]:
        """All containers of projects of that name."""
        return tuple(self._apps.get(app, {}).values())

    def ours(self, app: str) -> tuple[Container, ...]:
        """Those that were started from the app's folder."""
        return tuple(c for c in self.of(app) if self._folders[c.id] == f"/apps/{app}")

    def has(self, app: str, service: str) -> bool:
        """Whether the first container of that service is there, under its own name."""
        return any(c.name == f"{app}-{service}-1" for c in self.ours(app))

    def is_running(self, container: str) -> bool:
        return any(
            c.id == container and c.state == "running" for cs in self._apps.values() for c in cs.values()
        )

    def shape(self, app: str) -> list[tuple[object, ...]]:
        """What of an app must be the same whatever happened before. A pinned image makes another hash; what was
        created and never started goes with the next start."""
        return sorted(
            # Which number it has does not matter: another may have been taken away by hand.
            (c.name.rpartition("-")[0], c.config_hash.partition("+")[0], c.state, c.health)
            for c in self.ours(app)
            if c.state != "created"
        )

    def recover(self) -> None:
        """What was sick for no reason of its own is healthy again."""
        for app, containers in self._apps.items():
            for container in list(containers.values()):
                if (
                    container.health == "unhealthy"
                    and container.state == "running"
                    and self._how(app, container) == "run"
                ):
                    self._put(app, replace(container, health="healthy"), "health_status: healthy")

    def clear_failures(self) -> None:
        """No call fails any more."""
        self._failures.clear()

    def know_as(self, other: LyingEngine) -> None:
        """The same meaning of files and images as there."""
        self.models = dict(other.models)
        self.hash_behaviour = other.hash_behaviour
        self._tags, self._images = dict(other._tags), set(other._images)

    # ---- how ----

    def _put(self, app: str, container: Container, action: str) -> None:
        super()._put(app, container, action)
        self._count_down()

    def _discard(self, app: str, container: Container) -> None:
        super()._discard(app, container)
        self._count_down()

    def _count_down(self) -> None:
        if self.cut_after is None or not self.in_call:
            return
        self.cut_after -= 1
        if self.cut_after <= 0:
            self.cut_after = None
            raise Killed


class FlakyStore:
    """The real store, of which the next writes fail as on a full disk."""

    _WRITES = frozenset({"save", "tell", "put", "forget", "forget_fact", "keep_model", "keep_file"})

    def __init__(self, real: SqliteStore) -> None:
        self._real = real
        self.failures = 0

    def __getattr__(self, name: str) -> Any:
        if name in self._WRITES and self.failures:
            self.failures -= 1
            raise StateUnusable("database or disk is full")
        return getattr(self._real, name)


class SimulatedWorld(World):
    """A world whose every effect is watched."""

    backoff_max = 30.0

    def __init__(self) -> None:
        self.flaky: FlakyStore | None = None
        self.watch: Watch | None = None
        self.crashes = 0
        self.disk: dict[str, Any] | None = None
        """The disk of the engine on record while it is away and an empty one stands in for it."""
        super().__init__(POLICY)

    def make_engine(self) -> LyingEngine:
        self.lying = LyingEngine(self.clock)
        return self.lying

    def is_available(self, app: str) -> bool:
        """Whether all that runs of it is healthy, by the world's own account."""
        containers = [c for c in self.lying.ours(app) if c.state != "created"]
        return bool(containers) and all((c.state, c.health) == ("running", "healthy") for c in containers)

    def serves(self, app: str) -> bool:
        """Whether what its consumers use of it is healthy; it may be on its way to another version beside."""
        return is_served_by(self.lying.ours(app))

    def running_services(self, name: str) -> list[str]:
        return sorted(c.service for c in self.lying.ours(name) if c.state == "running")

    def _containers(self, name: str) -> object:
        return self.lying.ours(name) if self.engine.reachable else None

    def boot(self) -> None:
        self.flaky = FlakyStore(self.store)
        complaints = Complaints(self._tell)
        self.known = KnownEngine(self.engine, self.flaky, self.clock, complaints, self._tell)  # type: ignore[arg-type]
        self.known.expect()
        super().boot()
        old = self.host
        self.host = Host(old.tree, self.known.guarded(), self.flaky, old.clock, old.queue, old.listen)  # type: ignore[arg-type]
        self.connect()
        if self.watch is not None:
            self.watch.boot()

    def _tell(self, name: str, message: str, level: str = "info", /) -> None:
        self.events.append(Event(self.clock.now(), "", name, level, message))

    def connect(self) -> None:
        """The stream of events was opened anew: whose engine it is, is found out, and everything is queued."""
        self.connecting = not self.engine.reachable
        if self.connecting:
            self.known.lose()
            return
        try:
            self.known.recognize()
        except HomeportError:
            self.connecting = True  # tried again with the next thing that the engine does
            return
        super().resync()

    def resync(self) -> None:
        with suppress(HomeportError):
            self.known.recognize()
        super().resync()

    def engine_moves(self) -> None:
        if self.connecting and self.engine.reachable:
            self.connect()
        self.known.remember()  # as each scan does
        super().engine_moves()

    def crash(self) -> None:
        self.crashes += 1
        self.lying.cut_after = None
        super().crash()

    def begin(self, key: str) -> Run[Result]:
        if self.watch is not None:
            self.watch.begin(key)
        return super().begin(key)

    def perform(self, key: str, effect: Effect[Any]) -> Any:
        if self.watch is not None:
            self.watch.before(key, effect)
        self.lying.in_call = True
        try:
            answer = super().perform(key, effect)
        finally:
            self.lying.in_call = False
        if self.watch is not None:
            self.watch.after(key, effect, answer)
        return answer
