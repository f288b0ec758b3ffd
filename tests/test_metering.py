"""What is counted, under the very names and labels that monitoring asks for, and how many series there can be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.control.health import Facts, judge
from controller.metering import CALLS, Meter, see
from controller.model.effects import Host, RunHook
from controller.model.errors import AppError, EngineUnreachable, InputInvalid, Interrupted
from controller.model.facts import LAST_RESYNC
from controller.model.observed import ExecResult
from controller.model.plan import Result
from controller.model.ports import Engine
from controller.model.record import Condition
from controller.status.store import SqliteStore
from controller.status.summary import WORDS
from controller.telemetry.metrics import HOOK_RESULTS, HOOKS, RUN_RESULTS
from controller.workqueue import ExponentialBackoff, WorkQueue
from fakes.build import NOON, record
from fakes.clock import SteppedClock
from fakes.engine import FakeEngine
from fakes.tree import FakeTree

FACTS = Facts(
    started=True, stopping=False, threads={}, workers=1, workers_missing=0, steps=(), scan_seconds=0.0,
    engine="", tree="", state="",
)  # fmt: skip


class Metered:
    """A meter over a store in memory and a clock that is told the time."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.store = SqliteStore.in_memory()
        self.facts = FACTS
        self.meter = Meter("1.2.3", self.clock, self.look)

    def look(self) -> Any:
        return see(self.store, self.clock, self.facts, judge(self.facts), watched=True)

    def value(self, name: str, /, **labels: str) -> float | None:
        return self.all().get((name, frozenset(labels.items())))

    def all(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = text_string_to_metric_families(self.meter.text().decode())
        return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


@pytest.fixture
def metered() -> Iterator[Metered]:
    made = Metered()
    yield made
    made.store.close()


def test_the_queues_metrics_have_the_names_of_the_field(metered: Metered) -> None:
    queue: WorkQueue[str] = WorkQueue(
        metered.clock, ExponentialBackoff(1.0, 300.0), metrics=metered.meter.queue
    )
    queue.add("web")
    queue.add("db")
    queue.add("db")
    queue.add_after("later", 5.0)
    metered.clock.advance(2.0)
    assert queue.get() == "web"
    metered.clock.advance(3.0)
    queue.done("web")
    assert {
        name: metered.value(f"workqueue_{name}", name="apps")
        for name in (
            "depth", "adds_total", "retries_total", "queue_duration_seconds_count", "queue_duration_seconds_sum",
            "work_duration_seconds_count", "work_duration_seconds_sum", "unfinished_work_seconds",
            "longest_running_processor_seconds",
        )
    } == {
        "depth": 1.0, "adds_total": 2.0, "retries_total": 1.0, "queue_duration_seconds_count": 1.0,
        "queue_duration_seconds_sum": 2.0, "work_duration_seconds_count": 1.0, "work_duration_seconds_sum": 3.0,
        "unfinished_work_seconds": 0.0, "longest_running_processor_seconds": 0.0,
    }  # fmt: skip


def test_the_age_of_running_work_shows(metered: Metered) -> None:
    state_metrics = metered.meter.queue
    state_metrics.running(7.0, 5.0)
    assert metered.value("workqueue_unfinished_work_seconds", name="apps") == 7.0
    assert metered.value("workqueue_longest_running_processor_seconds", name="apps") == 5.0


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (Result("Ready"), "success"),
        (Result("Progressing", after=2.0, pending=True), "requeue_after"),
        (Result("Failed", after=2.0, failed=True), "error"),
        (Result("Unknown", after=2.0, parked=True), "parked"),
    ],
)
def test_a_run_counts_by_what_it_came_to(metered: Metered, result: Result, word: str) -> None:
    metered.meter.ran(result, 0.25)
    counts = {word: metered.value("homeport_reconcile_total", result=word) for word in RUN_RESULTS}
    assert counts == {**dict.fromkeys(RUN_RESULTS, 0.0), word: 1.0}
    assert metered.value("homeport_reconcile_errors_total") == (1.0 if word == "error" else 0.0)
    assert metered.value("homeport_reconcile_duration_seconds_sum") == 0.25


