"""Many folders of real files, on an engine in memory: what reading and deciding cost by themselves.

Cold: nothing was ever read. Warm: all is applied and at rest, and the service makes what it makes again and again: a scan
(has any file changed?), a look at all (after a word of the engine's or a person's), a resync (the same, with all inputs read
again). Beside them, what a run for each app costs, which the service makes only for those that are not at rest.
"""

from __future__ import annotations

import contextlib
import gc
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from bench.measure import Measure, at_most, repeated, worked
from controller.clock import SystemClock
from controller.heap import tidy_heap
from controller.model.effects import Host, drive
from controller.model.observed import Service
from controller.reconciler import Memory, Policy, Reconciler
from controller.source.tree import AppsTree
from controller.status.store import SqliteStore
from controller.status.taken_in import TakenIn
from fakes.engine import FakeEngine
from rig.service import Home

LARGE = 10_000
COLD = "scan, load and decide, cold"
SCAN, LOOK, RESYNC = "warm: a scan", "warm: a look at all", "warm: a resync, all inputs read again"
COLLECTOR = "the collector, ahead of every twelfth resync"
BARS = {COLD: 10.0, SCAN: 1.5, LOOK: 1.5, RESYNC: 1.5}
"""So many seconds for so many folders."""
FLAT = 1.5
"""How many times as much a folder among the most may cost as one among the least: room for the processor's caches."""


class Clock(SystemClock):
    """Time that passes, and that can be set ahead together with all timers."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)


class Queue:
    """Nobody works on what is asked for: each app is looked at once, by us."""

    def add(self, app: str) -> None:
        pass

    def forget(self, app: str) -> None:
        pass

    def backoff(self, app: str) -> float:
        raise AssertionError(f"{app} failed")


class Controller:
    """The real tree, store and reconciler of one process."""

    def __init__(self, folder: Path, names: list[str], engine: FakeEngine, store: SqliteStore) -> None:
        clock = engine.clock
        assert clock is not None
        facts: dict[str, str] = {}
        self.names = names
        self.tree = AppsTree(
            folder / "apps", clock, folder / "state", known=lambda: TakenIn(store),
            root_id=lambda: facts.get("id"), remember_root_id=lambda value: facts.__setitem__("id", value),
        )  # fmt: skip
        policy = Policy(settle=0, settle_new=0, stable_after=0)
        self.reconciler = Reconciler(policy, Memory())
        self.host = Host(self.tree, engine, store, clock, Queue(), lambda _event: None)

    def scan(self) -> None:
        """What is there, and what may have changed."""
        assert len(self.tree.census().names) == len(self.names)
        self.tree.signatures()

    def look(self, *, dry_run: bool = False, scan: bool = False) -> list[str]:
        """One look at each app, after a scan of all if so; the words of those that are not Ready."""
        if scan:
            self.scan()
        words = [drive(self.reconciler.run(name, dry_run=dry_run), self.host).word for name in self.names]
        return [word for word in words if word != "Ready"]

    def look_at_all(self, *, reread: bool) -> tuple[str, ...]:
        """As the service does: who is not at rest. `reread`: as at a resync, when all inputs are read again."""
        return drive(self.reconciler.look_at_all(reread=reread), self.host)


def measures(sizes: Sequence[int]) -> Iterator[Measure]:
    seconds = {size: measured(size) for size in sizes}
    for size, by_pass in seconds.items():
        for what, values in by_pass.items():
            bars = [at_most(BARS[what])] if size == LARGE and what in BARS else []
            yield Measure(f"{what}, {size:,} folders", "s of CPU", values, bars)
    least, most = sizes[0], sizes[-1]
    for what in seconds[least]:
        growth = (min(seconds[most][what]) / most) / (min(seconds[least][what]) / least)
        yield Measure(
            f"{what}: cost of a folder among {most:,} to one among {least:,}",
            "times",
            [growth],
            [at_most(FLAT)] if what in BARS else [],
        )


def measured(size: int) -> dict[str, list[float]]:
    """Seconds of processor time of each sort of pass over so many folders."""
    folder = Path(tempfile.mkdtemp(prefix="homeport-bench-", dir="/tmp"))
    try:
        home = Home(folder, "", "")
        names = [f"a{number:05}" for number in range(size)]
        for name in names:
            home.put(name)
        clock = Clock()
        engine = FakeEngine(clock, instant=True)
        engine.models = {name: (Service("main", "h1", "homeport/sample:1"),) for name in names}
        with contextlib.closing(SqliteStore.in_memory()) as store:
            first = Controller(folder, names, engine, store)
            cold = worked(partial(first.look, dry_run=True, scan=True))
            controller = Controller(folder, names, engine, store)
            controller.look()  # makes them
            wrong = controller.look()
            assert not wrong, f"{len(wrong)} apps are not Ready: {wrong[:3]}"
            engine.mutations.clear()
            # They have run for so long that the engine's list tells a start since the last look.
            clock.ahead += 2 * 3600
            controller.look_at_all(reread=True)
            each = repeated(lambda: worked(partial(controller.look, scan=True)), seconds=5, least=1)
            tidy = partial(tidy_heap, thoroughly=True)  # ahead of every twelfth resync
            collected = repeated(partial(worked, tidy), seconds=2, least=1)
            restless = controller.look_at_all(reread=True)
            assert not restless, f"{len(restless)} apps are not at rest: {restless[:3]}"
            scan = repeated(lambda: worked(controller.scan), seconds=5)
            look = repeated(lambda: worked(partial(controller.look_at_all, reread=False)), seconds=5)
            resync = repeated(lambda: worked(partial(controller.look_at_all, reread=True)), seconds=5)
            assert controller.look_at_all(reread=True) == ()
            assert engine.mutations == [], "a pass over what is as it should be changed something"
        return {
            COLD: [cold],
            SCAN: scan,
            LOOK: look,
            RESYNC: resync,
            "a run for each app": each,
            COLLECTOR: collected,
        }
    finally:
        gc.unfreeze()
        shutil.rmtree(folder)
