"""Commands as a person types them: their start-up, and `status` of many apps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.fleet import Fleet
from bench.measure import Measure, at_most, ms, repeated, timed

HOMEPORT = Path(sys.executable).with_name("homeport")


def measures(fleet: Fleet) -> Iterator[Measure]:
    size = len(fleet.shorts)

    def run(arguments: Sequence[str]) -> list[float]:
        command = partial(
            subprocess.run, [*arguments], env=fleet.home.environment(), stdin=subprocess.DEVNULL, check=True,
            capture_output=True,
        )  # fmt: skip
        command()
        return ms(repeated(partial(timed, command), seconds=10, least=5, most=30))

    with fleet.service() as service:
        service.answer()
        service.rest()
        bar = [at_most(250)] if size <= 1000 else []
        yield Measure(f"`homeport status`, {size} apps", "ms", run([str(HOMEPORT), "status"]), bar)
        yield Measure(
            f"`homeport status -o json`, {size} apps", "ms", run([str(HOMEPORT), "status", "-o", "json"])
        )
    yield Measure("start-up: `homeport --help`", "ms", run([str(HOMEPORT), "--help"]), [at_most(150)])
    yield Measure("start-up of Python alone", "ms", run([sys.executable, "-c", "pass"]))
