"""The heap of a process that runs for months: what is large lies beside it, and leaves no hole in it."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from controller.heap import tidy_heap

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
