"""Plain HTTP as any client speaks it, on a Unix socket or a TCP address, with nothing of Homeport's own client."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Address = Path | tuple[str, int]


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By name in small letters."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


def connect(address: Address, timeout: float = 15.0) -> socket.socket:
    """A connection to a Unix socket or a TCP address."""
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(str(address))
    except OSError:
        connection.close()
        raise
    return connection


def answers(address: Address) -> bool:
    """Whether somebody listens there."""
    try:
        connect(address).close()
    except OSError:
        return False
    return True


def ask(
    address: Address,
    method: str,
    path: str,
    body: object | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request on a connection of its own; `body` is sent as JSON."""
    given = {} if headers is None else dict(headers)
    with connect(address) as sock:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = sock
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, given)
        answer = connection.getresponse()
        reply = Reply(
            answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        )
        connection.close()
    return reply
