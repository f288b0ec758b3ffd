"""Server: answers verbs and queries over HTTP/1.1 on a Unix socket, one thread a connection, each bounded.

Who may ask is root, the service's own user, and the group of the socket file (0660). What a verb does is the control
room's.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from controller.api.address import short_path
from controller.control import queries, verbs
from controller.control.errors import Refused, UnknownApp
from controller.control.service import Service
from controller.model.errors import AppError, EngineUnreachable, HomeportError, Interrupted, StateUnusable

_Answer = Callable[[Service, Mapping[str, Any]], Mapping[str, Any]]
BODY_LIMIT = 1024 * 1024
"""Bytes of a request's body that are read."""
CONNECTIONS = 32
"""Connections at a time; one more is answered with 503."""
PATIENCE = 30.0
"""Seconds for which a client may keep us waiting for its next byte."""
GRACE = 5.0
"""Seconds for running answers when the server stops."""


_PEER = struct.Struct("=iII")  # pid, user, group
_SO_PEERGROUPS = 59  # of Linux; the module socket does not name it


class BadRequest(HomeportError):
    """The request is not one we know; `status` is the HTTP status that says so."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


class ApiServer:
    """The socket and its threads. The caller holds the state lock, so a socket file that is there is stale."""

    def __init__(self, service: Service, socket_path: Path) -> None:
        self._service = service
        self._path = Path(socket_path)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and answer from now on. Raises `StateUnusable` when the socket cannot be made."""
        try:
            if self._path.is_socket():
                self._path.unlink()
            self._server = _Server(self._path, self._service)
        except OSError as problem:
            raise StateUnusable(
                f"cannot listen on {self._path}: {problem.strerror or problem}. "
                "Give --listen a path in a folder that exists and is writable"
            ) from problem
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="homeport-api", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no more; running answers get a few seconds, then every connection is closed. Joins all threads."""
        server, self._server = self._server, None
        if server is None:
            return
        self._path.unlink(missing_ok=True)
        server.shutdown()
        if self._thread is not None:
            self._thread.join()
        server.server_close()
        server.end_connections(GRACE)


class _Server(socketserver.UnixStreamServer):
    """Accepts, and gives each connection a thread that is known, so that stopping can end it.

    `_guard` protects `_open`.
    """

    request_queue_size = 64

    def __init__(self, path: Path, service: Service) -> None:
        self.service = service
        self._path = path
        self._guard = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._count = 0
        super().__init__(str(path), _Handler)

    def server_bind(self) -> None:
        with short_path(self._path) as path:
            self.socket.bind(path)
        # Nobody can connect before `listen`, so there is no moment with other rights.
        self._path.chmod(0o660)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """The file's rights say so already, unless somebody has opened them: then a stranger still has no say."""
        welcome = _is_welcome(request, self._path)
        if not welcome:
            text = "permission denied; be a member of the socket's group, or use sudo"
            _refuse(request, HTTPStatus.FORBIDDEN, text)
        return welcome

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            full = len(self._open) >= CONNECTIONS
            if not full:
                self._count += 1
                thread = threading.Thread(
                    target=self._answer,
                    args=(request, client_address),
                    name=f"homeport-api-{self._count}",
                    daemon=True,
                )
                try:
                    thread.start()
                except RuntimeError:  # no more threads on this machine
                    full = True
                else:
                    self._open[thread] = request
        if full:
            text = f"the service has {CONNECTIONS} open requests; try again"
            _refuse(request, HTTPStatus.SERVICE_UNAVAILABLE, text)
            self.shutdown_request(request)

    def _answer(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # The client is gone, or we are stopping; there is nobody to tell.
        finally:
            with self._guard:
                self._open.pop(threading.current_thread(), None)
                self.shutdown_request(request)

    def end_connections(self, grace: float) -> None:
        """Read no more requests, let answers out, then cut."""
        for how, patience in ((socket.SHUT_RD, grace), (socket.SHUT_RDWR, 1.0)):
            with self._guard:
                left = dict(self._open)
                for connection in left.values():
                    try:
                        connection.shutdown(how)
                    except OSError:
                        continue  # closed by the other side already
            deadline = self.service.clock.monotonic() + patience
            for thread in left:
                thread.join(max(0.0, deadline - self.service.clock.monotonic()))


def _is_welcome(connection: socket.socket, path: Path) -> bool:
    try:
        group = path.stat().st_gid
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        _, user, own = _PEER.unpack(peer)
        others = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    except OSError:
        return False
    groups = (own, *(number for (number,) in struct.iter_unpack("=I", others)))
    return user in (0, os.geteuid()) or group in groups


def _refuse(connection: socket.socket, status: HTTPStatus, text: str) -> None:
    body = json.dumps({"error": text}).encode()
    head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    try:
        connection.setblocking(False)
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
    except OSError:
        return


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "homeport"
    sys_version = ""
    timeout = PATIENCE
    server: _Server

    def do_GET(self) -> None:
        """Questions without a body."""
        self._route("GET")

    def do_POST(self) -> None:
        """Verbs."""
        self._route("POST")

    def _route(self, method: str) -> None:
        try:
            body = self._body()
            status, document = HTTPStatus.OK, self._answer(method, body)
        except BadRequest as problem:
            status, document = problem.status, _error(problem)
        except UnknownApp as problem:
            status, document = HTTPStatus.NOT_FOUND, _error(problem)
        except (EngineUnreachable, Interrupted) as problem:
            status, document = HTTPStatus.SERVICE_UNAVAILABLE, _error(problem)
        except (AppError, Refused) as problem:
            status, document = HTTPStatus.CONFLICT, _error(problem)
        except OSError:
            raise  # the connection, not the request
        except Exception as problem:  # a request must be answered whatever is wrong with us
            status, document = HTTPStatus.INTERNAL_SERVER_ERROR, _error(problem)
        self._send(status, document)

    def _answer(self, method: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        path = self.path.partition("?")[0]
        route = _ROUTES.get(path)
        if route is None:
            raise BadRequest(
                f"there is no {path}; there are {', '.join(sorted(_ROUTES))}", HTTPStatus.NOT_FOUND
            )
        wanted, act = route
        if method != wanted:
            raise BadRequest(f"{path} wants {wanted}, not {method}", HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            return act(self.server.service, body)
        except OSError as problem:
            raise HomeportError(f"{path} failed: {problem}") from problem

    def _body(self) -> Mapping[str, Any]:
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            raise BadRequest("send a Content-Length, not a Transfer-Encoding", HTTPStatus.LENGTH_REQUIRED)
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            self.close_connection = True
            raise BadRequest(f"Content-Length is {length!r}, not a number")
        if int(length) > BODY_LIMIT:
            self.close_connection = True
            raise BadRequest(f"the body is over {BODY_LIMIT} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        raw = self.rfile.read(int(length))
        try:
            body = json.loads(raw) if raw else {}
        except (ValueError, RecursionError) as problem:
            raise BadRequest(f"the body is not JSON: {problem}") from problem
        if not isinstance(body, dict):
            raise BadRequest("the body is not a JSON object")
        return body

    def _send(self, status: HTTPStatus, document: Mapping[str, Any]) -> None:
        payload = json.dumps(document, default=str).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(payload)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself finds wrong, in our shape."""
        self.close_connection = True
        self._send(HTTPStatus(code), {"error": message or HTTPStatus(code).phrase})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Requests are not logged; what they lead to is."""


def _error(problem: Exception) -> dict[str, Any]:
    text = str(problem)
    if not isinstance(problem, HomeportError):
        text = f"the service made a mistake: {type(problem).__name__}: {text}"
    return {"error": text, "kind": type(problem).__name__}


def _reconcile(service: Service, body: Mapping[str, Any]) -> Mapping[str, Any]:
    verb = verbs.Reconcile(_names(body), _flag(body, "dryRun"), _flag(body, "newEngine"))
    return {"actions": [queries.action_document(action) for action in verbs.reconcile(service, verb)]}


def _plan(service: Service, body: Mapping[str, Any]) -> Mapping[str, Any]:
    plans = verbs.plan(service, verbs.PlanQuery(_names(body)))
    return {
        "plans": [
            {"app": app, "actions": [queries.action_document(action) for action in plan.actions]}
            for app, plan in plans
        ]
    }


def _status(service: Service, _body: Mapping[str, Any]) -> Mapping[str, Any]:
    return queries.status_document(service.store, service.describe(), service.clock.now(), None)


def _prune(service: Service, body: Mapping[str, Any]) -> Mapping[str, Any]:
    verb = verbs.Prune(_flag(body, "approve"))
    return {"held": list(verbs.prune(service, verb)), "approved": verb.approve}


def _suspend(service: Service, body: Mapping[str, Any]) -> Mapping[str, Any]:
    app = _name(body)
    verbs.suspend(service, verbs.Suspend(app))
    return {"app": app, "suspended": True}


def _resume(service: Service, body: Mapping[str, Any]) -> Mapping[str, Any]:
    app = _name(body)
    verbs.resume(service, verbs.Resume(app))
    return {"app": app, "suspended": False}


def _wish(kind: type[verbs.Wish]) -> _Answer:
    def act(service: Service, body: Mapping[str, Any]) -> Mapping[str, Any]:
        app = _name(body)
        wish = verbs.Rollback(app, _text(body, "revision")) if kind is verbs.Rollback else kind(app)
        return {"actions": [queries.action_document(action) for action in verbs.act(service, wish)]}

    return act


def _purge(service: Service, body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"purged": list(verbs.purge(service, verbs.Purge(_name(body), _names(body, "volumes"))))}


_ROUTES: Mapping[str, tuple[str, _Answer]] = {
    "/v1/reconcile": ("POST", _reconcile),
    "/v1/plan": ("POST", _plan),
    "/v1/status": ("GET", _status),
    "/v1/prune": ("POST", _prune),
    "/v1/suspend": ("POST", _suspend),
    "/v1/resume": ("POST", _resume),
    **{f"/v1/{word}": ("POST", _wish(kind)) for word, kind in verbs.WISHES.items()},
    "/v1/purge": ("POST", _purge),
}


def _names(body: Mapping[str, Any], key: str = "apps") -> tuple[str, ...]:
    names = body.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BadRequest(f'"{key}" is not a list of names')
    return tuple(names)


def _name(body: Mapping[str, Any]) -> str:
    app = body.get("app")
    if not isinstance(app, str) or not app:
        raise BadRequest('"app" is not a name')
    return app


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str):
        raise BadRequest(f'"{key}" is not a text')
    return value


def _flag(body: Mapping[str, Any], key: str) -> bool:
    value = body.get(key, False)
    if not isinstance(value, bool):
        raise BadRequest(f'"{key}" is neither true nor false')
    return value
