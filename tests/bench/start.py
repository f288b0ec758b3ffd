"""The service starts on a tree in which nothing changed while it was away."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.fleet import Fleet
from bench.measure import Measure, at_most, repeated
from rig.process import children_reaped


def measures(fleet: Fleet) -> Iterator[Measure]:
    size = len(fleet.shorts)
    before, began = fleet.containers(), time.time()
    answered, rested, reaped = [], [], []

    def start() -> float:
        with fleet.service() as service:
            service.answer()
            answered.append(time.monotonic() - service.began)
            service.client.reconcile()
            ready = time.monotonic() - service.began
            reaped.append(children_reaped(service.pid))
            assert service.words() == {"Ready": size}, service.words()
        with fleet.service() as service:
            service.answer()
            rested.append(service.rest() - service.began)
        return ready

    ready = repeated(start, seconds=60, least=2, most=5)
    bar = [at_most(2.0)] if size <= 1000 else []
    yield Measure(f"exec → a sweep says all {size} are Ready", "s", ready, bar)
    yield Measure(f"exec → at rest, nobody asks, {size} apps", "s", rested, bar)
    yield Measure(f"exec → the socket answers, {size} apps", "s", answered)
    yield Measure(f"page faults of children until Ready, {size} apps", "faults", reaped, [at_most(0, "max")])
    assert fleet.containers() == before
    touched = [event["Action"] for event in fleet.events(began)]
    yield Measure(
        f"containers touched by {len(ready) * 2} starts, {size} apps", "events", [len(touched)], [at_most(0)]
    )
