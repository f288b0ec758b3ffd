"""The work queue: add, get, done on one thread, at several lengths, with the metrics that the service keeps of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import partial

from prometheus_client import CollectorRegistry

from bench.measure import Measure, at_least, at_most, repeated
from controller.clock import SystemClock
from controller.telemetry.metrics import QueueMetrics
from controller.workqueue import ExponentialBackoff, WorkQueue

CYCLES = 20_000
LENGTHS = (10, 1_000, 100_000)
GROWTH = math.log(100_000) / math.log(1_000)
"""How many times dearer a cycle may be at 100,000 keys than at 1,000."""


def measures() -> Iterator[Measure]:
    walls, works = zip(*repeated(partial(cycles, 0, 0), seconds=3), strict=True)
    yield Measure("add-get-done, empty", "cycles/s", walls, [at_least(50_000)])
    yield Measure("add-get-done, empty, by processor time", "cycles/s of CPU", works)
    middles: dict[int, float] = {}
    for length in LENGTHS:
        walls, works = zip(*repeated(partial(cycles, length, length), seconds=3), strict=True)
        middles[length] = sorted(works)[len(works) // 2]
        yield Measure(f"add-get-done, {length:,} queued and {length:,} delayed", "cycles/s", walls)
    growth = middles[1_000] / middles[100_000]
    yield Measure(
        "cost of a cycle at 100,000 to that at 1,000", "times", [growth], [at_most(GROWTH)], note="log n"
    )


def cycles(queued: int, delayed: int) -> tuple[float, float]:
    """Cycles a second, and a second of processor time of all threads, with so many keys queued and so many that wait
    for their time. The queue's timer runs."""
    queue: WorkQueue[str] = WorkQueue(
        SystemClock(), ExponentialBackoff(1.0, 300.0), metrics=QueueMetrics(CollectorRegistry())
    )
    queue.start()
    try:
        for number in range(delayed):
            queue.add_after(f"later-{number}", 3600.0 + number)
        for number in range(queued):
            queue.add(f"key-{number}")
        names = [f"new-{number}" for number in range(CYCLES)]
        began, worked = time.perf_counter(), time.process_time()
        for name in names:
            queue.add(name)
            key = queue.get()
            assert key is not None
            queue.done(key)
        seconds, work = time.perf_counter() - began, time.process_time() - worked
        assert queue.depth == queued
    finally:
        queue.shut_down()
    return CYCLES / seconds, CYCLES / work
