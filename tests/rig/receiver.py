"""A service that takes messages over HTTP, as Apprise's `json://` sends them."""

from __future__ import annotations

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "pa55w0rd"
"""In its address, and nowhere else."""


class Receiver:
    """A service that takes messages: what was sent to it, and how it answers."""

    def __init__(self) -> None:
        self.got: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code = receiver.answers.pop(0) if receiver.answers else 200
                if code == 200:
                    receiver.got.put(json.loads(body))
                self.send_response(code)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:{SECRET}@127.0.0.1:{self.server.server_port}/hook"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def next(self, timeout: float = 20) -> dict[str, Any]:
        """The next message that it took."""
        return self.got.get(timeout=timeout)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()
