"""A fault of ours, or of a library: an exception where nobody expects one costs one try of one app, and no thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from controller.clock import SystemClock
from controller.model.effects import Effect, Host, Run
from controller.model.errors import HomeportError
from controller.model.observed import Service as Model
from controller.model.plan import Result
from controller.reconciler import Policy, Reconciler
from controller.sources import Task, Ticker
from controller.status.store import SqliteStore
from controller.worker import Crew
from controller.workqueue import ExponentialBackoff, WorkQueue
from fakes.engine import FakeEngine
from fakes.tree import FakeTree, Folder, manifest
from rig.waiting import wait_until

pytestmark = pytest.mark.fault("E07")


class Panic(BaseException):
    """As pydantic's core raises it: no `Exception`."""


FAULTS = [MemoryError, OSError, KeyError, RecursionError, Panic, SystemExit]
QUICK = Policy(settle=0, settle_new=0, stable_after=0, removal_settle=0)


class Service:
    """The real workers and the real reconcile, over a tree and an engine in memory; the n-th effect of `bad` raises."""

    def __init__(self, fault: type[BaseException], nth: int) -> None:
        clock = SystemClock()
        self.queue: WorkQueue[str] = WorkQueue(clock, ExponentialBackoff(0.001, 0.005))
        self.store = SqliteStore.in_memory()
        self.tree, self.engine = FakeTree(clock), FakeEngine(clock)
        self.host = Host(self.tree, self.engine, self.store, clock, self.queue, lambda _event: None)
        self.reconciler = Reconciler(QUICK)
        self.left, self.fault = nth, fault
        self.results: dict[str, list[Result]] = {"bad": [], "good": []}
        self.crew = Crew(
            2, self.queue, self.run, self.host, lambda key, result, _seconds: self.results[key].append(result)
        )
        self.queue.start()
        self.crew.start()

    def run(self, app: str) -> Run[Result]:
        run = self.reconciler.run(app)
        if app == "good":
            return (yield from run)
        step: Callable[[], Effect[Any]] = partial(next, run)
        while True:
            try:
                effect = step()
            except StopIteration as end:
                result: Result = end.value
                return result
            self.left -= 1
            if self.left == 0:
                run.close()
                raise self.fault("in the middle")
            try:
                step = partial(run.send, (yield effect))
            except HomeportError as error:
                step = partial(run.throw, error)

    def workers(self) -> int:
        return sum(thread.name.startswith("homeport-worker") for thread in threading.enumerate())

    def close(self) -> None:
        self.crew.stop()
        self.queue.shut_down()
        self.crew.join()
        self.store.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_wherever_it_comes_in_a_run_it_costs_that_run_alone(fault: type[BaseException]) -> None:
    for nth in range(1, 25):
        service = Service(fault, nth)
        try:
            for name in ("bad", "good"):
                service.engine.models[name] = (Model("main", "h1", "image:1"),)
                service.tree.put(Folder(manifest(name), "v1"))
                service.queue.add(name)
            for name in ("good", "bad"):
                wait_until(
                    lambda n=name, s=service: [r.word for r in s.results[n][-1:]] == ["Ready"],
                    f"{name} is Ready",
                )
            assert service.workers() == 2
            assert all(result.word != "Failed" for result in service.results["good"])
            failed = [result for result in service.results["bad"] if result.word == "Failed"]
            assert len(failed) == (service.left <= 0)
        finally:
            service.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_timer_whose_task_fails_calls_it_again(fault: type[BaseException]) -> None:
    calls: list[int] = []

    def task() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise fault("in the middle")

    ticker = Ticker("test-ticker", [Task(0.01, task)], SystemClock().monotonic)
    ticker.start()
    try:
        wait_until(lambda: len(calls) >= 3, "it is called again", 60)
    finally:
        ticker.stop()
