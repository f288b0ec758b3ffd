"""The rules that need threads: who wakes, who waits, who is gone afterwards.

Nothing here sleeps to let another thread get on: a test waits for an event, or for a thread to end, and
fails when `PATIENCE` is over. `NOT_YET` is the time for which something is watched not to happen; on a slow
machine it can hide a fault, but not invent one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import pytest

from controller.workqueue import TIMER_THREAD_NAME, ExponentialBackoff, WorkQueue
from rig.waiting import wait_until

PATIENCE = 10.0
NOT_YET = 0.03

T = TypeVar("T")


class RealClock:
    def monotonic(self) -> float:
        return time.monotonic()


class WatchedClock:
    """Tells when the timer has read it; the timer then keeps the lock until it sleeps."""

    def __init__(self) -> None:
        self._read_by_timer = threading.Event()

    def monotonic(self) -> float:
        if threading.current_thread().name == TIMER_THREAD_NAME:
            self._read_by_timer.set()
        return time.monotonic()

    def wait_until_the_timer_sleeps(self, queue: WorkQueue[str]) -> None:
        assert self._read_by_timer.wait(PATIENCE)
        len(queue)  # needs the lock, so the timer is asleep when it is answered


class HalfSpeedClock:
    """Whoever trusts a real time-out comes here in half the time it takes."""

    def monotonic(self) -> float:
        return time.monotonic() / 2


class Call(Generic[T]):
    """A call on a thread of its own."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._results: list[T] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._results.append(self._function())

    def has_returned(self, within: float) -> bool:
        self._thread.join(within)
        return not self._thread.is_alive()

    def result(self) -> T:
        assert self.has_returned(within=PATIENCE), "the call still waits"
        return self._results[0]


def new_queue(**options: object) -> WorkQueue[str]:
    return WorkQueue(RealClock(), ExponentialBackoff(0.01, 0.05), **options)  # type: ignore[arg-type]


def timer_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == TIMER_THREAD_NAME]


@pytest.fixture
def queue() -> Iterator[WorkQueue[str]]:
    queue = new_queue()
    queue.start()
    yield queue
    queue.shut_down()


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"{thread.name} outlived the test"


# -- waking ---------------------------------------------------------------------------------------


def test_q1_an_add_wakes_a_waiting_getter(queue: WorkQueue[str]) -> None:
    getter = Call(queue.get)
    assert not getter.has_returned(within=NOT_YET)
    queue.add("web")
    assert getter.result() == "web"
    queue.done("web")


def test_q2_each_of_several_waiting_getters_gets_a_key_of_its_own(queue: WorkQueue[str]) -> None:
    getters = [Call(queue.get) for _ in range(4)]
    for key in "abcd":
        queue.add(key)
    assert sorted(str(getter.result()) for getter in getters) == list("abcd")
    assert sorted(queue.processing) == list("abcd")


def asleep(condition: threading.Condition) -> list[object]:
    """Who waits for this and was not woken: `notify` takes them off this list at once."""
    return list(condition._waiters)  # type: ignore[attr-defined]


def eight_getters(queue: WorkQueue[str]) -> list[Call[str | None]]:
    getters = [Call(queue.get) for _ in range(8)]
    wait_until(lambda: len(asleep(queue._queued)) == 8, "all getters wait", PATIENCE, interval=0.001)
    return getters


def test_q2_for_a_time_that_changes_nobody_is_woken(queue: WorkQueue[str]) -> None:
    """Eight woken for each of a thousand events a second are a tenth of what the service does."""
    getters = eight_getters(queue)
    before = asleep(queue._queued)
    for _ in range(100):
        queue.add_after("a", 1000)
        queue.add_after("b", 2000)
    assert asleep(queue._queued) == before
    queue.shut_down()
    assert [getter.result() for getter in getters] == [None] * 8


