"""What happens on the engine: the stream of events from now on, and what it remembers of an end.

A hint to look, never a fact to act on. On a socket of its own: the SDK's stream waits for ever when the
engine freezes and cannot be ended from another thread.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from threading import Lock
from typing import Any

from controller.engine import observation as seen
from controller.engine import stream
from controller.engine.client import TIMEOUT, Clients
from controller.engine.endpoint import Endpoint
from controller.engine.failures import translated, unreachable
from controller.model.observed import EngineEvent
from controller.model.ports import Clock

SILENCE = 5.0
"""Seconds without an event after which the engine is asked whether it still lives, though nobody wants anything of it."""
QUIET = 1.0
"""Seconds without a sign of life after which it is asked at once when somebody wants something of it."""
ANSWER = 2.5
"""Seconds that it may take to say that it lives."""
_ENDS_KEPT = 4096
_LATE = 3.0  # seconds by which the event of an end may come after it
_NOTED = 0.01  # seconds by which it may come before
_STOP_SHOWS = 330.0  # seconds before an end in which a stop or kill was its cause: databases may take minutes
_NO_ENDS = ("1", "10", "12")  # HUP, USR1, USR2: with these somebody wants files read again or opened anew

# Named one by one: each health check of each container is three exec_* events.
_ACTIONS = (
    "create", "start", "restart", "die", "oom", "stop", "kill", "destroy", "pause", "unpause", "rename",
    "update", "health_status",
)  # fmt: skip

Message = Mapping[str, Any]


class Events:
    """`_open`, `_deaf` and `_ends` change only under `_lock`, which is never held during I/O."""

    def __init__(self, endpoint: Endpoint, clients: Clients, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clients = clients
        self._clock = clock
        self._lock = Lock()
        self._open: set[stream.Stream] = set()
        self._deaf = False
        self._lived = clock.monotonic()
        """When there was a sign of life, or one was asked for; one reference, set by any thread."""
        self._ends: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def follow(self) -> Iterator[EngineEvent]:
        """See `DockerEngine.events`."""
        if self._is_deaf():
            return
        filters = {"type": ["container"], "label": [seen.PROJECT], "event": list(_ACTIONS)}
        # The engine answers a moment before it listens; what happens in between comes by `since`.
        opened = self._ask(filters, {"since": f"{self._clock.now().timestamp() - 1:.9f}"})
        try:
            opened.can_be_woken()
            with self._lock:
                self._open.add(opened)
                if self._deaf:
                    opened.shut()
            yield EngineEvent("", "", "connected", self._clock.now())
            for message in self._until_closed(opened):
                yield seen.event(message)
        finally:
            with self._lock:
                self._open.discard(opened)
            opened.close()

    def close(self) -> None:
        """End all streams, from any thread and for good."""
        with self._lock:
            self._deaf = True
            for one in self._open:
                one.shut()

    def ping(self, patience: float | None = None) -> None:
        """Raises `EngineUnreachable` when the engine does not answer within so many seconds, else `ANSWER`."""
        try:
            stream.get(self._endpoint, "/_ping", {}, ANSWER if patience is None else patience).close()
        except (OSError, stream.Refused) as error:
            raise unreachable(error, self._endpoint.host) from error

    def look_out(self) -> None:
        """Somebody is about to want something of the engine: if it froze, that is to be found out now, and not when
        the silence has been long enough for a time in which nobody wants anything."""
        now = self._clock.monotonic()
        if now - self._lived < QUIET:
            return
        self._lived = now
        with self._lock:
            for one in self._open:
                one.wake()

    def ended_by_itself(self, inspected: Message) -> bool:
        """Whether a container exited with 0, the engine still remembers it, and no stop or kill before it.

        False also when the engine was started since: it has forgotten. Asked once for each end.
        """
        state = inspected["State"]
        finished = seen.stamp(str(state.get("FinishedAt") or ""))
        if state["Status"] != "exited" or state.get("ExitCode") != 0 or not finished:
            return False
        key = (str(inspected["Id"]), finished)
        with self._lock:
            known = self._ends.get(key)
        if known is None:
            known = self._past_end(key[0], seen.seconds(finished)) == 0
            with self._lock:
                self._ends[key] = known
                while len(self._ends) > _ENDS_KEPT:
                    self._ends.popitem(last=False)
        return known

    def exit_code(self, container: str, finished: str) -> int | None:
        """See `Engine.exit_code`. What ended just now may be waited for, for some seconds."""
        return self._past_end(container, seen.seconds(finished)) if finished else None

    def _past_end(self, container: str, finished: float) -> int | None:
        """With what a container ended by itself at that moment; None also when a stop or kill came before that end."""
        if finished > self._clock.now().timestamp() + 1:
            return None  # the clock was set back: the engine would answer when it is that late again
        # An end can be seen a moment before its event. The engine closes the stream at `until`, and waits for it.
        query = {"since": f"{finished - _STOP_SHOWS:.9f}", "until": f"{finished + _LATE:.9f}"}
        asked = self._ask({"container": [container], "event": ["kill", "die"]}, query)
        killed = False
        with closing(asked), translated("reading past events", None, self._endpoint.host):
            for message in _messages(asked):
                about = (message.get("Actor") or {}).get("Attributes") or {}
                if message.get("Action") == "kill":
                    killed = killed or str(about.get("signal")) not in _NO_ENDS
                elif seen.at(message) < finished - _NOTED:
                    killed = False  # that was an earlier end
                else:
                    code = str(about.get("exitCode", ""))
                    return int(code) if code.isdigit() and not killed else None
        return None

    def _ask(self, filters: Mapping[str, list[str]], query: Mapping[str, str]) -> stream.Stream:
        path = f"/v{self._clients.api_version()}/events"
        with translated("reading events", None, self._endpoint.host):
            try:
                return stream.get(self._endpoint, path, {**query, "filters": json.dumps(filters)}, TIMEOUT)
            except stream.Refused as error:
                raise unreachable(error, self._endpoint.host) from error

    def _until_closed(self, opened: stream.Stream) -> Iterator[Message]:
        def patient() -> None:
            # A frozen engine cuts no connection: in silence it has to be asked.
            while not opened.wait(SILENCE):
                self.ping()
                self._lived = self._clock.monotonic()
            self._lived = self._clock.monotonic()

        try:
            yield from _messages(opened, patient)
        except OSError as error:
            if not self._is_deaf():
                raise unreachable(error, self._endpoint.host) from error

    def _is_deaf(self) -> bool:
        with self._lock:
            return self._deaf


def _messages(source: stream.Stream, wait: Callable[[], None] | None = None) -> Iterator[Message]:
    """JSON objects, one a line, until the stream ends; `wait` is called ahead of each read."""
    rest = b""
    while True:
        if wait is not None:
            wait()
        data = source.read()
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from (json.loads(line) for line in lines if line.strip())