def test_every_call_of_the_engine_is_counted_and_timed(metered: Metered) -> None:
    class Slow(FakeEngine):
        def version(self) -> str:
            metered.clock.advance(0.5)
            return super().version()

    engine: Engine = metered.meter.metered(Slow(metered.clock))
    assert engine.version() == engine.version()
    assert metered.value("homeport_engine_calls_total", call="version") == 2.0
    assert metered.value("homeport_engine_errors_total", call="version") == 0.0
    assert metered.value("homeport_engine_call_duration_seconds_sum", call="version") == 1.0


@pytest.mark.parametrize(
    ("problem", "errors"),
    [
        (EngineUnreachable("away"), 1.0),
        (AppError("PullFailed", "no such image"), 1.0),
        (ValueError("a fault of ours"), 1.0),
        (InputInvalid("SourceInvalid", "a typo in the compose file"), 0.0),
        (Interrupted("the service stops"), 0.0),
    ],
)
def test_a_failed_call_is_an_error_of_the_engine_unless_it_did_what_it_could(
    metered: Metered, problem: Exception, errors: float
) -> None:
    class Broken(FakeEngine):
        def version(self) -> str:
            raise problem

    with pytest.raises(type(problem)):
        metered.meter.metered(Broken(metered.clock)).version()
    assert metered.value("homeport_engine_calls_total", call="version") == 1.0
    assert metered.value("homeport_engine_errors_total", call="version") == errors


def test_the_calls_are_all_of_the_port() -> None:
    port = {name for name, value in vars(Engine).items() if callable(value) and not name.startswith("_")}
    assert set(CALLS) == port - {"events", "interrupt", "differences", "forget"}


@pytest.mark.parametrize(
    ("ended", "result"),
    [
        (ExecResult(0, b""), "done"),
        (ExecResult(1, b""), "failed"),
        (ExecResult(0, b"", overflow=True), "failed"),
        (ExecResult(137, b"", timed_out=True), "timeout"),
        (AppError("HookFailed", "it cannot be run"), "failed"),
    ],
)
def test_a_hook_is_timed_by_how_it_ended(
    metered: Metered, ended: ExecResult | Exception, result: str
) -> None:
    class Runs(FakeEngine):
        def exec(self, *_arguments: Any) -> ExecResult:
            metered.clock.advance(3.0)
            if isinstance(ended, Exception):
                raise ended
            return ended

    host, effect = host_of(metered, Runs(metered.clock)), RunHook("c1", b"true", {}, 30.0, "on_install")
    if isinstance(ended, Exception):
        with pytest.raises(type(ended)):
            metered.meter.perform(effect, host)
    else:
        assert metered.meter.perform(effect, host) is ended
    labels = {"hook": "on_install", "result": result}
    assert metered.value("homeport_hook_duration_seconds_count", **labels) == 1.0
    assert metered.value("homeport_hook_duration_seconds_sum", **labels) == 3.0


@pytest.mark.parametrize("why", [Interrupted("the service stops"), EngineUnreachable("away")])
def test_a_hook_that_was_cut_off_did_not_fail_and_is_not_timed(metered: Metered, why: Exception) -> None:
    class CutOff(FakeEngine):
        def exec(self, *_arguments: Any) -> ExecResult:
            raise why

    effect = RunHook("c1", b"true", {}, 30.0, "on_install")
    with pytest.raises(type(why)):
        metered.meter.perform(effect, host_of(metered, CutOff(metered.clock)))
    for result in HOOK_RESULTS:
        labels = {"hook": "on_install", "result": result}
        assert metered.value("homeport_hook_duration_seconds_count", **labels) == 0.0


def host_of(metered: Metered, engine: FakeEngine) -> Host:
    return Host(FakeTree(metered.clock), engine, metered.store, metered.clock, Quiet(), lambda _event: None)


class Quiet:
    """A queue that nothing is put into."""

    def add(self, app: str) -> None: ...

    def forget(self, app: str) -> None: ...

    def backoff(self, app: str) -> float:
        return 0.0


