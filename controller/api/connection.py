"""Connection: one client over HTTP/1.1, held to limits: who it is, how many there are, how long it may keep us waiting.

uvicorn speaks the protocol; this is what it leaves open. What is answered does not belong here.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from controller.api.endpoints import KINDS

PATIENCE = 30.0
"""Seconds for which a client may keep us waiting: for its request, and to take what it is sent."""

_PEER = struct.Struct("=iII")  # pid, user, group
_SO_PEERGROUPS = 59  # of Linux; the module socket does not name it


@dataclass
class Door:
    """Where clients come in, and the application that answers there. Each door has limits of its own, so that who may
    use one cannot keep others from another."""

    app: Any
    connections: int
    """At a time; one more is answered with 503."""
    socket_path: Path | None = None
    """Of a Unix socket: its group may come in."""
    inside: set[Connection] = field(default_factory=set)


class Connection(H11Protocol):
    """One client. Lives in the loop's thread alone."""

    def __init__(self, *arguments: Any, doors: Mapping[int, Door], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._doors = doors
        self._door: Door | None = None
        # The whole head has to come in time, however slowly its bytes do; the body is the application's to wait for.
        self._head = _Patience(self.loop, self.cut)
        self._taking = _Patience(self.loop, self.cut)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, or say why not."""
        super().connection_made(transport)
        # None of an answer is kept for a client that does not take it, but for what the kernel keeps.
        transport.set_write_buffer_limits(high=0)
        connection = transport.get_extra_info("socket")
        door = self._doors[connection.family]
        if door.socket_path is not None and not _is_welcome(connection, door.socket_path):
            text = "permission denied; be a member of the socket's group, or use sudo"
            self._refuse(HTTPStatus.FORBIDDEN, text)
        elif len(door.inside) >= door.connections:
            text = f"the service has {door.connections} open connections; try again"
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, text)
        else:
            self._door = door
            door.inside.add(self)
            self.app = door.app
            self._head.on()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone, whoever ended it."""
        if self._door is not None:
            self._door.inside.discard(self)
        self._head.off()
        self._taking.off()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A piece of a request."""
        super().data_received(data)
        if self._is_answering():
            self._head.off()

    def on_response_complete(self) -> None:
        """The next request may come, or has come already."""
        super().on_response_complete()
        if not self._is_answering() and not self.transport.is_closing():
            self._head.on()

    def pause_writing(self) -> None:
        """It has not taken all yet."""
        super().pause_writing()
        self._taking.on()

    def resume_writing(self) -> None:
        """It has."""
        self._taking.off()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, answered in our shape."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def cut(self) -> None:
        """End it, whatever is under way."""
        self.transport.abort()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        body = json.dumps({"error": text, "kind": KINDS[status]}).encode()
        head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self.transport.close()


class _Patience:
    """Calls `over` when it has been on for so long."""

    def __init__(self, loop: asyncio.AbstractEventLoop, over: Callable[[], None]) -> None:
        self._loop, self._over = loop, over
        self._timer: asyncio.TimerHandle | None = None

    def on(self) -> None:
        self.off()
        self._timer = self._loop.call_later(PATIENCE, self._over)

    def off(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_welcome(connection: socket.socket, path: Path) -> bool:
    """The file's rights say so already, unless somebody has opened them: then a stranger still has no say."""
    try:
        group = path.stat().st_gid
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        _, user, own = _PEER.unpack(peer)
        others = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    except OSError:
        return False
    groups = (own, *(number for (number,) in struct.iter_unpack("=I", others)))
    return user in (0, os.geteuid()) or group in groups
