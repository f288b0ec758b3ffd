"""`make sim`: many histories side by side, or one again. Prints one line that a machine can read.

python -m simulation --histories 10000     seeds 0 to 9999
python -m simulation --minutes 60          fresh seeds for an hour
python -m simulation --seed 17             this one, with all that was said
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count

from simulation.history import generate
from simulation.life import Life, play
from simulation.shrink import report
from simulation.watch import Forbidden


def _seeds(options: argparse.Namespace) -> Iterator[int]:
    end = time.monotonic() + 60 * options.minutes if options.minutes else None
    first = options.first if options.first is not None else (int(time.time()) * 1000 if end else 0)
    for seed in count(first):
        if (end is not None and time.monotonic() > end) or (
            end is None and seed - first >= options.histories
        ):
            return
        yield seed


def _run(seed: int) -> tuple[int, int, str]:
    steps = generate(seed)
    return seed, len(steps), play(seed, steps)


def many(options: argparse.Namespace) -> int:
    """Run them; failing ones are made small and printed. Answers with the exit code."""
    began, histories, happened, failed = time.monotonic(), 0, 0, []
    with ProcessPoolExecutor(options.workers) as pool:
        pending = []
        for seed in _seeds(options):
            pending.append(pool.submit(_run, seed))
            while len(pending) > 4 * options.workers:
                seed, steps, wrong = pending.pop(0).result()
                histories, happened = histories + 1, happened + steps
                failed += [(seed, wrong)] if wrong else []
        for future in pending:
            seed, steps, wrong = future.result()
            histories, happened = histories + 1, happened + steps
            failed += [(seed, wrong)] if wrong else []
    for seed, wrong in failed:
        print(report(seed, wrong))
    seconds = time.monotonic() - began
    print(f"simulation histories={histories} steps={happened} failed={len(failed)} seconds={seconds:.0f}")
    return 1 if failed else 0


def one(seed: int) -> int:
    """Replay one history and print what the controller said."""
    steps = generate(seed)
    print("\n".join(f"{number:3} {step}" for number, step in enumerate(steps)))
    life = Life(seed)
    try:
        life.play(steps)
        wrong = ""
    except (Forbidden, AssertionError) as error:
        wrong = str(error) or repr(error)
    for event in life.world.events:
        print(f"{event.time:%m-%d %H:%M:%S}  {event.app:<6} {event.name:<20} {event.message}")
    life.world.close()
    print(report(seed, wrong) if wrong else f"history {seed}: as the final tree demands")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="simulation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--histories", type=int, default=10000)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="run for so long with fresh seeds, however many"
    )
    parser.add_argument("--first", type=int, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    return one(options.seed) if options.seed is not None else many(options)


if __name__ == "__main__":
    sys.exit(main())
