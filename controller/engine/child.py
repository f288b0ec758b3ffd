"""One child process: bounded in time and output, never left behind. And all of them, when the service stops.

A child has its own session, so that a signal to us is no signal to it and its whole group can be ended.
What to run is `compose`'s; nothing else of the project starts a process.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO

from controller.model.errors import Interrupted
from controller.model.ports import Clock

OUTPUT_CAP = 1 << 20
"""Bytes kept of each output stream; what came before is read and dropped, so that no child blocks on it."""
KILL_AFTER = 5.0
"""Seconds from TERM to KILL."""
Hear = Callable[[bytes], bytes]
"""Gets a line without its end, and answers with what of it is kept."""
_PIPE_READS = 64  # reads that empty two pipes of up to 1 MiB; a grandchild may go on writing for ever


@dataclass(frozen=True)
class Limits:
    """Resource limits of a child that parses what people wrote (small files can ask for gigabytes)."""

    memory: int | None = None
    """Bytes of private memory. Not of address space: a Go program reserves that in gigabytes, and with a limit
    of 1 GiB one run of Compose in four breaks off (0 of 200 with this one)."""
    cpu: int | None = None
    """Seconds of processor time."""


@dataclass(frozen=True)
class Outcome:
    """How a child ended. Of each stream the last `cap` bytes."""

    code: int
    """Exit status; negative: the signal that ended it."""
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    timed_out: bool = False
    truncated: bool = False
    """stdout was longer than the cap."""


class Children:
    """Starts children and can end all of them.

    Invariants: every started child is reaped before `run` returns; `_running` and `_stop_at` change only
    under `_lock`; no child is started once `interrupt` was called, and what runs then ends after its grace.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._running: dict[int, int] = {}  # eventfd that wakes the thread of a child -> pid
        self._stop_at: float | None = None

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        deadline: float,
        cwd: str = "/",
        cap: int = OUTPUT_CAP,
        limits: Limits | None = None,
        hear: Hear | None = None,
        hear_stdout: Hear | None = None,
    ) -> Outcome:
        """Run to its end. After `deadline` seconds its process group gets TERM, 5 s later KILL.

        `hear` gets each line of stderr as it comes, and answers with what of it is kept; `hear_stdout` those of stdout.

        Raises `Interrupted` when `interrupt` ended it (or was called before), and `OSError` when the
        program cannot be started. stdin is empty: no prompt is ever answered.
        """
        wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            with self._lock:
                if self._stop_at is not None:
                    raise Interrupted("the service is stopping; nothing was started")
            process = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=dict(env), cwd=cwd, start_new_session=True,
            )  # fmt: skip
            # An interrupt between the check and this line is not lost: `_attend` reads `_stop_at` after it.
            with self._lock:
                self._running[wake] = process.pid
            try:
                outcome, interrupted = self._attend(
                    process,
                    _Watch(process, wake, _Stream(cap, hear_stdout), _Stream(cap, hear)),
                    self._clock.monotonic() + deadline,
                    limits,
                )
            finally:
                with self._lock:
                    del self._running[wake]
        finally:
            os.close(wake)
        if interrupted:
            raise Interrupted(f"{Path(argv[0]).name} was ended: the service is stopping")
        return outcome

    def interrupt(self, grace: float) -> None:
        """Give running children `grace` seconds more, then end them; start no new ones. Returns at once."""
        with self._lock:
            self._stop_at = self._clock.monotonic() + grace
            for wake in self._running:
                os.eventfd_write(wake, 1)

    @property
    def running(self) -> tuple[int, ...]:
        """Process ids of the children that run now."""
        with self._lock:
            return tuple(sorted(self._running.values()))

    def _attend(
        self, process: subprocess.Popen[bytes], watch: _Watch, due: float, limits: Limits | None
    ) -> tuple[Outcome, bool]:
        interrupted = timed_out = False
        kill_at: float | None = None
        try:
            _limit(process.pid, limits)
            while not watch.ended:
                now = self._clock.monotonic()
                stop_at = self._stop_at
                if kill_at is None:
                    interrupted = stop_at is not None and now >= stop_at
                    timed_out = not interrupted and now >= due
                    if interrupted or timed_out:
                        _signal_group(process.pid, signal.SIGTERM)
                        kill_at = now + KILL_AFTER
                elif now >= kill_at:
                    _signal_group(process.pid, signal.SIGKILL)
                    kill_at = now + KILL_AFTER
                next_at = (
                    kill_at if kill_at is not None else min(due, stop_at if stop_at is not None else due)
                )
                watch.wait(max(0.0, next_at - now))
            watch.drain()
        finally:
            # Whatever the way out, the group must not outlive the call. The pid is still the child's: it is
            # reaped only below.
            _signal_group(process.pid, signal.SIGKILL)
            watch.close()
            process.wait()
        return Outcome(
            process.returncode, watch.out.kept, watch.err.kept, timed_out, watch.out.truncated
        ), interrupted


