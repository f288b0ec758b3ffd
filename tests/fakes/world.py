"""A whole controller without threads: the real reconcile, queue and store on a tree and an engine in memory.

Workers are generators that are stepped in an order that a test, or a seed, chooses; a crash drops them all,
with everything that a process remembers. What outlives a crash is what outlives it in life.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from controller.model.desired import Present
from controller.model.effects import Effect, Host, Run, drive
from controller.model.errors import EngineUnreachable, HomeportError, InputInvalid, StateUnusable
from controller.model.observed import Container, Service
from controller.model.plan import Result
from controller.model.record import Event, Record, Target
from controller.reconciler import Memory, Policy, Reconciler
from controller.status.conditions import lint
from controller.status.store import SqliteStore
from controller.status.summary import last_word
from controller.workqueue import ExponentialBackoff, QueueState
from fakes.clock import SteppedClock
from fakes.engine import FakeEngine
from fakes.tree import FakeTree, Folder, manifest

INSTALL, START = b"install", b"start"
HOOKS = {"on_install": "scripts/install.sh", "on_start": "scripts/start.sh"}


class _Queue:
    """The queue as a reconcile sees it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def add(self, app: str) -> None:
        self._world.queue.add(app, self._world.clock.monotonic())

    def forget(self, app: str) -> None:
        self._world.backoffs.forget(app)

    def backoff(self, app: str) -> float:
        return self._world.backoffs.when(app)


