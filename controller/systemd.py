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


class Supervisor:
    """The one who watches over the service from outside. A message that cannot be sent stops nothing."""

    def __init__(
        self,
        healthy: Callable[[], bool],
        words: Callable[[], str],
        tell: Callable[[str, str, str], None],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """`healthy`: whether the service does its work; while it does not, the watchdog is not fed. `words`: one line of
        how it is, shown by `systemctl status`. `tell`: called with event name, message and level."""
        self._tell = tell
        self._healthy, self._words = healthy, words
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._beat = _beat(environment) if self._address else 0.0
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
            self._thread.join()
        self._send("STOPPING=1")

    def _feed(self) -> None:
        unwell = False
        while True:
            healthy = self._is_healthy()
            if healthy:
                self._send("WATCHDOG=1", self._status())
            elif not unwell:
                message = "a part of the service has ended; who started it may start it anew"
                self._tell("service.unwell", message, "error")
            unwell = not healthy
            with self._changed:
                if self._changed.wait_for(lambda: self._stopping, self._beat):
                    return

    def _is_healthy(self) -> bool:
        try:
            return self._healthy()
        except Exception:  # whoever cannot tell is not well
            log.exception("service.unwell", message="whether the service is well cannot be found out")
            return False

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


def _beat(environment: Mapping[str, str]) -> float:
    """Seconds between two signs of life, half of what systemd waits for one; 0 where it waits for none of ours."""
    try:
        if int(environment.get("WATCHDOG_PID") or os.getpid()) != os.getpid():
            return 0.0
        return max(0.0, int(environment.get("WATCHDOG_USEC") or 0) / 2e6)
    except ValueError:
        return 0.0
