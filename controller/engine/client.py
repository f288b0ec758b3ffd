"""Connections to the engine by the docker SDK: a pool of clients, one borrower each, every call bounded.

The SDK's low-level client is a requests session, which is not made for several threads; a pool instead of
one client a thread makes as many as are used at once and closes them all at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from controller.engine.endpoint import Endpoint
from controller.engine.failures import translated
from controller.engine.stream import connect

TIMEOUT = 10.0
"""Seconds that a call may wait for the next bytes of an answer."""
_TRIES, _PAUSE = 3, 0.2  # for reads, so that nobody hears of an engine that is reloaded in a moment

T = TypeVar("T")


class Clients:
    """A pool of SDK clients. `_idle` and `_version` change only under `_lock`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = Lock()
        self._idle: list[Any] = []
        self._version: str | None = None
        self._closed = False
        self.on_use: Callable[[], None] = lambda: None
        """Called ahead of each call."""

    @contextmanager
    def borrow(self, what: str, reason: str | None = None, *, missing: bool = False) -> Iterator[Any]:
        """A client for this thread alone. Failures inside are translated (see `failures.translated`)."""
        with translated(what, reason, self._endpoint.host, missing=missing):
            # Knock first: the SDK leaks a socket for each connection that it cannot make. Questions make their own.
            connect(self._endpoint, TIMEOUT).close()
            client = self._take()
            try:
                yield client
            except BaseException:
                client.close()  # its connection may be half-read
                raise
            client.close()  # it can be used again; what it keeps for each of the addresses it asked is gone
            self._give(client)

    def read(self, what: str, call: Callable[[Any], T], *, missing: bool = False) -> T:
        """An idempotent read, tried three times when the connection fails (not when it times out).

        Raises `EngineUnreachable`; with `missing` also docker's `NotFound`, as it is.
        """
        retrying = Retrying(
            retry=retry_if_exception(_is_broken_connection),
            stop=stop_after_attempt(_TRIES),
            wait=wait_fixed(_PAUSE),
            reraise=True,
        )
        with translated(what, None, self._endpoint.host, missing=missing):
            answer: T = retrying(self._once, call)
        return answer

    def _once(self, call: Callable[[Any], T]) -> T:
        client = self._take()
        try:
            answer = call(client)
        except BaseException as error:
            if _is_answer(error):
                self._give(client)
            else:
                self._drop(client)
            raise
        self._give(client)
        return answer

    def api_version(self) -> str:
        """The version of the API that this engine and the SDK both speak."""
        with self._lock:
            known = self._version
        return known or str(self.read("asking for the API version", lambda api: api.api_version))

    def close(self) -> None:
        """Close every idle client; borrowed ones are closed when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()

    def _take(self) -> Any:
        self.on_use()
        with self._lock:
            if self._idle:
                return self._idle.pop()
            version = self._version
        client = self._connect(version)
        with self._lock:
            self._version = client.api_version
        return client

    def _give(self, client: Any) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(client)

    def _drop(self, client: Any) -> None:
        with self._lock:
            self._version = None
        client.close()

    def _connect(self, version: str | None) -> Any:
        from docker.tls import TLSConfig

        from controller.engine.sdk import Client

        tls: Any = False
        if self._endpoint.cert_path:
            ca, cert, key = self._endpoint.tls_files()
            verify = self._endpoint.tls_verify
            tls = TLSConfig(client_cert=(cert, key), ca_cert=ca if verify else None, verify=verify)
        connect(
            self._endpoint, TIMEOUT
        ).close()  # why it cannot be had, before the SDK wraps that in words of its own
        client = Client(self._endpoint, version=version or "auto", timeout=TIMEOUT, tls=tls)
        # No connection is kept: the SDK keeps one for each address it ever asked, 25 a client, and after the
        # engine's restart each of them would fail once. A new one on a Unix socket costs microseconds.
        client.headers["Connection"] = "close"
        # No proxy and no .netrc leads to a socket of this machine; looked for, they are a seventh of a call's time.
        client.trust_env = not self._endpoint.is_local
        return client


def _is_answer(error: BaseException) -> bool:
    from docker.errors import APIError

    return isinstance(error, APIError)


def _is_broken_connection(error: BaseException) -> bool:
    import docker.errors
    import requests

    if isinstance(error, requests.Timeout) or _is_answer(error):
        return False
    if isinstance(error, ConnectionError | FileNotFoundError):
        return True
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return True  # cut off in its head, an answer has no body
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "timed out" not in str(error).lower()  # requests files some read time-outs under connections
    return isinstance(error, docker.errors.DockerException) and "timed out" not in str(error).lower()