class World:
    """The tree, the engine and the store live on; `boot` starts a new process on them."""

    backoff_max = 300.0

    def __init__(self, policy: Policy | None = None) -> None:
        self.clock = SteppedClock()
        self.tree = FakeTree(self.clock)
        self.engine = self.make_engine()
        self.store = SqliteStore.in_memory()
        self.policy = policy or Policy()
        self.events: list[Event] = []
        self.results: dict[str, list[Result]] = {}
        self.installs: list[str] = []
        self.engine.scripts = {INSTALL: self._install, START: lambda _env, _container: b""}
        self.boot()

    def make_engine(self) -> FakeEngine:
        """The engine of this world."""
        return FakeEngine(self.clock)

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- apps -----------------------------------------------------------------------------------------

    def put(
        self, name: str, *services: Service, settled: bool = True, needs: tuple[str, ...] = (), **fields: Any
    ) -> Folder:
        """Drop an app in. `needs`: keys of `.env` without which its files mean nothing."""
        requires = [{"app": app, **HOOKS} for app in fields.pop("requires", ())]
        folder = Folder(
            manifest(name, requires=requires, **{k: v for k, v in fields.items() if k != "example"}), f"v1 {services!r}",
            example=fields.get("example", {}), scripts={"scripts/install.sh": INSTALL, "scripts/start.sh": START},
        )  # fmt: skip
        self.tree.put(folder, settled=settled)
        wanted = services or (Service("main", "h1", "image:1"),)

        def model(app: Present) -> tuple[Service, ...]:
            missing = [key for key in needs if key not in app.env]
            if missing:
                raise InputInvalid("SourceInvalid", f"{missing[0]} is not set")
            return wanted

        self.engine.models[name] = model
        self.queue.add(name, self.clock.monotonic())
        return folder

    def _install(self, env: Any, _container: Container) -> bytes:
        app = env["FURTKA_CONSUMER_APP"]
        self.installs.append(app)
        return f"DB_USER={app}\n".encode()

    # -- the process ------------------------------------------------------------------------------------

    def boot(self) -> None:
        """A new process: nothing is remembered but what the store has; every app that is not at rest is queued."""
        self.queue: QueueState[str] = QueueState()
        self.backoffs: ExponentialBackoff[str] = ExponentialBackoff(1.0, self.backoff_max)
        self.memory = Memory(own_project=self.engine.own)
        self.reconciler = Reconciler(self.policy, self.memory)
        self.host = Host(self.tree, self.engine, self.store, self.clock, _Queue(self), self.events.append)
        self.running: dict[str, tuple[Run[Result], Effect[Any]]] = {}
        self.stuck: dict[str, float] = {}
        """Keys whose worker hangs in an effect, and until when."""
        self.resync()

    def resync(self) -> None:
        """Queue everything but what is at rest; all of it when the engine does not answer."""
        with suppress(EngineUnreachable, StateUnusable):
            drive(self.reconciler.look_at_all(reread=True), self.host)

    def crash(self) -> None:
        """Everything that ran is dropped where it stood."""
        for run, _ in self.running.values():
            run.close()
        self.boot()

    def step(
        self, chance: Random, workers: int = 3, check: Callable[[Effect[Any]], None] | None = None
    ) -> bool:
        """One effect of one worker, or one key handed out; False when there is nothing to do now."""
        self.queue.tick(self.clock.monotonic())
        if len(self.queue) and len(self.running) < workers and (not self.running or chance.random() < 0.3):
            key = self.queue.get(self.clock.monotonic())
            assert key is not None
            assert key not in self.running, "one reconcile for each app at a time"
            run = self.begin(key)
            self._advance(key, run, lambda: run.send(None))
            return True
        movable = sorted(k for k in self.running if self.stuck.get(k, 0.0) <= self.clock.monotonic())
        if not movable:
            return False
        key = chance.choice(movable)
        run, effect = self.running.pop(key)
        if check is not None:
            check(effect)
        try:
            answer = self.perform(key, effect)
        except HomeportError as error:
            failure = error
            self._advance(key, run, lambda: run.throw(failure))
        else:
            self._advance(key, run, lambda: run.send(answer))
        return True

    def begin(self, key: str) -> Run[Result]:
        """A run for a key that was handed out."""
        return self.reconciler.run(key)

    def perform(self, _key: str, effect: Effect[Any]) -> Any:
        """Perform one effect of the run of this key."""
        return effect.perform(self.host)

    def _advance(self, key: str, run: Run[Result], resume: Callable[[], Effect[Any]]) -> None:
        try:
            self.running[key] = (run, resume())
        except StopIteration as stop:
            result: Result = stop.value
            self.results.setdefault(key, []).append(result)
            if result.after is not None:
                self.queue.add_after(key, result.after, self.clock.monotonic())
            self.queue.done(key, self.clock.monotonic())
        except HomeportError:
            # As a worker does: a state that cannot be written is no fault of the app; it is tried again.
            self.queue.add_after(key, self.backoffs.when(key), self.clock.monotonic())
            self.queue.done(key, self.clock.monotonic())

    def rest(self, chance: Random | None = None, check: Callable[[Effect[Any]], None] | None = None) -> None:
        """Work until nothing is to be done at this moment."""
        chance = chance or Random(0)
        while self.step(chance, check=check):
            pass

    def until_quiet(
        self,
        chance: Random | None = None,
        limit: float = 3600.0,
        check: Callable[[Effect[Any]], None] | None = None,
    ) -> None:
        """Work and let time pass until no key waits for its time, at most `limit` seconds."""
        end = self.clock.monotonic() + limit
        self.rest(chance, check)
        while (due := self.next_due()) is not None and due <= end:
            self.clock.advance(max(0.0, due - self.clock.monotonic()))
            self.engine_moves()
            self.rest(chance, check)

    def let_pass(self, seconds: float) -> None:
        """So much time passes, and what is due in it is done."""
        end = self.clock.monotonic() + seconds
        self.until_quiet(limit=seconds)
        self.clock.advance(end - self.clock.monotonic())

    def next_due(self) -> float | None:
        """When the next key, or the next worker that hangs, goes on."""
        due = self.queue.tick(self.clock.monotonic())
        stuck = [until for key, until in self.stuck.items() if key in self.running]
        return min([*stuck, *([due] if due is not None else [])], default=None)

    def engine_moves(self) -> None:
        """What starts becomes healthy; the engine's events queue the apps whose containers changed, no others."""
        before = {name: self._containers(name) for name in self.tree.folders}
        self.engine.settle()
        for name, containers in before.items():
            if self._containers(name) != containers:
                self.queue.add(name, self.clock.monotonic())

    def _containers(self, name: str) -> object:
        return self.engine.observe(name, (f"/apps/{name}",), ()).containers if self.engine.reachable else None

    # -- what is seen ---------------------------------------------------------------------------------

    def record(self, name: str) -> Record:
        record = self.store.record(name)
        assert record is not None, f"{name} is not on record"
        assert lint(record) == [], record.conditions
        return record

    def word(self, name: str) -> str:
        record = self.store.record(name)
        return last_word(self.record(name)) if record else ""

    def message(self, name: str) -> str:
        ready = self.record(name).condition("Ready")
        assert ready is not None
        return f"{ready.reason}: {ready.message}"

    def told(self, name: str) -> list[str]:
        return [event.name for event in self.events if event.app == name]

    def running_services(self, name: str) -> list[str]:
        observed = self.engine.observe(name, (f"/apps/{name}",), ())
        return sorted(c.service for c in observed.containers if c.state == "running")


def good(world: World, *services: Service, name: str = "web", **fields: Any) -> Target:
    """An app that is Ready for long enough that its revision is the last good one."""
    world.put(name, *services, **fields)
    world.rest()
    world.engine_moves()
    world.until_quiet(limit=60)
    target = world.record(name).target
    assert target is not None
    assert target.good
    return target
