"""A registry that answers every request as it is told: an error status, slowly, or not at all.

For what a real one (see `registry`) does only on a bad day. No image ever comes from it.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class BadRegistry:
    """Listens on the loopback, which the engine of the tests reaches. `status` and `asked` may be used at any time."""

    def __init__(self) -> None:
        self.status = 500
        """What requests for a manifest are answered with; 0: nothing at all, the connection is held."""
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        """Paths of the manifests that were asked for, in order."""
        self._over = threading.Event()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                registry._answer(self)

            do_HEAD = do_GET  # noqa: N815 - http.server calls it by this name

            def log_message(self, *_: object) -> None:
                """The test run's output is not its log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def reference(self, image: str) -> str:
        """What a compose file says to get `name:tag` from here."""
        return f"127.0.0.1:{self._server.server_port}/{image}"

    def close(self) -> None:
        """Returns when every request has ended."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        status, body = 200, b"{}"
        if "/manifests/" in request.path:
            self.asked.append(request.path)
            while self.status == 0 and not self._over.wait(0.05):
                pass
            status = self.status or 503
            error = {"code": "TOOMANYREQUESTS" if status == 429 else "DENIED", "message": "not today"}
            body = json.dumps({"errors": [error]}).encode()
        request.send_response(status)
        for name, value in {**self.headers, "Content-Type": "application/json"}.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)
