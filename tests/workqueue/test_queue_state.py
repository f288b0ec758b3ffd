"""The rules of the queue, each on a stepped clock and without a thread.

The numbers Q1 to Q14 are the clauses of the contract. The rules that need threads are in
`test_queue_threads.py`, those of the back-off in `test_queue_limiter.py`.
"""

from __future__ import annotations

import gc
import random
import weakref
from collections import Counter

import pytest

from controller.workqueue import QueueState


class RecordingMetrics:
    """Keeps the metric table as a scrape would show it, and each duration in the order observed."""

    def __init__(self) -> None:
        self.depth = 0
        self.adds_total = 0
        self.retries_total = 0
        self.queue_durations: list[float] = []
        self.work_durations: list[float] = []
        self.running_reports: list[tuple[float, float]] = []

    def added(self, depth: int) -> None:
        self.adds_total += 1
        self.depth = depth

    def got(self, depth: int, queued_seconds: float) -> None:
        self.depth = depth
        self.queue_durations.append(queued_seconds)

    def finished(self, worked_seconds: float) -> None:
        self.work_durations.append(worked_seconds)

    def retried(self) -> None:
        self.retries_total += 1

    def running(self, unfinished_seconds: float, longest_seconds: float) -> None:
        self.running_reports.append((unfinished_seconds, longest_seconds))


class Unordered:
    """A key that hashes but does not compare, and can be watched by a weak reference."""


@pytest.fixture
def state() -> QueueState[str]:
    return QueueState()


def drain(state: QueueState[str], now: float) -> list[str]:
    """Get and finish whatever is queued; the keys in the order handed out."""
    keys = []
    while (key := state.get(now)) is not None:
        keys.append(key)
        assert state.done(key, now)
    return keys


# -- Q1: add --------------------------------------------------------------------------------------


def test_q1_add_marks_dirty_and_appends(state: QueueState[str]) -> None:
    state.add("web", 0)
    assert (state.queued, state.dirty) == (("web",), {"web"})


