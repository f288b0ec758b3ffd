"""Scripts inside containers: bounded in time and output, and nothing of them stays behind.

An exec outlives the client that started it and cannot be stopped by the engine's API. So each carries a
marker in its environment, by which a second exec finds and ends every process of it. What the output means
is not known here.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal
from uuid import uuid4

from controller.engine.client import TIMEOUT, Clients
from controller.engine.endpoint import Endpoint
from controller.engine.failures import translated
from controller.engine.redaction import redact
from controller.engine.stream import Refused, Stream, hijack
from controller.model.errors import AppError, HomeportError, Interrupted
from controller.model.observed import ExecResult
from controller.model.ports import Clock

STDOUT_CAP = 256 * 1024
"""Bytes of standard output; more is an overflow, and the script is ended."""
STDERR_TAIL = 4096
"""Bytes kept of the end of standard error."""
MARKER = "HOMEPORT_HOOK"
_LOOK = 1.0  # seconds of silence after which the exec is asked whether its main process still lives
_LINGER = 5.0  # seconds for the engine to know the exit status of what has ended
_ENDING = 10.0  # seconds to find and kill all processes of a script

# The whole script is read before its first line runs: a command in it that reads standard input would
# else eat the rest of the script.
_SHELL = ["sh", "-c", 'eval "$(cat)"']

# With nothing but sh and cat, for busybox, dash and bash. Shells drop the NULs between variables. It looks
# for HOMEPORT_HOOK=<id> and itself has the id under another name. Children of a marked process count even
# if their environment cannot be read (`su postgres -c …`: another user, and no CAP_SYS_PTRACE in
# containers). Not privileged on purpose: `sh` is the image's. Passes repeat until one finds nothing.
_ENDER = r"""
exec 2>/dev/null
pass=0
while [ $pass -lt 20 ]; do
  pass=$((pass + 1)) found=
  for dir in /proc/[0-9]*; do
    case "$(cat $dir/environ)" in *"HOMEPORT_HOOK=$HOMEPORT_END"*) found="$found ${dir#/proc/} " ;; esac
  done
  [ -n "$found" ] || exit 0
  grown=1
  while [ $grown = 1 ]; do
    grown=0
    for dir in /proc/[0-9]*; do
      pid=${dir#/proc/} line=
      case "$found" in *" $pid "*) continue ;; esac
      read -r line < $dir/stat || continue
      set -- ${line##*) }
      case "$found" in *" ${2:-none} "*) found="$found $pid " grown=1 ;; esac
    done
  done
  kill -9 $found
