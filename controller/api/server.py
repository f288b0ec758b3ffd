"""Server: the API's sockets, and the one thread in which its loop runs.

Who may ask on the Unix socket is root, the service's own user, and the group of the socket file (0660); on loopback TCP,
which is off by itself, anybody of this machine, and questions alone. What is answered does not belong here.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from controller.api.address import short_path
from controller.control.service import RunningService
from controller.model.errors import StateUnusable

if TYPE_CHECKING:
    from controller.api.serving import Serving

BACKLOG = 64
"""Connections that may wait to be let in."""
GRACE = 5.0
"""Seconds for running answers when the server stops."""


class ApiServer:
    """The sockets and the thread. The caller holds the state lock, so a socket file that is there is stale."""

    def __init__(
        self, service: RunningService, socket_path: Path, tcp: tuple[str, int] | None = None
    ) -> None:
        self._service = service
        self._path = Path(socket_path)
        self._tcp = tcp
        self._serving: Serving | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and answer from now on. Raises `StateUnusable` when a socket cannot be made."""
        from controller.api.serving import Serving  # 60 ms and 4 MiB, for the service alone

        sockets = [self._listen_unix()]
        try:
            if self._tcp is not None:
                sockets.append(_listen_tcp(self._tcp))
            self._serving = Serving(self._service, self._path, sockets)
            self._thread = threading.Thread(target=self._serving.run, name="homeport-api", daemon=True)
            self._thread.start()
        except BaseException:
            for one in sockets:
                one.close()
            self._path.unlink(missing_ok=True)
            raise

    def stop(self) -> None:
        """Take no more; running answers get a few seconds, then every connection is closed. Joins all threads but those
        that are stuck in an answer."""
        serving, self._serving = self._serving, None
        if serving is None or self._thread is None:
            return
        self._path.unlink(missing_ok=True)
        serving.end()
        self._thread.join(2 * GRACE)
        for thread in serving.helpers():
            thread.join(1.0)

    def tell_news(self) -> None:
        """An event was told: the streams look for it."""
        if self._serving is not None:
            self._serving.tell_news()

    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._serving is not None and self._thread is not None and self._thread.is_alive()

    def comes_round(self, patience: float) -> bool:
        """Whether its loop does what it is called for within so many seconds."""
        serving = self._serving
        return serving is not None and serving.comes_round(patience)

    def _listen_unix(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self._path.is_socket():
                self._path.unlink()
            with short_path(self._path) as path:
                listener.bind(path)
            # Nobody can connect before `listen`, so there is no moment with other rights.
            self._path.chmod(0o660)
            listener.listen(BACKLOG)
        except OSError as problem:
            listener.close()
            raise StateUnusable(
                f"cannot listen on {self._path}: {problem.strerror or problem}. "
                "Give --listen a path in a folder that exists and is writable"
            ) from problem
        return listener


def _listen_tcp(address: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A port whose last connections are not forgotten yet can be had again at once.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as problem:
        listener.close()
        raise StateUnusable(
            f"cannot listen on {address[0]} port {address[1]}: {problem.strerror or problem}. Give --listen-tcp a free port"
        ) from problem
    return listener