def test_a_scrape_sees_what_is_true_and_forgets_what_is_gone(metered: Metered) -> None:
    ready = Condition("Ready", "True", "ReconciliationSucceeded", "m", NOON, 1)
    held = Condition("Ready", "False", "RemovalHeld", "m", NOON, 1)
    metered.store.save(record("web", conditions=(ready,)))
    metered.store.save(record("old", conditions=(held,)))
    metered.store.put(LAST_RESYNC, "2026-01-01T00:00:00+00:00")
    assert metered.value("homeport_apps", summary="Ready") == 1.0
    assert metered.value("homeport_apps", summary="Held") == 1.0
    assert metered.value("homeport_apps", summary="Failed") == 0.0
    assert metered.value("homeport_app_ready", app="web") == 1.0
    assert metered.value("homeport_app_ready", app="old") == 0.0
    assert metered.value("homeport_held_removals") == 1.0
    assert metered.value("homeport_last_resync_timestamp_seconds") == 1767225600.0
    metered.store.forget("old")
    assert metered.value("homeport_app_ready", app="old") is None
    assert metered.value("homeport_held_removals") == 0.0


@pytest.mark.parametrize("reason", ["Stopped", "Suspended"])
def test_an_app_that_a_person_does_not_want_to_be_ready_is_not_missed(metered: Metered, reason: str) -> None:
    stopped = Condition("Ready", "False", "Stopped", "m", NOON, 1)
    suspended = Condition("Suspended", "True", "Suspended", "m", NOON, 1)
    metered.store.save(record("web", conditions=(stopped,) if reason == "Stopped" else (stopped, suspended)))
    assert metered.value("homeport_apps", summary=reason) == 1.0
    assert metered.value("homeport_app_ready", app="web") is None


@pytest.mark.parametrize(
    ("trouble", "changed"),
    [
        ({"engine": "away"}, {"homeport_engine_reachable": 0.0, "homeport_ready": 0.0}),
        ({"tree": "not mounted"}, {"homeport_tree_lost": 1.0, "homeport_ready": 0.0}),
        ({"state": "disk full"}, {"homeport_state_writable": 0.0, "homeport_ready": 0.0}),
        ({"workers_missing": 1}, {"homeport_healthy": 0.0, "homeport_ready": 0.0}),
    ],
)
def test_what_is_wrong_with_the_service_shows(
    metered: Metered, trouble: dict[str, Any], changed: dict[str, float]
) -> None:
    fine = {
        "homeport_engine_reachable": 1.0, "homeport_tree_lost": 0.0, "homeport_state_writable": 1.0,
        "homeport_tree_watched": 1.0, "homeport_healthy": 1.0, "homeport_ready": 1.0,
    }  # fmt: skip
    assert {name: metered.value(name) for name in fine} == fine
    metered.facts = replace(FACTS, **trouble)
    assert {name: metered.value(name) for name in fine} == {**fine, **changed}


def test_all_series_but_those_of_apps_are_there_from_the_start(metered: Metered) -> None:
    """So that a rate is seen from the first one on, and there are no more later."""
    before = set(metered.all())
    for result in (Result(), Result(after=1.0), Result(failed=True), Result(parked=True)):
        metered.meter.ran(result, 1.0)
    engine = metered.meter.metered(FakeEngine(metered.clock))
    engine.version()
    for hook in HOOKS:
        for result in HOOK_RESULTS:
            assert (
                "homeport_hook_duration_seconds_count",
                frozenset({"hook": hook, "result": result}.items()),
            ) in before
    assert set(metered.all()) == before
    assert len({labels for name, labels in before if name == "homeport_apps"}) == len(WORDS)
    assert len(before) < 800


def test_scrapes_and_counts_at_the_same_time_lose_nothing(metered: Metered) -> None:
    def count() -> None:
        for _ in range(500):
            metered.meter.ran(Result(), 0.001)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        metered.meter.text()
    for thread in threads:
        thread.join()
    assert metered.value("homeport_reconcile_total", result="success") == 2000.0