done
exit 1
"""

End = Literal["done", "timeout", "overflow", "interrupted"]


@dataclass
class _Output:
    """Takes the engine's frames (stream number, length, bytes) apart, bounded whatever comes."""

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    overflow: bool = False
    _head: bytearray = field(default_factory=bytearray)
    _left: int = 0
    _to: int = 0

    def feed(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._left == 0:
                take = min(8 - len(self._head), len(view))
                self._head += view[:take]
                view = view[take:]
                if len(self._head) == 8:
                    self._to, self._left = self._head[0], int.from_bytes(self._head[4:], "big")
                    self._head.clear()
                continue
            take = min(self._left, len(view))
            self._keep(view[:take])
            self._left -= take
            view = view[take:]

    def _keep(self, data: memoryview) -> None:
        if self._to == 2:
            self.stderr += data
            del self.stderr[:-STDERR_TAIL]
            return
        room = STDOUT_CAP - len(self.stdout)
        self.stdout += data[:room]
        self.overflow = self.overflow or len(data) > room


class Hooks:
    """Runs scripts in containers. `_wakes` and `_stopping` change only under `_lock`.

    `_entered` changes only under `_entering`, which is held while what an earlier service left is ended: nobody
    starts a script in that container meanwhile.
    """

    def __init__(self, endpoint: Endpoint, clients: Clients, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clients = clients
        self._clock = clock
        self._lock = Lock()
        self._wakes: set[int] = set()
        self._stopping = False
        self._entering = Lock()
        self._entered: set[str] = set()

    def run(self, container: str, script: bytes, env: Mapping[str, str], timeout: float) -> ExecResult:
        """Run a script to its end, at most `timeout` seconds. See `Engine.exec`.

        Raises `AppError("HookFailed", …)` when it could not be started.
        """
        due = self._clock.monotonic() + timeout
        marker = uuid4().hex
        output = _Output()
        with self._attended() as wake:
            self._enter(container)
            exec_id = self._create(container, _SHELL, {**env, MARKER: marker}, stdin=True)
            stream = self._start(exec_id)
            try:
                end = self._attend(stream, script, output, exec_id, due, wake)
            finally:
                # First this, then the rest: while output waits for a reader, the engine tells no exit of
                # any exec in that container.
                stream.close()
                # After a good end, too: what the script left in the background has no business there, unless the script
                # took the marker off it on purpose (docs/app-format.md).
                self._end_all(container, marker)
            code = self._exit_code(exec_id)
        if end == "interrupted":
            raise Interrupted("a hook was ended: the service is stopping")
        if end != "done" and code == 0:
            code = 137
        tail = redact(output.stderr.decode("utf-8", "replace"), _secrets(env))
        return ExecResult(code, bytes(output.stdout), tail, end == "timeout", output.overflow)

    def interrupt(self) -> None:
        """End all running scripts at once, and start no more."""
        with self._lock:
            self._stopping = True
            for wake in self._wakes:
                os.eventfd_write(wake, 1)

    @contextmanager
    def _attended(self) -> Iterator[int]:
        wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            with self._lock:
                if self._stopping:
                    raise Interrupted("the service is stopping; no hook was started")
                self._wakes.add(wake)
            try:
                yield wake
            finally:
                with self._lock:
                    self._wakes.discard(wake)
        finally:
            os.close(wake)

    def _enter(self, container: str) -> None:
        """Before our first script in a container: those of a service that was killed run on there, and the same
        script a second time beside itself may spoil what it sets up."""
        with self._entering:
            if container not in self._entered:
                if self._runs_any(container):
                    self._end_all(container, "")
                self._entered.add(container)

    def _runs_any(self, container: str) -> bool:
        from docker.errors import NotFound

        try:
            details = self._clients.read(
                "inspecting a container", lambda api: api.inspect_container(container), missing=True
            )
        except NotFound:
            return False
        return bool(details["ExecIDs"])

    def _create(self, container: str, argv: list[str], env: Mapping[str, str], *, stdin: bool) -> str:
        from docker.errors import NotFound

        try:
            with self._clients.borrow("a hook could not be started", "HookFailed", missing=True) as api:
                made: dict[str, Any] = api.exec_create(container, argv, stdin=stdin, environment=dict(env))
        except NotFound as error:
            raise AppError("HookFailed", f"container {container[:12]} is gone") from error
        return str(made["Id"])

    def _start(self, exec_id: str) -> Stream:
        if self._endpoint.cert_path:
            raise AppError(
                "HookFailed", "hooks need an engine on a Unix socket: TLS cannot end an input alone"
            )
        path = f"/v{self._clients.api_version()}/exec/{exec_id}/start"
        with translated("starting a hook", None, self._endpoint.host):
            try:
                return hijack(self._endpoint, path, {"Tty": False, "Detach": False}, TIMEOUT)
            except Refused as error:
                raise AppError("HookFailed", f"a hook could not be started: {redact(str(error))}") from error

    def _attend(
        self, stream: Stream, script: bytes, output: _Output, exec_id: str, due: float, wake: int
    ) -> End:
        unsent = memoryview(script)
        if not unsent:
            stream.end_input()
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        gone_at: float | None = None  # when the main process was first seen to be gone
        while True:
            now = self._clock.monotonic()
            if now >= due:
                return "timeout"
            poll.register(stream, select.POLLIN | (select.POLLOUT if unsent else 0))
            ready = dict(poll.poll(1000 * min(_LOOK, due - now)))
            if wake in ready:
                return "interrupted"
            with translated("talking to a hook", None, self._endpoint.host):
                happened = ready.get(stream.fileno(), 0)
                if happened & select.POLLOUT and unsent:
                    unsent = unsent[stream.send(unsent[:65536].tobytes()) :]
                    if not unsent:
                        stream.end_input()
                if happened & ~select.POLLOUT:
                    data = stream.read()
                    if not data:
                        return "done"
                    output.feed(data)
            if output.overflow:
                return "overflow"
            if not ready and not self._is_running(exec_id):
                # Something in the background holds the output open: one more look, then it is ended.
                if gone_at is not None:
                    return "done"
                gone_at = now

    def _is_running(self, exec_id: str) -> bool:
        from docker.errors import NotFound

        try:
            return bool(
                self._clients.read("inspecting a hook", lambda api: api.exec_inspect(exec_id), missing=True)[
                    "Running"
                ]
            )
        except NotFound:
            return False

    def _exit_code(self, exec_id: str) -> int:
        from docker.errors import NotFound

        due = self._clock.monotonic() + _LINGER
        poll = select.poll()
        while True:
            try:
                state = self._clients.read(
                    "inspecting a hook", lambda api: api.exec_inspect(exec_id), missing=True
                )
            except NotFound:
                return 137  # the container is gone, and the script with it
            if not state["Running"] and state["ExitCode"] is not None:
                return int(state["ExitCode"])
            if self._clock.monotonic() >= due:
                return 137
            poll.poll(20)  # the stream ends a moment before the engine knows the exit status

    def _end_all(self, container: str, marker: str) -> None:
        """End every process of the script with this marker; of any script, when it is empty."""
        # A container that died or is frozen cannot be entered; then there is nothing to end, or no way to.
        with suppress(HomeportError, OSError):
            exec_id = self._create(container, ["sh", "-c", _ENDER], {"HOMEPORT_END": marker}, stdin=False)
            stream = self._start(exec_id)
            due = self._clock.monotonic() + _ENDING
            try:
                while (left := due - self._clock.monotonic()) > 0 and stream.wait(left) and stream.read():
                    pass
            finally:
                stream.close()


def _secrets(env: Mapping[str, str]) -> list[str]:
    # The consumer's name and version are told to the script as well, and are in every message anyway.
    return [value for key, value in env.items() if not key.endswith(("_APP", "_VERSION"))]
