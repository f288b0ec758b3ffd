"""From nothing to all apps running, images local: the service, and the best that can be done by hand.

Each contender has an engine of its own, as empty as that of the others.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import byhand, say
from bench.fleet import Fleet
from bench.measure import Measure, Peer, at_most, timed
from rig.process import cpu_seconds
from rig.service import SLEEPER

AT_ONCE = (4, 8, 16)
CHAIN = 10
PATIENCE = 600.0


def measures(size: int) -> Iterator[Measure]:
    by_hand = {at_once: _by_hand(size, at_once) for at_once in AT_ONCE}
    for at_once, seconds in by_hand.items():
        yield Measure(f"by hand, `xargs -P {at_once}` of `up -d`, {size} apps", "s", [seconds])
    best = min(by_hand, key=lambda at_once: by_hand[at_once])
    best_name = f"the best by hand, `xargs -P {best}`"
    ready, processor = _by_service(size)
    yield Measure(
        f"exec of the service → {size} apps Ready", "s", [ready], [at_most(1.05, "ratio")],
        Peer(best_name, by_hand[best], outdone=False),
    )  # fmt: skip
    yield Measure(f"the service's own processor time for it, {size} apps", "s of CPU", [processor])
    alone = _chain_by_hand(CHAIN)
    yield Measure(f"a chain of {CHAIN} by hand, one `up -d` after the other", "s", [alone])
    longest = max(alone, by_hand[best])
    ready, _ = _by_service(size, chain=CHAIN)
    yield Measure(
        f"exec of the service → {size} apps Ready, {CHAIN} of them a chain", "s", [ready], [at_most(1.15, "ratio")],
        Peer("the longer of the two by hand", longest, outdone=False),
    )  # fmt: skip


class Ground:
    """An empty engine and a folder, for one contender."""

    def __enter__(self) -> Fleet:
        self.directory = Path(tempfile.mkdtemp(prefix="homeport-bench-", dir="/tmp"))
        self.fleet = Fleet(self.directory)
        return self.fleet

    def __exit__(self, *_: object) -> None:
        self.fleet.throw_away()
        shutil.rmtree(self.directory)


def _by_hand(size: int, at_once: int) -> float:
    with Ground() as fleet:
        folders = _folders(fleet, size)
        seconds = timed(lambda: byhand.up_all(folders, fleet.engine.host, at_once))
        assert len(fleet.containers()) == size
    say(f"  by hand, {at_once} at once: {seconds:.1f} s")
    return seconds


def _chain_by_hand(size: int) -> float:
    with Ground() as fleet:
        folders = _folders(fleet, size)
        return timed(lambda: byhand.up_all(folders, fleet.engine.host, 1))


def _folders(fleet: Fleet, size: int) -> Sequence[Path]:
    return [byhand.put(fleet.directory / "byhand", f"h{number:05}") for number in range(size)]


def _by_service(size: int, chain: int = 0) -> tuple[float, float]:
    """Seconds until all are Ready, and the processor time that the service itself took."""
    with Ground() as fleet:
        fleet.put(size - chain)
        names = list(fleet.shorts)
        for number in range(chain):
            needs = [{"app": fleet.home.name(f"c{number - 1:05}")}] if number else []
            fleet.home.put(f"c{number:05}", SLEEPER, requires=needs)
            names.append(f"c{number:05}")
        with fleet.service() as service:
            ready = service.wait_ready(names, PATIENCE)
            processor = cpu_seconds(service.pid)
        assert len(fleet.containers()) == size
        return ready - service.began, processor
