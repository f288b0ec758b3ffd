"""A sweep over apps of which nothing changed, by a service that is warm."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial

from bench import byhand
from bench.fleet import Fleet
from bench.measure import Measure, Peer, at_least, at_most, ms, repeated, timed
from bench.tap import Call, Tap
from rig.engine import api
from rig.process import children_reaped, cpu_seconds
from rig.waiting import wait_until

RESYNC = 20
"""Seconds between two of them, more or less."""
SAMPLE = 100
"""Apps that the loop by hand visits; of more it is as many times longer."""
BARS = {100: (30.0, 150.0), 1000: (250.0, 350.0)}
"""By the number of apps: milliseconds, and how many times faster than the loop."""


def measures(fleet: Fleet) -> Iterator[Measure]:
    size = len(fleet.shorts)
    limit, times = BARS.get(size, (None, None))
    looped = loop(fleet)
    before = fleet.containers()
    with fleet.service() as service:
        service.answer()
        service.rest()
        service.client.reconcile()
        reaped, worked = children_reaped(service.pid), cpu_seconds(service.pid)
        values = repeated(lambda: timed(service.client.reconcile))
        worked = (cpu_seconds(service.pid) - worked) / len(values)
        reaped = children_reaped(service.pid) - reaped
        assert service.words() == {"Ready": size}, service.words()
    name = f"no-op sweep of {size} apps"
    sample = f", {SAMPLE} of them, times {size // SAMPLE}" if size > SAMPLE else ""
    yield Measure(
        name, "ms", ms(values),
        [] if limit is None or times is None else [at_most(limit), at_least(times, "ratio")],
        Peer(f"loop of `docker compose up -d`{sample}", looped * 1000),
    )  # fmt: skip
    with api(fleet.engine.host) as client:
        lists = repeated(
            lambda: timed(
                lambda: client.containers(all=True, filters={"label": "com.docker.compose.project"})
            ),
            seconds=5,
        )
    yield Measure(f"the engine's own list of {size} apps", "ms", ms(lists))
    yield Measure(f"processor time of one sweep, {size} apps", "ms", [worked * 1000])
    yield Measure(f"page faults of children during the sweeps, {size} apps", "faults", [reaped], [at_most(0)])
    assert fleet.containers() == before, "a sweep over what is as it should be changed something"
    with fleet.service(tapped=True) as service:
        service.answer()
        service.rest()
        fleet.tap.forget()
        service.client.reconcile()
        calls = asked(fleet.tap)
        assert not any(call.changes for call in calls), [call.path for call in calls if call.changes]
    yield Measure(
        f"engine calls of one sweep, {size} apps", "calls", [len(calls)], [at_most(10)], note="whatever the number of apps"
    )  # fmt: skip
    yield from resyncs(fleet)


def resyncs(fleet: Fleet) -> Iterator[Measure]:
    """The look at everything that the service takes by itself from time to time; here oftener than by itself."""
    size = len(fleet.shorts)
    with fleet.service(tapped=True, resync=str(RESYNC), rescan="3600") as service:
        service.answer()
        service.rest()
        took, worked = [], []
        for _ in range(3):
            fleet.tap.forget()
            spent = cpu_seconds(service.pid)
            first = wait_until(partial(asked, fleet.tap), "a resync", 3 * RESYNC, interval=0.002)[0]
            took.append(service.rest() - first.at)
            worked.append(cpu_seconds(service.pid) - spent)
    yield Measure(f"resync of {size} apps, first engine call → at rest", "ms", ms(took))
    yield Measure(f"processor time of a resync, {size} apps", "ms", ms(worked))


def asked(tap: Tap) -> list[Call]:
    """The calls that are about something: not whether the engine still lives."""
    return [call for call in tap.calls if "/_ping" not in call.path]


def loop(fleet: Fleet) -> float:
    """Seconds that `up -d` in each folder takes, one after the other."""
    folders = fleet.folders
    sample = folders if len(folders) <= SAMPLE else random.Random(0).sample(folders, SAMPLE)
    byhand.up(sample[0], fleet.engine.host)
    seconds = sum(timed(partial(byhand.up, folder, fleet.engine.host)) for folder in sample)
    return seconds * len(folders) / len(sample)
