"""The heap of a process that runs for months: what is large lies beside it, and leaves no hole in it."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from controller.heap import tidy_heap
from controller.manager import Manager
from controller.settings import Settings

PROGRAM = """
import os, re, sys
from pathlib import Path
from controller.heap import share_heap

def heap():
    first, last = re.search(r"^(\\w+)-(\\w+) .*\\[heap\\]$", Path("/proc/self/maps").read_text(), re.MULTILINE).groups()
    return int(last, 16) - int(first, 16)

if sys.argv[1] == "shared":
    share_heap()
before = heap()
buffers = [bytearray(65536) for _ in range(100)]
print(heap() - before)
"""


def growth(how: str) -> int:
    """Bytes by which the heap of a new process grows while 100 reads of 64 KiB are under way."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


def test_what_a_read_takes_lies_beside_the_heap() -> None:
    assert growth("shared") < 1 << 20 < growth("as it is")


@pytest.fixture
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


class Circle:
    def __init__(self) -> None:
        self.itself = self


def test_what_has_lasted_is_looked_through_only_when_the_heap_is_tidied_thoroughly(unfrozen: None) -> None:
    circle, passing = Circle(), Circle()
    left, passed = weakref.ref(circle), weakref.ref(passing)
    gc.disable()
    try:
        del passing
        tidy_heap(thoroughly=False)
        assert passed() is None
        del circle
        tidy_heap(thoroughly=False)
        assert left() is not None
        tidy_heap(thoroughly=True)
        assert left() is None
    finally:
        gc.enable()


def test_a_resync_tidies_the_heap_and_one_in_so_many_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unfrozen: None
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr("controller.manager.RESYNCS_OF_A_HEAP", 3)
    monkeypatch.setattr(
        Manager, "_look_at_all", lambda _self, *, reread: None
    )  # it would wait for the engine
    (tmp_path / "apps").mkdir()
    settings = Settings(apps=tmp_path / "apps", state=tmp_path / "state", workers=1)
    with closing(Manager(settings, lambda _event: None)) as manager:
        manager.resync()
        circle = Circle()
        left = weakref.ref(circle)
        manager.resync()
        del circle
        manager.resync()
        assert left() is not None
        manager.resync()
        assert left() is None
