"""What the engine itself takes for each container: where a machine ends, whatever keeps its apps."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from bench import byhand
from bench.fleet import Fleet
from bench.measure import Measure, ms, repeated, timed
from rig.process import kib, status_of


def measures(fleet: Fleet) -> Iterator[Measure]:
    size = len(fleet.shorts)
    shims = _processes("containerd-shim", fleet.engine.directory)
    daemons = _processes("dockerd", fleet.engine.directory) + _processes("containerd", fleet.engine.directory)
    assert len(shims) == size, f"{len(shims)} shims for {size} containers"
    yield Measure(
        f"shim of a container, {size} apps", "MiB", [_own(pid) / 1024 for pid in shims], note="its own memory"
    )
    threads = [int(status_of(pid)["Threads"]) for pid in shims]
    yield Measure(f"threads of a container's shim, {size} apps", "threads", threads)
    memory = sum(kib(status_of(pid), "VmRSS") for pid in daemons) / 1024
    yield Measure(f"memory (RSS) of dockerd and containerd, {size} apps", "MiB", [memory])
    folder = fleet.folders[-1]
    alone = repeated(lambda: timed(lambda: byhand.up(folder, fleet.engine.host)), seconds=5)
    yield Measure(f"`docker compose up -d` of one app that needs nothing, {size} apps", "ms", ms(alone))


def _own(pid: int) -> int:
    """KiB that no other process shares."""
    lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    return sum(
        int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:"))
    )


def _processes(program: str, directory: Path) -> list[int]:
    """Those of the fleet's engine, known by its folder in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                name = command.split(b"\0", 1)[0].rsplit(b"/", 1)[-1].decode()
                shim = program == "containerd-shim" and name.startswith(program)
                if (name == program or shim) and os.fsencode(f"{directory}/") in command:
                    found.append(int(entry.name))
    return found
