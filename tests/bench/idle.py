"""What the service takes while nothing happens, and how much memory it holds."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.fleet import STABLE, Fleet
from bench.measure import Measure, at_most
from rig.process import cpu_seconds, kib, status_of, thread_count, wake_ups, watch_count

MEMORY = {100: 80.0, 1000: 130.0}
"""MiB, by the number of apps."""


def idle(fleet: Fleet, minutes: float) -> Iterator[Measure]:
    size = len(fleet.shorts)
    with fleet.service() as service:
        service.answer()
        service.rest()
        time.sleep(STABLE)
        worked, woken, began = cpu_seconds(service.pid), wake_ups(service.pid), time.monotonic()
        threads = [thread_count(service.pid)]
        while (left := began + 60 * minutes - time.monotonic()) > 0:
            time.sleep(min(5.0, left))
            threads.append(thread_count(service.pid))
        seconds = time.monotonic() - began
        share = 100 * (cpu_seconds(service.pid) - worked) / seconds
        about = f"{size} apps, {minutes:g} min"
        yield Measure("processor time while idle", "% of a core", [share], [at_most(0.1)], note=about)
        yield Measure(
            "wake-ups while idle", "/min", [60 * (wake_ups(service.pid) - woken) / seconds], note=about
        )
        yield Measure("threads while idle", "threads", threads, [at_most(threads[0], "max")], note=about)
        # The first app has a data folder: it and nothing else is mounted; the root of the tree is watched, too.
        yield Measure(
            "inotify watches", "watches", [watch_count(service.pid)], [at_most(2 * size + 2)], note=f"{size} apps"
        )  # fmt: skip


def memory(fleet: Fleet) -> Iterator[Measure]:
    size = len(fleet.shorts)
    with fleet.service() as service:
        service.answer()
        service.rest()
        for _ in range(3):
            service.client.reconcile()
        service.client.status()
        service.rest()
        status = status_of(service.pid)
        bars = [at_most(MEMORY[size])] if size in MEMORY else []
        yield Measure(f"memory (RSS), {size} apps", "MiB", [kib(status, "VmRSS") / 1024], bars)
        yield Measure(f"memory that is no file's, {size} apps", "MiB", [kib(status, "RssAnon") / 1024])
        yield Measure(f"most memory since its start, {size} apps", "MiB", [kib(status, "VmHWM") / 1024])
