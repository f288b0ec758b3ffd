"""`make bench`: all families, or those that are named. The table goes to standard output, the JSON to var/bench.

python -m bench                                everything, with 100 and with 1,000 apps
python -m bench --only sweep,edit --apps 100

A family that fails is shown and ends nothing but itself; then the exit code is 1. A bar that is missed is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from bench import cold, edit, gate, harbormaster, idle, limits, queue, say, start, status, sweep, tree
from bench.byhand import compose
from bench.fleet import Fleet
from bench.measure import Measure, table
from rig.engine import sweep as take_away_leftovers
from rig.engine import unable

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "var" / "bench" / "latest.json"

LOADED = 0.5
"""Others' load for each core, from which on a person should know."""

ALONE: dict[str, Callable[[argparse.Namespace], Iterator[Measure]]] = {
    "queue": lambda _options: queue.measures(),
    "tree": lambda options: tree.measures(options.folders),
    "cold": lambda options: cold.measures(options.apps[0]),
}
"""Need no apps that run, or make their own."""
ON_DEMAND: dict[str, Callable[[argparse.Namespace], Iterator[Measure]]] = {
    "harbormaster": lambda options: harbormaster.measures(options.apps[0], RESULTS.parent),
}
"""The same, but only when they are named."""
EACH: dict[str, Callable[[Fleet, argparse.Namespace], Iterator[Measure]]] = {
    "sweep": lambda fleet, _options: sweep.measures(fleet),
    "start": lambda fleet, _options: start.measures(fleet),
    "memory": lambda fleet, _options: idle.memory(fleet),
    "status": lambda fleet, _options: status.measures(fleet),
    "limits": lambda fleet, _options: limits.measures(fleet),
}
"""With each number of apps."""
FIRST: dict[str, Callable[[Fleet, argparse.Namespace], Iterator[Measure]]] = {
    "edit": lambda fleet, _options: edit.measures(fleet),
    "gate": lambda fleet, _options: gate.measures(fleet),
}
"""Once, with the least number of apps; what they add is of the fleet from then on."""
LAST: dict[str, Callable[[Fleet, argparse.Namespace], Iterator[Measure]]] = {
    "idle": lambda fleet, options: idle.idle(fleet, options.minutes),
}
"""Once, with the greatest."""
FAMILIES = (*ALONE, *EACH, *FIRST, *LAST)


class Bench:
    """What was measured so far, and what failed."""

    def __init__(self) -> None:
        self.measures: list[Measure] = []
        self.failed: dict[str, str] = {}

    def collect(self, family: str, measures: Iterator[Measure]) -> None:
        """Run one family; what it yields before it fails counts."""
        began = time.monotonic()
        say(family)
        try:
            for measure in measures:
                self.measures.append(replace(measure, family=family))
                say(f"  {measure.name}: p50 {measure.statistic('p50'):.4g} {measure.unit}")
        except Exception as error:  # whatever it is: the others are measured all the same
            traceback.print_exc()
            self.failed[family] = str(error) or type(error).__name__
        say(f"{family} took {time.monotonic() - began:.0f} s")

    def with_fleet(self, options: argparse.Namespace, chosen: set[str]) -> None:
        """The families that need many apps which run; they are made once and more of them for the larger sizes."""
        directory = Path(tempfile.mkdtemp(prefix="homeport-bench-", dir="/tmp"))
        fleet = Fleet(directory)
        try:
            for size in options.apps:
                first, last = size == options.apps[0], size == options.apps[-1]
                families = EACH | (FIRST if first else {}) | (LAST if last else {})
                try:
                    fleet.grow(size)
                except AssertionError as error:
                    traceback.print_exc()
                    self.failed[f"{size} apps"] = str(error)
                    return
                for family in [family for family in families if family in chosen]:
                    self.collect(family, families[family](fleet, options))
        finally:
            fleet.throw_away()
            shutil.rmtree(directory)

    def document(self, options: argparse.Namespace) -> dict[str, Any]:
        return {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _say("git", "describe", "--always", "--dirty"),
            "machine": machine(),
            "options": {**vars(options)},
            "failed": self.failed,
            "measures": [measure.document() for measure in self.measures],
        }


def machine() -> dict[str, Any]:
    """What a reader must know to judge the absolute figures."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "processor": cpu[0].partition(":")[2].strip() if cpu else platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "engine": _say("dockerd", "--version"),
        "compose": _say(*compose(), "version", "--short"),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def _end(_number: int, _frame: FrameType | None) -> None:
    say("asked to end; everything is taken away")
    sys.exit(143)


def _sizes(text: str) -> list[int]:
    return sorted({int(size) for size in text.split(",")})


def _say(*command: str) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", default=",".join(FAMILIES), help=f"of {', '.join((*FAMILIES, *ON_DEMAND))}")
    parser.add_argument("--apps", type=_sizes, default="100,1000", help="numbers of apps that run [100,1000]")
    parser.add_argument(
        "--folders",
        type=_sizes,
        default="100,1000,10000",
        help="numbers of folders for `tree` [100,1000,10000]",
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="how long `idle` looks [1]")
    options = parser.parse_args()
    chosen = set(options.only.split(","))
    if unknown := chosen - {*FAMILIES, *ON_DEMAND}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    with_fleet = chosen - ALONE.keys() - ON_DEMAND.keys()
    if (load := os.getloadavg()[0]) > LOADED * (os.cpu_count() or 1):
        say(f"the machine is busy (load {load:.0f}): times mean little, ratios a little more")
    if chosen - {"queue", "tree"} and (reason := unable()):
        print(f"bench: {reason}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _end)
    if unable() is None:
        take_away_leftovers()
    bench = Bench()
    for family, measures in (ALONE | ON_DEMAND).items():
        if family in chosen:
            bench.collect(family, measures(options))
    if with_fleet:
        bench.with_fleet(options, chosen)
    document = bench.document(options)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(table(bench.measures))
    for family, why in bench.failed.items():
        print(f"\nFAILED: {family}: {why}")
    print(f"\n{document['commit']}, {document['machine']}\nAll values: {RESULTS.relative_to(REPOSITORY)}")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
