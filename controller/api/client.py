"""Client: asks the running service over its socket, and turns refusals back into errors.

Whether to ask or to do it oneself is the command's choice, and so is how the answer is printed.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from controller.api.address import short_path
from controller.control.errors import Refused, UnknownApp
from controller.model.errors import EngineUnreachable, HomeportError

if TYPE_CHECKING:
    from controller.control.verbs import Wish

_KINDS: Mapping[str, type[HomeportError]] = {
    kind.__name__: kind for kind in (EngineUnreachable, UnknownApp, Refused)
}
CONNECT = 5.0
"""Seconds to get a connection."""
ANSWER = 30.0
"""Seconds for an answer that needs no work; a sweep may take as long as its apps do."""


class ServiceUnreachable(HomeportError):
    """Nobody listens on the socket, or who listens does not answer."""


class ApiClient:
    """One service, by its socket. Every call is a connection of its own; none is kept."""

    def __init__(self, socket_path: Path) -> None:
        self._path = Path(socket_path)

    def answers(self) -> bool:
        """Whether somebody listens."""
        connection = _Connection(self._path)
        try:
            connection.connect()
        except PermissionError as problem:
            raise self._unreachable(problem) from problem
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def reconcile(
        self, apps: Sequence[str] = (), *, dry_run: bool = False, new_engine: bool = False
    ) -> list[dict[str, Any]]:
        """One sweep by the service; returns its actions when everything is at rest."""
        body = {"apps": list(apps), "dryRun": dry_run, "newEngine": new_engine}
        return _rows(self._ask("POST", "/reconcile", body, None), "actions")

    def plan(self, apps: Sequence[str] = ()) -> list[dict[str, Any]]:
        """What a sweep would do, app by app."""
        return _rows(self._ask("POST", "/plan", {"apps": list(apps)}, None), "plans")

    def status(self) -> dict[str, Any]:
        """The status document."""
        return self._ask("GET", "/status", None, ANSWER)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether the service is healthy, and the document of `/readyz`, which has all checks."""
        healthy = self._ask("GET", "/healthz", None, ANSWER, fine=(200, 503))
        return healthy.get("status") == "healthy", self._ask("GET", "/readyz", None, ANSWER, fine=(200, 503))

    def prune(self, *, approve: bool = False) -> list[str]:
        """The held removals; let go when approved."""
        held = self._ask("POST", "/prune", {"approve": approve}, ANSWER).get("held", [])
        return [str(name) for name in held]

    def suspend(self, app: str) -> None:
        """Stop reconciling the app."""
        self._ask("POST", _of(app, "suspend"), None, ANSWER)

    def resume(self, app: str) -> None:
        """Reconcile the app again."""
        self._ask("POST", _of(app, "resume"), None, ANSWER)

    def act(self, wish: Wish) -> list[dict[str, Any]]:
        """Have the wish done; returns the actions when the app is at rest."""
        fields = {key: value for key, value in vars(wish).items() if key != "app"}
        return _rows(self._ask("POST", _of(wish.app, type(wish).__name__.lower()), fields, None), "actions")

    def purge(self, app: str, volumes: Sequence[str]) -> list[str]:
        """Delete volumes of the app with all that is in them; returns their full names."""
        answer = self._ask("POST", _of(app, "purge"), {"volumes": list(volumes)}, None)
        return [str(name) for name in answer.get("purged", [])]

    def _ask(
        self,
        method: str,
        path: str,
        body: object | None,
        timeout: float | None,
        fine: tuple[int, ...] = (200,),
    ) -> dict[str, Any]:
        connection = _Connection(self._path)
        try:
            connection.connect()
            connection.sock.settimeout(timeout)
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, path, payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
            status, raw = response.status, response.read()
        except (OSError, http.client.HTTPException) as problem:
            raise self._unreachable(problem) from problem
        finally:
            connection.close()
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise HomeportError(f"{path} of {self._path} answered {status} with something that is not ours")
        if status not in fine or "error" in answer:
            message = str(answer.get("error", f"the service answered {status}"))
            raise _KINDS.get(str(answer.get("kind")), HomeportError)(message)
        return answer

    def _unreachable(self, problem: Exception) -> ServiceUnreachable:
        reasons: dict[type[Exception], str] = {
            FileNotFoundError: "there is no socket",
            ConnectionRefusedError: "nobody listens",
            PermissionError: "permission denied; be a member of the socket's group, or use sudo",
            TimeoutError: "no answer in time",
        }
        what = reasons.get(type(problem), str(problem) or type(problem).__name__)
        return ServiceUnreachable(
            f"the service cannot be reached at {self._path}: {what}. See `homeport run --help`"
        )


class _Connection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("homeport")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT)
        with short_path(self._path) as path:
            self.sock.connect(path)


def _of(app: str, verb: str) -> str:
    return f"/apps/{quote(app, safe='')}/{verb}"


def _rows(answer: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = answer.get(key, [])
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
