"""A Unix socket in front of an engine that passes everything on until it is told to do harm.

What it can do to a connection: cut it, hold it, close it unanswered, answer in the engine's place; and to an event
stream: swallow or garble it. What the engine behind it does is the engine's.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

_CHUNK = 65536


class EngineProxy:
    """Listens on `path`, speaks to the engine at `engine` (both as unix://…). Change the fields at any time."""

    def __init__(self, path: Path, engine: str) -> None:
        self.path = path
        self.host = f"unix://{path}"
        self.engine = engine
        self.drop: Callable[[int], bool] = lambda _number: False
        """Which connections, by their number from 0, are closed before a byte is passed on."""
        self.answer: Callable[[bytes], bytes] = lambda _request: b""
        """What is answered to a request in the engine's place; nothing: the engine answers."""
        self.swallow_events = False
        """What the engine tells on event streams is thrown away; the streams stay open."""
        self.events_say: bytes = b""
        """Put once into each event stream, ahead of what the engine says next."""
        self.count = 0
        self._lock = threading.Lock()
        self._open: dict[socket.socket, bool] = {}  # ours to close; True for those of an event stream
        self._threads: list[threading.Thread] = []
        self._server: socket.socket | None = None
        self.listen()

    def listen(self) -> None:
        """Make the socket, as a daemon does that starts; a file that is in the way is replaced."""
        self.path.unlink(missing_ok=True)
        server = self._server = socket.socket(socket.AF_UNIX)
        server.bind(str(self.path))
        server.listen(128)
        self._spawn(self._accept, server)

    def shut(self, *, keep_file: bool = False) -> None:
        """Cut every connection and take no more; the file goes, unless it is kept as a crash keeps it."""
        server, self._server = self._server, None
        if server is not None:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        self.cut()
        if not keep_file:
            self.path.unlink(missing_ok=True)

    def cut(self, *, only_events: bool = False) -> int:
        """Cut what is open now; answers with how many connections that were."""
        with self._lock:
            doomed = [sock for sock, events in self._open.items() if events or not only_events]
        for sock in doomed:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        return len(doomed) // 2

    @property
    def streams(self) -> int:
        """How many event streams are open."""
        with self._lock:
            return sum(self._open.values()) // 2

    def close(self) -> None:
        """Everything is closed and every thread has ended."""
        self.shut()
        for thread in self._threads:
            thread.join(10)

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="engine-proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            number, self.count = self.count, self.count + 1
            if self.drop(number):
                client.close()
            else:
                self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX)
        try:
            engine.connect(self.engine.removeprefix("unix://"))
            request = client.recv(_CHUNK)
            events = b"/events?" in request.partition(b"\r\n")[0]
            with self._lock:
                self._open |= {client: events, engine: events}
            self._ask(request, client, engine)
            up = threading.Thread(target=self._pass, args=(client, engine), name="engine-proxy", daemon=True)
            up.start()
            self._answer(engine, client, events)
            up.join()
        except OSError:
            return  # cut; the other side sees it
        finally:
            with self._lock:
                self._open.pop(client, None)
                self._open.pop(engine, None)
            client.close()
            engine.close()

    def _answer(self, engine: socket.socket, client: socket.socket, events: bool) -> None:
        headed = False
        with contextlib.suppress(OSError):
            while data := engine.recv(_CHUNK):
                if events and headed:
                    if self.swallow_events:
                        continue
                    data, self.events_say = self.events_say + data, b""
                headed = True
                client.sendall(data)
        for sock in (client, engine):
            with contextlib.suppress(OSError):
                # All of an event stream's ends, and of others only ours: a hook's input may still come.
                sock.shutdown(socket.SHUT_RDWR)

    def _ask(self, data: bytes, client: socket.socket, engine: socket.socket) -> None:
        if answer := self.answer(data):  # a request is sent in one piece, and the next one after its answer
            client.sendall(answer)
        else:
            engine.sendall(data)

    def _pass(self, client: socket.socket, engine: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_CHUNK):
                self._ask(data, client, engine)
            engine.shutdown(socket.SHUT_WR)  # half-closed, as a hook's script is