def test_q1_add_while_processing_marks_dirty_only(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.get(1)
    state.add("web", 2)
    assert (state.queued, state.dirty, state.processing) == ((), {"web"}, ("web",))
    assert state.get(3) is None


def test_q1_add_of_a_dirty_key_changes_nothing(state: QueueState[str]) -> None:
    for key in ["web", "db", "web", "web"]:
        state.add(key, 0)
    assert state.queued == ("web", "db")


def test_q1_add_after_shutdown_is_dropped_silently(state: QueueState[str]) -> None:
    state.shut_down()
    state.add("web", 0)
    assert (state.queued, state.dirty) == ((), frozenset())


# -- Q2: get --------------------------------------------------------------------------------------


def test_q2_get_moves_the_head_from_dirty_to_processing(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.add("db", 0)
    assert state.get(1) == "web"
    assert (state.queued, state.dirty, state.processing) == (("db",), {"db"}, ("web",))


def test_q2_get_of_an_empty_queue_is_none(state: QueueState[str]) -> None:
    assert state.get(0) is None


def test_q2_keys_queued_before_shutdown_are_still_handed_out(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.shut_down()
    assert state.get(1) == "web"
    assert state.get(1) is None


# -- Q3: done -------------------------------------------------------------------------------------


def test_q3_done_of_a_clean_key_leaves_nothing(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.get(1)
    assert state.done("web", 2)
    assert state.idle


def test_q3_done_of_a_dirty_key_appends_it_at_the_tail(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.get(1)
    state.add("web", 2)
    state.add("db", 3)
    assert state.done("web", 4)
    assert state.queued == ("db", "web")


def test_q3_done_of_a_key_not_handed_out_changes_nothing(state: QueueState[str]) -> None:
    """kubernetes/kubernetes#79934: upstream queues the key a second time."""
    state.add("web", 0)
    assert not state.done("web", 1)
    assert not state.done("never seen", 1)
    assert (state.queued, state.processing) == (("web",), ())


def test_q3_a_second_done_of_a_dirty_key_does_not_queue_it_twice(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.get(1)
    state.add("web", 2)
    assert state.done("web", 3)
    assert not state.done("web", 3)
    assert state.queued == ("web",)


# -- Q4: what follows -----------------------------------------------------------------------------


def test_q4_many_adds_before_a_run_give_one_run(state: QueueState[str]) -> None:
    for now in range(100):
        state.add("web", now)
    assert drain(state, 100) == ["web"]


def test_q4_many_adds_during_a_run_give_exactly_one_more(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.get(0)
    for now in range(100):
        state.add("web", now)
    state.done("web", 100)
    assert drain(state, 101) == ["web"]


def test_q4_first_come_first_served(state: QueueState[str]) -> None:
    for key in ["c", "a", "b", "a"]:
        state.add(key, 0)
    assert drain(state, 1) == ["c", "a", "b"]


# -- Q5: len --------------------------------------------------------------------------------------


def test_q5_len_counts_queued_keys_only(state: QueueState[str]) -> None:
    state.add("processing", 0)
    state.add("dirty while processing", 0)
    state.get(1)
    state.get(1)
    state.add("dirty while processing", 2)
    state.add_after("delayed", 60, 2)
    assert len(state) == 0
    state.add("queued", 3)
    assert len(state) == 1
    assert state.depth == 2


# -- Q6: add_after --------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0, -1, -0.0])
def test_q6_a_delay_that_is_not_positive_is_an_add_now(state: QueueState[str], delay: float) -> None:
    state.add_after("web", delay, 10)
    assert state.queued == ("web",)
    assert state.next_due is None


def test_q6_a_delayed_key_is_added_when_due_and_not_before(state: QueueState[str]) -> None:
    state.add_after("web", 5, now=10)
    assert state.tick(14.999) == 15
    assert state.queued == ()
    assert state.tick(15) is None
    assert state.queued == ("web",)


@pytest.mark.parametrize("delays", [(5, 30), (30, 5), (30, 5, 7), (5, 5)])
def test_q6_of_two_due_times_the_earlier_stands(state: QueueState[str], delays: tuple[int, ...]) -> None:
    for delay in delays:
        state.add_after("web", delay, 0)
    assert state.waiting == {"web": 5}
    assert state.tick(5) is None
    assert drain(state, 5) == ["web"]
    state.tick(1000)
    assert drain(state, 1000) == [], "the replaced entry fired"


def test_q6_several_due_keys_are_added_in_due_order(state: QueueState[str]) -> None:
    for key, delay in [("c", 3), ("a", 1), ("later", 9), ("b", 2)]:
        state.add_after(key, delay, 0)
    assert state.tick(5) == 9
    assert state.queued == ("a", "b", "c")


def test_q6_equal_due_times_keep_the_order_of_asking() -> None:
    state: QueueState[Unordered] = QueueState()
    keys = [Unordered() for _ in range(5)]
    for key in keys:
        state.add_after(key, 1, 0)
    state.tick(1)
    assert state.queued == tuple(keys)


def test_q6_a_due_key_that_is_processing_becomes_dirty_only(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.get(0)
    state.add_after("web", 1, 0)
    state.tick(1)
    assert (state.queued, state.dirty) == ((), {"web"})


def test_q6_a_replaced_entry_never_is_the_next_due(state: QueueState[str]) -> None:
    state.add_after("web", 100, 0)
    state.add_after("db", 50, 0)
    state.add_after("web", 1, 0)
    assert state.tick(1) == 50
    assert state.tick(50) is None


def test_q6_replaced_entries_do_not_pile_up(state: QueueState[str]) -> None:
    """A far due time replaced by a near one, over and over, must not leave its entry behind each time."""
    kept = []
    state.add_after("a live entry in front of them", 500_000, 0)
    for now in range(1000):
        state.add_after("web", 1_000_000, now)
        state.add_after("web", 1, now)
        state.tick(now + 1)
        drain(state, now + 1)
        kept.append(len(state._heap))
    assert max(kept) <= 4


@pytest.mark.parametrize("delay", [float("nan"), float("inf"), float("-inf")])
def test_q6_a_delay_that_is_no_time_is_refused(state: QueueState[str], delay: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        state.add_after("web", delay, 0)


# -- Q7: add beside add_after ---------------------------------------------------------------------


def test_q7_a_direct_add_does_not_cancel_a_waiting_entry(state: QueueState[str]) -> None:
    state.add_after("web", 5, 0)
    state.add("web", 1)
    assert drain(state, 1) == ["web"]
    assert state.tick(4) == 5
    state.tick(5)
    assert drain(state, 5) == ["web"]


# -- Q11: shut_down -------------------------------------------------------------------------------


def test_q11_delayed_entries_are_lost_on_shutdown(state: QueueState[str]) -> None:
    state.add_after("before", 5, 0)
    state.shut_down()
    state.add_after("after", 5, 0)
    state.add_after("at once", 0, 0)
    assert state.tick(100) is None
    assert (state.queued, state.waiting) == ((), {})


def test_q11_shutdown_may_be_called_twice(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.shut_down()
    state.shut_down()
    assert drain(state, 1) == ["web"]


def test_q11_a_key_dirty_before_shutdown_still_gets_its_second_run(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.get(0)
    state.add("web", 1)
    state.shut_down()
    state.done("web", 2)
    assert drain(state, 2) == ["web"]


# -- Q12: what a drain waits for ------------------------------------------------------------------


def test_q12_idle_means_nothing_queued_and_nothing_handed_out(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.add("db", 0)
    state.get(1)
    state.shut_down()
    state.done("web", 2)
    assert not state.idle, "db is still queued"
    state.get(3)
    assert not state.idle, "db is still handed out"
    state.done("db", 4)
    assert state.idle


def test_q12_a_key_dirty_while_processing_is_run_before_idle(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.get(0)
    state.add("web", 1)
    state.shut_down()
    state.done("web", 2)
    assert not state.idle
    assert drain(state, 2) == ["web"]
    assert state.idle


def test_a_key_is_held_while_it_is_queued_or_handed_out_whatever_others_are(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.add("db", 0)
    assert state.holds(["web"])
    state.get(1)
    assert state.holds(["web"]), "handed out"
    state.done("web", 2)
    assert not state.holds(["web", "api"])
    assert state.holds(["web", "db"])
    state.add_after("web", 5, 2)
    assert not state.holds(["web"]), "what waits for its time is at rest"


# -- Q13: no reference is kept --------------------------------------------------------------------


def test_q13_after_get_and_done_no_reference_to_the_key_is_kept() -> None:
    state: QueueState[Unordered] = QueueState(RecordingMetrics())
    key: Unordered | None = Unordered()
    assert key is not None
    watched = weakref.ref(key)
    state.add_after(key, 9, 0)
    state.add_after(key, 1, 0)  # the entry it replaces must not hold the key either
    state.tick(1)
    assert state.get(1) is key
    assert (state.queued, state.dirty, state.waiting) == ((), frozenset(), {})
    assert state.done(key, 2)
    key = None
    gc.collect()
    assert watched() is None


# -- Q14 and the metrics --------------------------------------------------------------------------


def test_q14_no_running_work_is_reported_after_shutdown() -> None:
    metrics = RecordingMetrics()
    state: QueueState[str] = QueueState(metrics)
    state.add("web", 0)
    state.add("db", 0)
    state.get(0)
    assert state.next_due == 0.5
    state.shut_down()
    state.get(0.1)
    assert state.tick(100) is None
    assert metrics.running_reports == []


def test_metrics_tell_the_story_of_client_go_test_metrics() -> None:
    metrics = RecordingMetrics()
    state: QueueState[str] = QueueState(metrics)

    state.add("foo", 0)
    assert (metrics.adds_total, metrics.depth) == (1, 1)

    assert state.get(50) == "foo"
    assert metrics.queue_durations == [50]
    assert metrics.depth == 0

    for now in [60, 61, 62, 63, 64]:  # the first is accepted, the rest collapse into it
        state.add("foo", now)
    assert (metrics.adds_total, metrics.depth, len(state)) == (2, 1, 0)

    state.done("foo", 75)
    assert metrics.work_durations == [25]
    assert (metrics.depth, len(state)) == (1, 1)

    assert state.get(85) == "foo"
    assert metrics.queue_durations == [50, 25], "the clock starts at the re-add, not at done"

    state.tick(95)
    assert metrics.running_reports[-1] == (10, 10)
    state.add("bar", 95)
    state.get(95)
    state.tick(100)
    assert metrics.running_reports[-1] == (15 + 5, 15)

    state.done("foo", 101)
    state.done("bar", 102)
    assert metrics.work_durations == [25, 16, 7]
    assert state.tick(102) is None
    assert metrics.running_reports[-1] == (0, 0), "the gauges come to rest at zero"


def test_metrics_running_work_is_reported_each_half_second_while_there_is_any() -> None:
    metrics = RecordingMetrics()
    state: QueueState[str] = QueueState(metrics)
    assert state.tick(0) is None, "nothing runs, nothing to wake up for"
    state.add("web", 0)
    state.get(0)
    now: float | None = state.next_due
    while now is not None and now < 2:
        now = state.tick(now)
    assert metrics.running_reports == [(0.5, 0.5), (1.0, 1.0), (1.5, 1.5)]


def test_metrics_each_add_after_is_a_retry_also_with_no_delay() -> None:
    metrics = RecordingMetrics()
    state: QueueState[str] = QueueState(metrics)
    state.add("web", 0)
    for delay in [0, 5, 9]:
        state.add_after("web", delay, 0)
    assert metrics.retries_total == 3
    assert (metrics.adds_total, metrics.depth) == (1, 1), "delayed keys are not in the depth"
    state.shut_down()
    state.add_after("web", 5, 0)
    assert metrics.retries_total == 3


def test_metrics_do_not_count_a_misused_done() -> None:
    metrics = RecordingMetrics()
    state: QueueState[str] = QueueState(metrics)
    state.done("web", 1)
    assert metrics.work_durations == []


def test_metrics_an_unnamed_queue_needs_no_beat(state: QueueState[str]) -> None:
    state.add("web", 0)
    state.get(0)
    assert state.next_due is None


# -- the invariant, under anything ----------------------------------------------------------------


def check_invariant(state: QueueState[str], metrics: RecordingMetrics) -> None:
    queued, dirty, processing = Counter(state.queued), state.dirty, set(state.processing)
    assert queued == Counter(dirty - processing), "queued exactly when dirty and not processing, exactly once"
    assert len(state) == queued.total()
    assert state.depth == metrics.depth == metrics.adds_total - len(metrics.queue_durations) == len(dirty)
    assert len(processing) == len(metrics.queue_durations) - len(metrics.work_durations)
    if state.shutting_down:
        assert state.waiting == {}
    if state._heap:
        assert state._heap[0].due == min(state.waiting.values()), "the head is live"
    else:
        assert state.waiting == {}


@pytest.mark.parametrize("seed", range(20))
def test_the_invariant_holds_after_each_step_of_any_story(seed: int) -> None:
    """A model that keeps only what was promised to whom walks beside the queue."""
    rng = random.Random(seed)
    metrics = RecordingMetrics()
    state: QueueState[str] = QueueState(metrics)
    keys = ["a", "b", "c", "d", "e"]
    now = 0.0
    owed: set[str] = set()  # keys asked for and not handed out since
    due: dict[str, float] = {}
    out: set[str] = set()

    for _ in range(600):
        now += rng.choice([0, 0, 0.25, 1.0])
        key = rng.choice(keys)
        match rng.choices(
            ["add", "after", "tick", "get", "done", "misuse", "shut"], [6, 5, 6, 8, 8, 1, 0.02]
        )[0]:
            case "add":
                state.add(key, now)
                owed |= set() if state.shutting_down else {key}
            case "after":
                delay = rng.choice([-1, 0, 0.25, 1, 5])
                state.add_after(key, delay, now)
                if not state.shutting_down and delay <= 0:
                    owed.add(key)
                elif not state.shutting_down:
                    due[key] = min(due.get(key, now + delay), now + delay)
            case "tick":
                next_due = state.tick(now)
                fired = {k for k, at in due.items() if at <= now}
                owed |= fired
                due = {k: at for k, at in due.items() if k not in fired}
                assert next_due is None or next_due > now
            case "get":
                got = state.get(now)
                assert (got is None) == (not owed - out)
                if got is not None:
                    assert got not in out, "handed out twice at once"
                    owed.remove(got)
                    out.add(got)
            case "done" if out:
                key = rng.choice(sorted(out))
                assert state.done(key, now)
                out.remove(key)
            case "misuse" if key not in out:
                before = (state.queued, state.dirty, state.processing)
                assert not state.done(key, now)
                assert (state.queued, state.dirty, state.processing) == before
            case "shut":
                state.shut_down()
                due = {}
        check_invariant(state, metrics)
        assert (state.dirty, set(state.processing), dict(state.waiting)) == (owed, out, due)
