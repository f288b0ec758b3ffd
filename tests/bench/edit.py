"""From the last write of an edit to the first engine call about that app, and until it is Ready again."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import byhand
from bench.fleet import SETTLE, STABLE, Fleet, Service
from bench.measure import Measure, Peer, at_most, ms, repeated, timed
from rig.service import SLEEPER

BUSY = 50
"""Folders that are rewritten all the time."""
WRITES = 10_000
"""A second, into a data folder."""
EDITS = 50
PATIENCE = 60.0


_numbers = itertools.count(1)


def edited() -> str:
    """A compose file as there was none before."""
    return f"{SLEEPER}    environment: {{EDIT: '{next(_numbers)}'}}\n"


class Edits:
    """Edits of one app after the other, and what came of each."""

    def __init__(self, fleet: Fleet, service: Service, shorts: list[str]) -> None:
        self._fleet, self._service, self._shorts = fleet, service, shorts
        self._count = 0
        self.looked: list[float] = []
        """Seconds from the last write to the first engine call about the app, less the quiet period."""
        self.changed: list[float] = []
        """The same to the first call that changes something."""
        self.ready: list[float] = []
        """The same until it is Ready."""

    def __call__(self) -> float:
        """One edit; seconds until Ready, less the quiet period."""
        self._count += 1
        short = self._shorts[self._count % len(self._shorts)]
        name = self._fleet.home.name(short)
        file = self._fleet.home.apps / name / "docker-compose.yaml"
        self._fleet.tap.forget()
        file.write_text(edited())
        wrote = time.monotonic()
        ready = self._service.wait_ready([short], PATIENCE, since=wrote)
        looked = self._fleet.tap.first(name, wrote)
        changed = self._fleet.tap.first(name, wrote, changing=True)
        assert looked is not None
        assert changed is not None
        self.looked.append(looked.at - wrote - SETTLE)
        self.changed.append(changed.at - wrote - SETTLE)
        self.ready.append(ready - wrote - SETTLE)
        return self.ready[-1]


def measures(fleet: Fleet) -> Iterator[Measure]:
    size = len(fleet.shorts)
    calm, busy = fleet.shorts[1:-BUSY], fleet.shorts[-BUSY:]
    assert calm, f"{size} apps are too few: {BUSY} are rewritten all the time"
    by_hand: list[float] = []
    twin = byhand.put(fleet.directory / "byhand", f"{fleet.home.prefix}hand")
    byhand.up(twin, fleet.engine.host)
    with fleet.service(tapped=True) as service:
        service.answer()
        service.rest()
        edits = Edits(fleet, service, calm)

        def both() -> float:
            by_hand.append(edit_by_hand(twin, fleet))
            return edits()

        repeated(both, seconds=120, most=EDITS)
        byhand.down(twin, fleet.engine.host)
        yield from figures("quiet", size, edits, by_hand)
        time.sleep(STABLE)  # what is due when an app has been Ready for so long is no part of it
        service.rest()
        edits = Edits(fleet, service, calm)
        with load(fleet, busy) as did:
            repeated(edits, seconds=120, most=EDITS)
        yield from figures("busy", size, edits, [])
        yield Measure("busy: rewritten compose files", "/s", [did[0]], note=f"in {BUSY} other folders")
        yield Measure("busy: writes into a data folder", "/s", [did[1]])
        service.wait_words({"Ready"})


def figures(when: str, size: int, edits: Edits, by_hand: list[float]) -> Iterator[Measure]:
    less = f"less the quiet period of {SETTLE:g} s, {size} apps"
    yield Measure(
        f"{when}: last write → first engine call", "ms", ms(edits.looked), [at_most(30), at_most(150, "p99")], note=less
    )  # fmt: skip
    yield Measure(
        f"{when}: last write → first call that changes something", "ms", ms(edits.changed), note=less
    )
    if not by_hand:
        yield Measure(f"{when}: last write → Ready", "ms", ms(edits.ready), note=less)
        return
    middle = sorted(by_hand)[len(by_hand) // 2]
    yield Measure(
        f"{when}: last write → Ready", "ms", ms(edits.ready), [at_most(1.25, "ratio")],
        Peer("`docker compose up -d`", middle * 1000, outdone=False), note=less,
    )  # fmt: skip


def edit_by_hand(folder: Path, fleet: Fleet) -> float:
    """The same edit, by a person's command."""
    (folder / "docker-compose.yaml").write_text(edited())
    return timed(lambda: byhand.up(folder, fleet.engine.host))


@contextlib.contextmanager
def load(fleet: Fleet, busy: list[str]) -> Iterator[list[float]]:
    """Within this block others write; afterwards the list says how often a second: compose files, data."""
    data = fleet.folders[0] / "data" / "log"
    folders = [str(fleet.home.apps / fleet.home.name(short)) for short in busy]
    did: list[float] = []
    writer = subprocess.Popen(
        [sys.executable, "-m", "bench.load", str(data), str(WRITES), *folders],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    try:
        yield did
    finally:
        writer.terminate()
        said, _ = writer.communicate(timeout=30)
        did.extend(map(float, said.split()))