def test_q2_as_many_getters_are_woken_as_keys_came(queue: WorkQueue[str]) -> None:
    getters = eight_getters(queue)
    with queue._lock:  # so that none of those that are woken can have taken its key
        before = asleep(queue._queued)
        for key in ("a", "a", "b"):
            queue._change(queue._state.add, key)
        assert asleep(queue._queued) == before[2:]
    queue.shut_down()
    assert sorted(str(getter.result()) for getter in getters) == ["None"] * 6 + ["a", "b"]


def test_q6_the_timer_is_woken_for_a_nearer_time_and_for_no_other() -> None:
    clock = WatchedClock()
    queue: WorkQueue[str] = WorkQueue(clock, ExponentialBackoff(0.01, 0.05))
    queue.add_after("near", 1000)
    queue.start()
    clock.wait_until_the_timer_sleeps(queue)
    with queue._lock:
        sleeping = asleep(queue._sooner)
        for delay, woken in ((2000, False), (1500, False), (500, True)):
            queue._change(queue._state.add_after, f"in {delay}", delay)
            assert (asleep(queue._sooner) != sleeping) == woken
    queue.shut_down()


def test_q2_shutdown_wakes_every_getter_with_none(queue: WorkQueue[str]) -> None:
    getters = [Call(queue.get) for _ in range(4)]
    queue.shut_down()
    assert [getter.result() for getter in getters] == [None] * 4


def test_q2_a_key_queued_before_shutdown_comes_before_the_none(queue: WorkQueue[str]) -> None:
    queue.add("web")
    queue.shut_down()
    assert queue.get() == "web"
    assert queue.get() is None


def test_q3_done_of_a_dirty_key_wakes_a_waiting_getter(queue: WorkQueue[str]) -> None:
    queue.add("web")
    assert queue.get() == "web"
    queue.add("web")
    getter = Call(queue.get)
    assert not getter.has_returned(within=NOT_YET), "web is handed out and must not be so twice"
    queue.done("web")
    assert getter.result() == "web"


def test_q3_a_done_too_many_is_reported_and_changes_nothing() -> None:
    misused: list[str] = []
    queue = new_queue(on_misuse=misused.append)
    queue.add("web")
    queue.done("web")
    assert misused == ["web"]
    assert (len(queue), queue.depth, queue.processing) == (1, 1, ())


def test_q3_a_misuse_may_be_answered_with_a_call_to_the_queue() -> None:
    """The callback runs without the lock, so nothing it does can hang the queue."""
    queue: WorkQueue[str]
    queue = new_queue(on_misuse=lambda key: Call(lambda: queue.add(f"after {key}")).result())
    queue.done("web")
    assert queue.get() == "after web"


def test_q3_by_default_a_misuse_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        new_queue().done("web")
    assert [(record.levelname, record.__dict__["key"]) for record in caplog.records] == [("ERROR", "web")]


def test_q4_no_key_is_worked_on_twice_at_once_by_eight_workers(queue: WorkQueue[str]) -> None:
    keys = [f"app-{n}" for n in range(5)]
    in_work = {key: threading.Lock() for key in keys}
    runs: Counter[str] = Counter()
    last_seen: dict[str, int] = {}
    asked = dict.fromkeys(keys, 0)
    faults: list[str] = []

    def work() -> None:
        while (key := queue.get()) is not None:
            try:
                if not in_work[key].acquire(blocking=False):
                    faults.append(f"{key} was handed out twice at once")
                    continue
                last_seen[key] = asked[key]
                runs[key] += 1
                if runs[key] % 7 == 0:
                    queue.add_rate_limited(key)
                in_work[key].release()
            finally:
                queue.done(key)

    def ask(key: str) -> None:
        for n in range(1, 301):
            asked[key] = n
            queue.add(key)

    workers = [Call(work) for _ in range(8)]
    for producer in [Call(lambda key=key: ask(key)) for key in keys]:  # type: ignore[misc]
        producer.result()
    assert queue.shut_down_with_drain(PATIENCE)
    for worker in workers:
        worker.result()
    assert faults == []
    assert last_seen == dict.fromkeys(keys, 300), "the run after the last add must see what it added"


