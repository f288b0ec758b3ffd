"""A service that runs for months: what it remembers is of the apps that there are, and its memory is one heap."""

from __future__ import annotations

import gc
import re
import shutil
import weakref
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rig.inside import service_in_this_process
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.fault("E10")]

HEAP = 64 << 20
"""Bytes of address space that glibc sets aside for the heap of a thread, at a multiple of as many."""


def mentions(thing: Any, name: str, where: str, seen: set[int]) -> Iterator[str]:
    """The places within `thing` where something is kept under that name."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, str | bytes):
        return
    if isinstance(thing, Collection):
        parts = tuple(thing)  # at once: other threads go on
        if any(part == name or (isinstance(part, Path) and name in part.parts) for part in parts):
            yield where
        for part in tuple(thing.values()) if isinstance(thing, Mapping) else parts:
            yield from mentions(part, name, f"{where}[]", seen)
    if type(thing).__module__.startswith("controller"):
        names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
        for field in names:
            yield from mentions(getattr(thing, field, None), name, f"{where}.{field}", seen)


def test_of_an_app_that_is_gone_nothing_is_kept_in_memory(home: Home) -> None:
    with service_in_this_process(home) as (manager, _):
        name = home.name("gone")

        def kept() -> set[str]:
            lately = "manager.memory.removals._at"  # for the brake: it counts those of the last minutes
            return set(mentions(manager, name, "manager", set())) - {lately}

        home.put("stays")
        folder = home.put("gone")
        home.wait("gone", "Ready")
        (folder / "docker-compose.yaml").write_text(SLEEPER.replace("homeport/sample:1", "homeport/none:1"))
        wait_until(
            lambda: {"manager.memory.retries._waits", "manager.store._records"} <= kept(), "it fails", 30
        )
        shutil.rmtree(folder)
        wait_until(lambda: manager.store.record(name) is None, "it is gone", 60)
        manager.requeue(name, lift=True)  # what is said too late meets nobody, and is forgotten, too
        manager.rescan()
        try:
            wait_until(lambda: not kept(), "nothing of it is kept", 30)
        except AssertionError as error:
            raise AssertionError(f"{error}: {sorted(kept())}") from error


def test_of_a_folder_that_was_never_taken_in_nothing_is_kept_in_memory(home: Home) -> None:
    with service_in_this_process(home, **{"settle-new": "60"}) as (manager, _):
        name = home.name("never")

        def kept() -> set[str]:
            return set(mentions(manager, name, "manager", set()))

        folder = home.put("never")
        wait_until(lambda: any("_renderer" in place for place in kept()), "it is rendered ahead", 30)
        shutil.rmtree(folder)
        wait_until(lambda: not kept(), "nothing of it is kept", 60)


def test_the_connections_to_the_engine_keep_nothing_of_what_they_asked(home: Home) -> None:
    with service_in_this_process(home) as (manager, _):
        home.put("web")
        home.wait("web", "Ready")
        wait_until(lambda: manager.queue.idle, "it is at rest", 30)
        clients = manager.engine._clients._idle
        assert clients
        assert [
            client._custom_adapter.pools.keys() for client in clients if client._custom_adapter.pools
        ] == []


class Circle:
    """Holds itself, as an error holds its frames and these the error."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_left_in_circles_is_taken_away_at_each_resync(home: Home) -> None:
    with service_in_this_process(home, resync="0.5"):
        gc.disable()  # by itself it would be, too, some day
        try:
            left = weakref.ref(Circle())
            wait_until(lambda: left() is None, "it is taken away", 30)
        finally:
            gc.enable()


def heaps_of_threads(pid: int) -> int:
    """How many threads have a heap of their own: memory at such a multiple, and what of it is set aside behind it. Any
    other memory may begin at one by chance."""
    maps = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) (\S+)", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE)
    areas = [(int(start, 16), int(end, 16), rights) for start, end, rights in maps]
    return sum(
        start % HEAP == 0 and (rights, behind) == ("rw-p", "---p") and (rest, end) == (middle, start + HEAP)
        for (start, middle, rights), (rest, end, behind) in pairwise(areas)
    )


def test_all_threads_of_the_service_share_one_heap(home: Home) -> None:
    for number in range(8):
        home.put(f"web{number}")
    home.start()
    for number in range(8):
        home.wait(f"web{number}", "Ready")
    assert home.process is not None
    assert heaps_of_threads(home.process.pid) == 0
