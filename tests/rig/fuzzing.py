"""Fuzzing: how many inputs, and what holds for each of them: no hang, no great appetite, no look elsewhere.

`HOMEPORT_FUZZ_INPUTS` is the number of all inputs together (`make fuzz` sets it, and then they are random). Without it
they are few, and the same in every run. What is fuzzed, and which answers are right, is the tests' business.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

INPUTS = "HOMEPORT_FUZZ_INPUTS"
FEW = 10_000
SECOND = 1.0
"""Of processor time for one input, with `make fuzz`. Among other tests, on a loaded machine, thrice that is taken for a
hang: what it costs exactly is not for `make test` to say."""
HANG = 30.0
"""Seconds of real time after which an input hangs; neighbours on the same cores take their share of it."""
APPETITE = 64 << 10
"""KiB of memory that one input may take for a while."""

_QUICK = 0.15  # seconds that the loop in `_slowness` takes on a core of 2020 that does nothing else
_counted = 0


def inputs() -> int:
    """All inputs of the whole run, about."""
    return int(os.environ.get(INPUTS, FEW))


def counted() -> int:
    """The inputs that this process has tried so far."""
    return _counted


def count() -> None:
    """One input more."""
    global _counted  # noqa: PLW0603 - a process has one number
    _counted += 1


def fuzz(percent: float, **strategies: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test that gets so many of a hundred inputs; each is held to what `bounded` promises.

    Fixtures are made once for all inputs of a test.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return _settings(percent)(hypothesis.given(**strategies)(_with_bounds(test)))

    return decorate


def rolled(percent: float, batch: int = 20) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As `fuzz`, for a test that makes its input of a `Random`: so it gets many more in the same time.

    What hypothesis draws is the seed of a batch.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        def batched(seed: int) -> None:
            for number in range(batch):
                try:
                    one(random.Random(f"{seed}/{number}"))
                except BaseException as error:
                    error.add_note(f'with random.Random("{seed}/{number}")')
                    raise

        one = _with_bounds(test)
        batched.__name__, batched.__doc__, batched.__module__ = test.__name__, test.__doc__, test.__module__
        return _settings(percent / batch)(hypothesis.given(seed=st.integers(0, 2**32))(batched))

    return decorate


def _settings(percent: float) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=max(1, round(inputs() * percent / 100)),
        derandomize=INPUTS not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=set(Phase) - {Phase.explain},  # it traces every line, and that would be measured, too
    )


def _with_bounds(test: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(test)
    def bounded_test(*arguments: Any, **keywords: Any) -> None:
        count()
        with bounded():
            test(*arguments, **keywords)

    return bounded_test


class Greedy(AssertionError):
    """An input that costs more than any input may."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Raises `Greedy` out of what hangs, takes too much processor time (see `SECOND`), or more than 64 MiB.

    For the main thread.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Greedy("hangs")

    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    began = time.process_time()
    guards = ((signal.SIGALRM, signal.ITIMER_REAL, HANG), (signal.SIGPROF, signal.ITIMER_PROF, 10 * SECOND))
    old = [(number, signal.signal(number, stop)) for number, _, _ in guards]
    for _, timer, seconds in guards:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for _, timer, _ in guards:
            signal.setitimer(timer, 0)
        for number, handler in old:
            signal.signal(number, handler)
    took, taken = time.process_time() - began, _memory("VmHWM") - before
    allowed = SECOND if INPUTS in os.environ else 3 * SECOND
    if took > allowed and took > allowed * _slowness():
        raise Greedy(f"takes {took:.1f} s of processor time")
    if taken > APPETITE:
        raise Greedy(f"takes {taken >> 10} MiB")


def _memory(what: str) -> int:
    """KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1])
    raise AssertionError(f"the kernel does not tell {what}")


def _slowness() -> float:
    """How many times slower a core is at this moment than one that nobody else uses; neighbours share its caches."""
    began = time.thread_time()
    sum(i * i % 7 for i in range(2_000_000))
    return max(1.0, (time.thread_time() - began) / _QUICK)


# ---- which files are opened ----

_watching: list[str] | None = None
_watcher = 0


_OWN = tuple(
    f"{Path(path).resolve()}/" for path in (sys.prefix, sys.base_prefix, __file__.partition("/tests/")[0])
)
"""Where Python finds modules, some of them late."""


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if (
        _watching is None
        or threading.get_ident() != _watcher
        or event not in ("open", "os.listdir", "os.scandir")
    ):
        return
    if isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 - links are not followed
        if not path.startswith(_OWN):
            _watching.append(path if event == "open" else f"{path}/")


@contextlib.contextmanager
def opened() -> Iterator[list[str]]:
    """The paths that this thread opens or lists within, made absolute; links in them are not followed.

    Those that are listed end with a slash.
    """
    global _watching, _watcher  # noqa: PLW0603 - an audit hook belongs to the process, and stays for ever
    if not _watcher:
        sys.addaudithook(_hook)
    _watcher = threading.get_ident()
    found = _watching = []
    try:
        yield found
    finally:
        _watching = None