def test_q5_len_depth_and_processing_are_for_display(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.add("b")
    queue.add_after("c", 60)
    queue.get()
    queue.add("a")
    assert (len(queue), queue.depth, queue.processing) == (1, 2, ("a",))


# -- delays ---------------------------------------------------------------------------------------


def test_q6_a_delayed_key_comes_by_itself_and_not_early(queue: WorkQueue[str]) -> None:
    asked_at = time.monotonic()
    queue.add_after("web", 0.02)
    assert Call(queue.get).result() == "web"
    assert time.monotonic() - asked_at >= 0.02


@pytest.mark.parametrize(
    "far", [3600, 2 * threading.TIMEOUT_MAX], ids=["an hour", "more than a lock can wait"]
)
def test_q6_a_nearer_due_time_ends_the_sleep_for_a_farther_one(far: float) -> None:
    clock = WatchedClock()
    queue: WorkQueue[str] = WorkQueue(clock, ExponentialBackoff(1, 60))
    queue.add_after("far", far)
    queue.start()
    clock.wait_until_the_timer_sleeps(queue)
    queue.add_after("near", 0.01)
    assert Call(queue.get).result() == "near"
    queue.shut_down()


def test_q6_a_timer_that_wakes_early_asks_the_clock_again() -> None:
    clock = HalfSpeedClock()
    queue: WorkQueue[str] = WorkQueue(clock, ExponentialBackoff(1, 60))
    queue.start()
    due = clock.monotonic() + 0.02
    queue.add_after("web", 0.02)
    assert Call(queue.get).result() == "web"
    assert clock.monotonic() >= due
    queue.shut_down()


def test_q6_before_start_delayed_keys_wait_and_after_it_they_come() -> None:
    queue = new_queue()
    queue.add_after("web", 0.001)
    getter = Call(queue.get)
    assert not getter.has_returned(within=NOT_YET)
    queue.start()
    assert getter.result() == "web"
    queue.shut_down()


def test_q7_forget_does_not_cancel_a_waiting_entry(queue: WorkQueue[str]) -> None:
    queue.add_rate_limited("web")
    queue.forget("web")
    assert Call(queue.get).result() == "web"


def test_q8_add_rate_limited_records_a_failure_and_comes_back_later(queue: WorkQueue[str]) -> None:
    for failures in [1, 2, 3]:
        queue.add_rate_limited("web")
        assert queue.num_requeues("web") == failures
        assert queue.num_requeues("db") == 0
        assert Call(queue.get).result() == "web"
        queue.done("web")


def test_q9_forget_clears_the_failures_and_done_is_still_owed(queue: WorkQueue[str]) -> None:
    queue.add_rate_limited("web")
    assert Call(queue.get).result() == "web"
    queue.forget("web")
    assert queue.num_requeues("web") == 0
    assert queue.processing == ("web",)
    queue.done("web")
    assert queue.processing == ()


# -- shutdown -------------------------------------------------------------------------------------


def test_q11_shut_down_does_not_wait_for_work_in_flight(queue: WorkQueue[str]) -> None:
    queue.add("web")
    queue.get()
    Call(queue.shut_down).result()
    Call(queue.shut_down).result()
    assert queue.processing == ("web",)


@pytest.mark.parametrize("stop", [WorkQueue.shut_down, WorkQueue.shut_down_with_drain])
def test_q11_q12_either_shutdown_has_joined_the_timer_when_it_returns(
    stop: Callable[[WorkQueue[str]], object],
) -> None:
    queue = new_queue()
    queue.start()
    queue.add_after("far", 3600)
    assert len(timer_threads()) == 1
    stop(queue)
    assert timer_threads() == []


@pytest.mark.parametrize("stop", [WorkQueue.shut_down, WorkQueue.shut_down_with_drain])
def test_q11_q12_a_queue_never_started_can_be_shut_down_and_then_starts_no_thread(
    stop: Callable[[WorkQueue[str]], object],
) -> None:
    queue = new_queue()
    stop(queue)
    queue.start()
    assert timer_threads() == []


def test_a_queue_is_started_once(queue: WorkQueue[str]) -> None:
    with pytest.raises(RuntimeError, match="started before"):
        queue.start()
    assert len(timer_threads()) == 1


def test_q12_drain_waits_for_the_queued_as_well_as_the_handed_out(queue: WorkQueue[str]) -> None:
    queue.add("web")
    queue.add("db")
    queue.get()
    drainer = Call(queue.shut_down_with_drain)
    queue.done("web")
    assert not drainer.has_returned(within=NOT_YET), "db is still queued"
    queue.get()
    assert not drainer.has_returned(within=NOT_YET), "db is still handed out"
    queue.done("db")
    assert drainer.result() is True


def test_q12_a_key_dirty_while_processing_is_run_again_before_the_drain_ends(queue: WorkQueue[str]) -> None:
    queue.add("web")
    queue.get()
    queue.add("web")
    drainer = Call(queue.shut_down_with_drain)
    wait_until(lambda: timer_threads() == [], "the drain has begun", PATIENCE, interval=0.001)
    queue.done("web")
    assert queue.get() == "web"
    assert not drainer.has_returned(within=NOT_YET)
    queue.done("web")
    assert drainer.result() is True
    assert queue.get() is None


def test_q12_every_drainer_is_woken_when_the_work_is_done(queue: WorkQueue[str]) -> None:
    queue.add("web")
    queue.get()
    drainers = [Call(queue.shut_down_with_drain) for _ in range(3)]
    assert not any(drainer.has_returned(within=NOT_YET) for drainer in drainers)
    queue.done("web")
    assert [drainer.result() for drainer in drainers] == [True] * 3


def test_q12_a_later_shut_down_makes_every_drain_return_at_once(queue: WorkQueue[str]) -> None:
    queue.add("web")
    queue.get()
    drainers = [Call(queue.shut_down_with_drain) for _ in range(2)]
    assert not any(drainer.has_returned(within=NOT_YET) for drainer in drainers)
    queue.shut_down()
    assert [drainer.result() for drainer in drainers] == [False] * 2


def test_q12_an_earlier_shut_down_does_not_end_a_later_drain(queue: WorkQueue[str]) -> None:
    queue.add("web")
    queue.get()
    queue.shut_down()
    drainer = Call(queue.shut_down_with_drain)
    assert not drainer.has_returned(within=NOT_YET)
    queue.done("web")
    assert drainer.result() is True


def test_q12_a_drain_with_a_timeout_says_that_work_is_left(queue: WorkQueue[str]) -> None:
    queue.add("web")
    queue.get()
    assert queue.shut_down_with_drain(timeout=0.01) is False
    queue.done("web")
    assert queue.shut_down_with_drain(timeout=0.01) is True


# -- metrics --------------------------------------------------------------------------------------


class RunningReports:
    """Listens to the beat of the running work only."""

    def __init__(self) -> None:
        self.reported = threading.Event()
        self.threads: set[str] = set()

    def added(self, depth: int) -> None: ...

    def got(self, depth: int, queued_seconds: float) -> None: ...

    def finished(self, worked_seconds: float) -> None: ...

    def retried(self) -> None: ...

    def running(self, unfinished_seconds: float, longest_seconds: float) -> None:
        self.threads.add(threading.current_thread().name)
        self.reported.set()


def test_q14_running_work_is_reported_by_the_timer_and_stops_with_the_queue() -> None:
    metrics = RunningReports()
    clock = WatchedClock()
    queue: WorkQueue[str] = WorkQueue(clock, ExponentialBackoff(1, 60), metrics=metrics)
    queue.add("web")
    queue.start()
    clock.wait_until_the_timer_sleeps(queue)
    queue.get()  # alone has to start the beat
    assert metrics.reported.wait(PATIENCE)
    assert metrics.threads == {TIMER_THREAD_NAME}
    queue.shut_down()
    metrics.reported.clear()
    assert not metrics.reported.wait(NOT_YET), "reported after shutdown"
    assert timer_threads() == []
