"""Workers: one key at a time each, a fault costs a try and not the worker, a stop drops what runs."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from controller.clock import SystemClock
from controller.model import effects as fx
from controller.model.effects import Host, Run, ask
from controller.model.observed import ExecResult
from controller.model.plan import Result
from controller.model.ports import PULL_DEADLINE
from controller.status.store import SqliteStore
from controller.worker import Crew
from controller.workqueue import ExponentialBackoff, WorkQueue
from fakes.build import present, rendered
from fakes.engine import FakeEngine
from fakes.tree import FakeTree


class Shop:
    """A crew at work on whatever a test wants done."""

    def __init__(self) -> None:
        clock = SystemClock()
        self.queue: WorkQueue[str] = WorkQueue(clock, ExponentialBackoff(0.01, 0.02))
        self.store = SqliteStore.in_memory()
        self.host = Host(
            FakeTree(clock), FakeEngine(clock), self.store, clock, self.queue, lambda _event: None
        )
        self.results: queue.SimpleQueue[tuple[str, Result]] = queue.SimpleQueue()
        self.held_then: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()
        """What the workers had each time that a key was given back."""
        self.crew: Crew | None = None

    def open(self, reconcile: Callable[[str], Run[Result]], workers: int = 2) -> None:
        self.queue.start()
        self.crew = Crew(
            workers,
            self.queue,
            reconcile,
            self.host,
            lambda key, result, _seconds: self.results.put((key, result)),
            on_done=lambda: self.held_then.put(self.queue.processing),
        )
        self.crew.start()

    def close(self) -> None:
        assert self.crew is not None
        self.crew.stop()
        self.queue.shut_down()
        self.crew.join()
        self.store.close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.close()


def test_a_result_that_asks_for_it_is_looked_at_again_after_its_time(shop: Shop) -> None:
    def once_more(key: str) -> Run[Result]:
        moment = yield from ask(fx.ReadClock())
        seen.append(moment.monotonic)
        return Result(after=0.05 if len(seen) == 1 else None)

    seen: list[float] = []
    shop.open(once_more)
    shop.queue.add("web")
    shop.results.get(timeout=10)
    shop.results.get(timeout=10)
    assert seen[1] - seen[0] >= 0.05


def test_what_a_worker_is_at_can_be_seen_as_long_as_it_is(shop: Shop) -> None:
    class Slow(fx.RunHook):
        def perform(self, host: Host) -> ExecResult:
            entered.set()
            goes_on.wait(10)
            return ExecResult(0, b"")

    def hook(key: str) -> Run[Result]:
        yield from ask(Slow("c1", b"", {}, 30.0, "on_start"))
        return Result("Ready")

    entered, goes_on = threading.Event(), threading.Event()
    shop.open(hook)
    shop.queue.add("web")
    assert entered.wait(10)
    assert shop.crew is not None
    (busy,) = shop.crew.busy()
    assert (busy.key, busy.effect, busy.longest, busy.seconds < 10) == ("web", "Slow", 30.0, True)
    goes_on.set()
    shop.results.get(timeout=10)
    assert shop.crew.busy() == ()
    assert shop.crew.missing() == 0


def test_how_long_an_effect_may_take_is_what_ends_it() -> None:
    assert fx.Pull(present(), rendered(), ()).longest == 2 * PULL_DEADLINE, (
        "images are pulled, then others built"
    )
    for by_containers in (fx.Restart("web", ()), fx.Stop("web", ()), fx.Remove("web", ())):
        assert by_containers.longest == math.inf, "each container is given the time that it asks for"


def test_that_a_key_was_given_back_is_told_when_it_was(shop: Shop) -> None:
    def look(_key: str) -> Run[Result]:
        yield from ask(fx.ReadClock())
        return Result("Ready")

    shop.open(look)
    shop.queue.add("web")
    assert shop.held_then.get(timeout=10) == ()


@pytest.mark.fault("E07")
def test_a_crash_in_a_run_is_tried_again_and_the_worker_lives_on(shop: Shop) -> None:
    def crash_twice(key: str) -> Run[Result]:
        yield from ask(fx.ReadClock())
        tries.append(key)
        if len(tries) < 3:
            raise KeyError("a fault of ours")
        return Result("Ready")

    tries: list[str] = []
    shop.open(crash_twice, workers=1)
    shop.queue.add("web")
    words = [shop.results.get(timeout=10)[1].word for _ in range(3)]
    assert words == ["Failed", "Failed", "Ready"]


def test_a_stop_drops_a_run_after_the_effect_it_is_in(shop: Shop) -> None:
    entered, released, reached = threading.Event(), threading.Event(), []

    class Slow(fx.ReadClock):
        def perform(self, host: Host) -> fx.Moment:
            entered.set()
            released.wait(10)
            return super().perform(host)

    def two_steps(key: str) -> Run[Result]:
        yield from ask(Slow())
        reached.append(1)
        yield from ask(fx.ReadClock())
        reached.append(2)
        return Result()

    shop.open(two_steps, workers=1)
    shop.queue.add("web")
    assert entered.wait(10)
    assert shop.crew is not None
    shop.crew.stop()
    released.set()
    shop.queue.shut_down()
    shop.crew.join()
    assert reached == [1]


def test_the_runs_that_are_under_way_can_be_outlasted_and_no_others(shop: Shop) -> None:
    class Wait(fx.ReadClock):
        def perform(self, host: Host) -> fx.Moment:
            begun.put(None)
            assert goes_on.acquire(timeout=10)
            return super().perform(host)

    def run(_key: str) -> Run[Result]:
        yield from ask(Wait())
        return Result()

    begun: queue.SimpleQueue[None] = queue.SimpleQueue()
    goes_on = threading.Semaphore(0)
    shop.open(run, workers=2)
    assert shop.crew is not None
    assert shop.crew.outlast(0), "there is none"
    shop.queue.add("first")
    begun.get(timeout=10)
    assert not shop.crew.outlast(0)
    outlasted: queue.SimpleQueue[bool] = queue.SimpleQueue()
    crew = shop.crew
    waiting = threading.Thread(target=lambda: outlasted.put(crew.outlast(10)))
    waiting.start()
    goes_on.release()
    assert outlasted.get(timeout=10)
    waiting.join()
    shop.queue.add("second")
    begun.get(timeout=10)
    goes_on.release()
