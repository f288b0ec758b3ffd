"""Answers that do not end: the event stream and a hook's streams, each on a socket of its own.

The SDK reads such answers through buffers that swallow the first bytes of a hijacked stream and turn a
time-out into a normal end. Here the caller has the bare socket: it can wait, wake up and close as it likes.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from controller.engine.endpoint import Endpoint

_HEAD_CAP = 65536


class Refused(Exception):
    """The engine answered with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Stream:
    """A socket on which an answer has begun. Everything that is left to read is the answer's body."""

    def __init__(self, sock: socket.socket, rest: bytes) -> None:
        self._sock = sock
        self._rest = rest
        self._woken = -1
        """Readable when a `wait` is to end at once; -1 when nobody can end one."""

    def fileno(self) -> int:
        return self._sock.fileno()

    def wait(self, seconds: float) -> bool:
        """Whether there is something to read (or the end) within so many seconds, or until somebody wakes us."""
        if self._rest or (hasattr(self._sock, "pending") and self._sock.pending()):
            return True
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        if self._woken >= 0:
            poll.register(self._woken, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)}
        if self._woken in ready:
            os.eventfd_read(self._woken)
        return self._sock.fileno() in ready

    def can_be_woken(self) -> None:
        """From now on `wake` ends a `wait`."""
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def wake(self) -> None:
        """End the `wait` that another thread is in, or is about to begin. Not after `close`."""
        os.eventfd_write(self._woken, 1)

    def read(self, size: int = 65536) -> bytes:
        """What is there, at least one byte; b"" at the end. Blocks up to the connection's time-out."""
        if self._rest:
            data, self._rest = self._rest[:size], self._rest[size:]
            return data
        return self._sock.recv(size)

    def send(self, data: bytes) -> int:
        """Send what fits now."""
        return self._sock.send(data)

    def end_input(self) -> None:
        """Half-close: the other side reads an end of file, we go on reading."""
        self._sock.shutdown(socket.SHUT_WR)

    def shut(self) -> None:
        """Make a reader in another thread see the end, now."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other side was first

    def close(self) -> None:
        self._sock.close()
        if self._woken >= 0:
            os.close(self._woken)
            self._woken = -1


def connect(endpoint: Endpoint, timeout: float) -> socket.socket:
    """A connected socket whose every operation is bounded by `timeout` seconds. Raises `OSError`."""
    if endpoint.is_local:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.connect(endpoint.socket_path)
        except BaseException:
            sock.close()
            raise
        return sock
    plain = socket.create_connection(endpoint.address, timeout=timeout)
    if not endpoint.cert_path:
        return plain
    try:
        return endpoint.ssl_context().wrap_socket(plain, server_hostname=endpoint.address[0])
    except BaseException:
        plain.close()
        raise


def get(endpoint: Endpoint, path: str, query: Mapping[str, str], timeout: float) -> Stream:
    """Begin a GET whose body is read as it comes. Raises `Refused` and `OSError`."""
    # HTTP/1.0 on purpose: the body is then not cut into chunks and ends where the connection does.
    head = f"GET {path}?{urlencode(query)} HTTP/1.0\r\nHost: docker\r\n\r\n"
    return _begin(endpoint, head.encode(), timeout)


def hijack(endpoint: Endpoint, path: str, body: Mapping[str, Any], timeout: float) -> Stream:
    """POST, then take the connection over for raw bytes both ways. Raises `Refused` and `OSError`."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return _begin(endpoint, head.encode() + content, timeout)


def _begin(endpoint: Endpoint, request: bytes, timeout: float) -> Stream:
    sock = connect(endpoint, timeout)
    try:
        sock.sendall(request)
        head, rest = _read_head(sock)
        status = int(head.split(b" ", 2)[1])
        if status >= 400:
            raise Refused(status, _message(sock, rest))
    except (ValueError, IndexError) as error:
        sock.close()
        raise OSError("the engine's answer is not HTTP") from error
    except BaseException:
        sock.close()
        raise
    return Stream(sock, rest)


def _read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(4096)
        if not more or len(data) > _HEAD_CAP:
            raise OSError("the engine closed the connection")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _message(sock: socket.socket, data: bytes) -> str:
    # Not framed by the length that was announced: one small JSON object, and its closing brace is enough.
    while b"}" not in data and len(data) < _HEAD_CAP:
        more = sock.recv(4096)
        if not more:
            break
        data += more
    begin, end = data.find(b"{"), data.rfind(b"}")
    try:
        return str(json.loads(data[begin : end + 1])["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode("utf-8", "replace").strip()
