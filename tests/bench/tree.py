"""Many folders of real files, on an engine in memory: what reading and deciding cost by themselves."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.measure import Measure, at_most, repeated, worked
from controller.clock import SystemClock
from controller.model.effects import Host, drive
from controller.model.observed import Service
from controller.reconciler import Memory, Policy, Reconciler
from controller.source.tree import AppsTree
from controller.status.store import SqliteStore
from fakes.engine import FakeEngine
from rig.service import Home

LARGE, COLD, WARM = 10_000, 10.0, 1.5
"""So many folders, in so many seconds."""
FLAT = 1.5
"""How many times as much a folder among the most may cost as one among the least: room for the processor's caches."""


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
        clock = SystemClock()
        facts: dict[str, str] = {}
        self.names = names
        self.tree = AppsTree(
            folder / "apps", clock, folder / "state", known=lambda: {record.name for record in store.records()},
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

    def pass_over(self, *, dry_run: bool = False) -> float:
        """Seconds of processor time to scan, load and decide."""
        return worked(partial(self.look, dry_run=dry_run, scan=True))


def measures(sizes: Sequence[int]) -> Iterator[Measure]:
    cold: dict[int, float] = {}
    warm: dict[int, list[float]] = {}
    for size in sizes:
        cold[size], warm[size] = measured(size)
        what = f"scan, load and decide, {size:,} folders"
        bars = size == LARGE
        yield Measure(f"{what}, cold", "s of CPU", [cold[size]], [at_most(COLD)] if bars else [])
        yield Measure(f"{what}, warm", "s of CPU", warm[size], [at_most(WARM)] if bars else [])
    least, most = sizes[0], sizes[-1]
    for word, seconds in (("cold", cold), ("warm", {size: min(values) for size, values in warm.items()})):
        growth = (seconds[most] / most) / (seconds[least] / least)
        yield Measure(
            f"cost of a folder among {most:,} to one among {least:,}, {word}",
            "times",
            [growth],
            [at_most(FLAT)],
        )


def measured(size: int) -> tuple[float, list[float]]:
    """Seconds cold: nothing was ever read; and warm: all is applied and was read before."""
    folder = Path(tempfile.mkdtemp(prefix="homeport-bench-", dir="/tmp"))
    try:
        home = Home(folder, "", "")
        names = [f"a{number:05}" for number in range(size)]
        for name in names:
            home.put(name)
        engine = FakeEngine(SystemClock(), instant=True)
        engine.models = {name: (Service("main", "h1", "homeport/sample:1"),) for name in names}
        with contextlib.closing(SqliteStore.in_memory()) as store:
            cold = Controller(folder, names, engine, store).pass_over(dry_run=True)
            controller = Controller(folder, names, engine, store)
            controller.look()  # makes them
            wrong = controller.look()
            assert not wrong, f"{len(wrong)} apps are not Ready: {wrong[:3]}"
            engine.mutations.clear()
            warm = repeated(controller.pass_over, seconds=5, least=1)
            assert engine.mutations == [], "a pass over what is as it should be changed something"
        return cold, warm
    finally:
        shutil.rmtree(folder)