class _Stream:
    """What is kept of one stream: its last `cap` bytes, of those lines that `hear` wants."""

    def __init__(self, cap: int, hear: Hear | None) -> None:
        self.truncated = False
        self._cap = cap
        self._hear = hear
        self._kept, self._begun = bytearray(), b""

    @property
    def kept(self) -> bytes:
        return bytes(self._kept) + self._begun

    def take(self, data: bytes) -> None:
        self._kept += data if self._hear is None else self._heard(self._hear, data)
        self.truncated = self.truncated or len(self._kept) > self._cap
        del self._kept[: -self._cap]

    def _heard(self, hear: Hear, data: bytes) -> bytes:
        """What is kept of the lines that are whole by now. A line without an end is cut where it gets too long."""
        *lines, self._begun = (self._begun + data).split(b"\n")
        if len(self._begun) > self._cap:
            lines, self._begun = [*lines, self._begun], b""
        return b"".join(hear(line) for line in lines)


class _Watch:
    """Reads both streams of a child and notices its end, without a thread and without polling."""

    def __init__(self, process: subprocess.Popen[bytes], wake: int, out: _Stream, err: _Stream) -> None:
        assert process.stdout is not None  # noqa: S101 - for the type checker; both are pipes
        assert process.stderr is not None  # noqa: S101 - as above
        self.ended = False
        self.out, self.err = out, err
        self._pipes: tuple[IO[bytes], IO[bytes]] = (process.stdout, process.stderr)
        self._wake = wake
        self._end = os.pidfd_open(process.pid)
        self._selector = selectors.DefaultSelector()
        for fd in (process.stdout.fileno(), process.stderr.fileno(), self._end, wake):
            self._selector.register(fd, selectors.EVENT_READ)

    def wait(self, seconds: float) -> bool:
        """Take what there is; whether there was anything within so many seconds."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            if key.fd == self._end:
                self.ended = True
            elif key.fd == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            else:
                self._take(key.fd)
        return bool(ready)

    def drain(self) -> None:
        """The rest of the output after the end: what is in the pipes, and no waiting for who inherited them."""
        self._selector.unregister(self._end)
        self._selector.unregister(self._wake)
        for _ in range(_PIPE_READS):
            if not self._selector.get_map() or not self.wait(0):
                return

    def close(self) -> None:
        self._selector.close()
        os.close(self._end)
        for pipe in self._pipes:
            pipe.close()

    def _take(self, fd: int) -> None:
        data = os.read(fd, 65536)
        if not data:
            self._selector.unregister(fd)
        else:
            (self.out if fd == self._pipes[0].fileno() else self.err).take(data)


def _limit(pid: int, limits: Limits | None) -> None:
    # prlimit from outside instead of a preexec_fn, which may deadlock in a process with threads. No core
    # files: they would hold what is in `.env`. A child that has already ended is none to be limited.
    wanted = [(resource.RLIMIT_CORE, 0)]
    if limits is not None and limits.memory is not None:
        wanted.append((resource.RLIMIT_DATA, limits.memory))
    if limits is not None and limits.cpu is not None:
        wanted.append((resource.RLIMIT_CPU, limits.cpu))
    for what, value in wanted:
        with contextlib.suppress(ProcessLookupError, PermissionError, ValueError):
            resource.prlimit(pid, what, (value, value))


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
