"""Systemd: tells whoever started the service that it is ready, alive, or on its way out.

One datagram each to the socket in NOTIFY_SOCKET (sd_notify(3)); without it nothing is said and no thread is started.
What alive means is asked of whoever knows.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping

import structlog

log = structlog.get_logger("homeport")

_LAST_LOOK = 2.0
"""Seconds that a stop waits for a look that is under way."""


class Supervisor:
    """The one who watches over the service from outside. A message that cannot be sent stops nothing."""

    def __init__(
        self,
        trouble: Callable[[float], str],
        words: Callable[[], str],
        tell: Callable[[str, str, str], None],
        monotonic: Callable[[], float],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """`trouble`: what keeps the service from its work, or ""; it may wait for about so many seconds. While there is some
        the watchdog is not fed. `words`: one line of how it is, shown by `systemctl status`. `tell`: called with event
        name, message and level. `monotonic`: seconds of a clock that only goes on."""
        self._tell, self._monotonic = tell, monotonic
        self._trouble, self._words = trouble, words
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._beat, self._patience = beat_and_patience(environment) if self._address else (0.0, 0.0)
        self._changed = threading.Condition()
        self._stopping = False  # guarded by _changed
        self._thread: threading.Thread | None = None

    def ready(self) -> None:
        """The service does its work from now on. Where a watchdog waits for it, it is fed until `stopping`."""
        self._send("READY=1", self._status())
        if self._beat:
            self._thread = threading.Thread(target=self._feed, name="homeport-watchdog", daemon=True)
            self._thread.start()

    def refresh(self) -> None:
        """Show how the service is by now."""
        self._send(self._status())

    def stopping(self) -> None:
        """The service ends; what that takes is bounded by the unit's time for a stop. May be called at any time."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_LAST_LOOK)
        self._send("STOPPING=1")

    def _feed(self) -> None:
        unwell = 0
        while True:
            began = self._monotonic()
            trouble = self._look()
            if self._is_over(0.0):
                return
            unwell = unwell + 1 if trouble else 0
            if not trouble:
                self._send("WATCHDOG=1", self._status())
            elif unwell == 2:  # one alone may be a machine that is busy for a moment
                message = f"the service does not do its work; who started it may start it anew: {trouble}"
                self._tell("service.unwell", message, "error")
            if self._is_over(max(0.0, began + self._beat - self._monotonic())):
                return

    def _is_over(self, seconds: float) -> bool:
        """Whether the service stops, within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopping, seconds)

    def _look(self) -> str:
        try:
            return self._trouble(self._patience)
        except Exception as problem:  # whoever cannot tell is not well
            message = "whether the service is well cannot be found out"
            log.exception("service.unwell", message=message)
            return f"{message}: {type(problem).__name__}"

    def _status(self) -> str:
        if not self._address:
            return ""
        with contextlib.suppress(Exception):  # words are no reason to be taken for dead
            return f"STATUS={self._words()}"
        return ""

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # A name that begins with @ is one of the kernel's, and none of a file.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        text = "\n".join(line.replace("\n", " ") for line in lines if line)
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)  # a supervisor that does not read must not hold up the service
            out.sendto(text.encode(), address)


def beat_and_patience(environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds from one look to the next, and those that one may wait: a quarter and a third of the time within which
    systemd waits for a sign of life. Two looks that find nothing good then end, and are told, within it.

    0 where it waits for none of ours.
    """
    try:
        if int(environment.get("WATCHDOG_PID") or os.getpid()) != os.getpid():
            return 0.0, 0.0
        seconds = max(0, int(environment.get("WATCHDOG_USEC") or 0)) / 1e6
    except ValueError:
        return 0.0, 0.0
    return seconds / 4, seconds / 3
