"""What the kernel counts of a process: processor time, children, threads, watches, memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Processor time of all its threads so far, those that have ended included; not of its children."""
    return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) gives for another process


def children_reaped(pid: int) -> int:
    """Page faults of all children that a process ever waited for: equal before and after means there was none."""
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return int(fields[8]) + int(fields[10])


def status_of(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status; sizes as `1234 kB`."""
    lines = Path("/proc", str(pid), "status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def kib(status: dict[str, str], what: str) -> int:
    """One size of `status_of`."""
    return int(status[what].split()[0])


def thread_count(pid: int) -> int:
    """Its threads at this moment."""
    return int(status_of(pid)["Threads"])


def wake_ups(pid: int) -> int:
    """How often its threads that live at this moment gave up the processor to wait for something."""
    return sum(
        int(line.split()[1])
        for task in Path("/proc", str(pid), "task").iterdir()
        for line in _lines(task / "status")
        if line.startswith("voluntary_ctxt_switches:")
    )


def watch_count(pid: int) -> int:
    """Its inotify watches."""
    handles = Path("/proc", str(pid), "fdinfo").iterdir()
    return sum(line.startswith("inotify ") for handle in handles for line in _lines(handle))


def _lines(file: Path) -> Iterator[str]:
    try:
        yield from file.read_text().splitlines()
    except OSError:  # gone since it was listed
        return
