"""Event sources live on: whatever breaks, they connect again, look again, and say so once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from controller.clock import SystemClock
from controller.model.errors import EngineUnreachable
from controller.model.observed import EngineEvent
from controller.sources import EngineEvents, Task, Ticker
from fakes.engine import FakeEngine


class Heard:
    """What a source called, in order."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[str] = queue.SimpleQueue()

    def events(self, engine: FakeEngine) -> EngineEvents:
        return EngineEvents(
            engine,
            lambda app: self.calls.put(f"event {app}"),
            lambda: self.calls.put("connected"),
            lambda: self.calls.put("lost"),
            lambda name, _message, _level: self.calls.put(name),
            engine.close_events,
        )

    def next(self) -> str:
        return self.calls.get(timeout=10)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def test_a_connection_is_followed_by_a_look_at_everything(heard: Heard) -> None:
    source = heard.events(FakeEngine())
    source.start(timeout=10)
    assert heard.next() == "connected"
    source.stop()


@pytest.mark.fault("D05")
def test_a_break_is_said_once_and_so_is_the_return(heard: Heard) -> None:
    engine = FakeEngine()
    source = heard.events(engine)
    source.start(timeout=10)
    assert heard.next() == "connected"
    engine.down()
    assert [heard.next(), heard.next()] == ["lost", "engine.lost"]
    engine.up()
    assert [heard.next(), heard.next()] == ["engine.back", "connected"]
    source.stop()
    assert heard.calls.empty()


def test_start_returns_when_there_is_no_engine(heard: Heard) -> None:
    engine = FakeEngine()
    engine.down()
    source = heard.events(engine)
    source.start(timeout=10)
    assert [heard.next(), heard.next()] == ["lost", "engine.lost"]
    source.stop()


@pytest.mark.fault("E07")
def test_a_fault_of_ours_costs_one_connection_and_not_the_thread(heard: Heard) -> None:
    class Faulty(FakeEngine):
        faults = 1

        def events(self) -> Iterator[EngineEvent]:
            if self.faults:
                self.faults -= 1
                raise KeyError("a fault")
            return super().events()

    source = heard.events(Faulty())
    source.start(timeout=10)
    assert heard.next() == "connected"
    source.stop()


def test_an_engine_that_answers_no_info_is_lost(heard: Heard) -> None:
    engine = FakeEngine()
    engine.fail("info", "", EngineUnreachable("gone"))
    engine.down()
    source = heard.events(engine)
    source.start(timeout=10)
    assert heard.next() == "lost"
    source.stop()


def test_an_engine_that_lives_and_does_not_answer_is_lost_and_back_when_it_answers(heard: Heard) -> None:
    class HalfDead(FakeEngine):
        """As dockerd is while its containerd hangs: it has events, too."""

        def __init__(self) -> None:
            super().__init__()
            self.asked: queue.SimpleQueue[None] = queue.SimpleQueue()
            self.hangs = True

        def version(self) -> str:
            self.asked.put(None)
            if self.hangs:
                raise EngineUnreachable("asking for its version timed out")
            return super().version()

    engine = HalfDead()
    source = EngineEvents(
        engine,
        lambda _app: None,
        lambda: heard.calls.put(f"connected to {engine.version()}"),
        lambda: heard.calls.put("lost"),
        lambda name, _message, _level: heard.calls.put(name),
        engine.close_events,
    )
    source.start(timeout=10)
    assert [heard.next(), heard.next()] == ["lost", "engine.lost"]
    for _ in range(4):
        engine.asked.get(timeout=10)
    assert heard.calls.empty(), "it is said once, and that it is back not before it answers"
    engine.hangs = False
    assert [heard.next(), heard.next()] == ["engine.back", "connected to 0.0"]
    source.stop()


def test_a_ticker_calls_its_tasks_again_and_again_and_at_once_when_poked() -> None:
    calls: queue.SimpleQueue[str] = queue.SimpleQueue()
    often, seldom = Task(0.01, lambda: calls.put("often")), Task(1000, lambda: calls.put("seldom"))
    ticker = Ticker("test-ticker", [often, seldom], SystemClock().monotonic)
    ticker.start()
    assert [calls.get(timeout=10) for _ in range(3)] == ["often"] * 3
    ticker.poke()
    while calls.get(timeout=10) != "seldom":
        pass
    ticker.stop()


@pytest.mark.fault("E07")
def test_a_task_that_fails_is_called_again() -> None:
    called = threading.Semaphore(0)

    def fail() -> None:
        called.release()
        raise OSError("disk full")

    ticker = Ticker("test-ticker", [Task(0.01, fail)], SystemClock().monotonic)
    ticker.start()
    for _ in range(3):
        assert called.acquire(timeout=10)
    ticker.stop()
