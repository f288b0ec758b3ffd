"""An engine that accepts connections and says nothing: every call ends at its time, with a word for people."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.engine import client, events
from controller.engine.docker_engine import DockerEngine
from controller.engine.endpoint import Endpoint
from controller.model.errors import EngineUnreachable

pytestmark = pytest.mark.fault("D03")

VERSION = b'{"ApiVersion": "1.41"}'


class HalfDead:
    """Tells its version and opens event streams, and answers nothing else; frozen, it answers nothing at all."""

    def __init__(self, path: Path) -> None:
        self.frozen = False
        self.cut = threading.Event()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(64)
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.append(connection)
            if self.frozen:
                continue
            request = connection.recv(65536)
            if b"/version" in request:
                connection.sendall(
                    b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(VERSION), VERSION)
                )
            elif b"/events" in request:
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                if self.cut.is_set():
                    connection.close()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


@pytest.fixture
def half_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HalfDead]:
    monkeypatch.setattr(client, "TIMEOUT", 0.3)
    monkeypatch.setattr(events, "TIMEOUT", 0.3)
    monkeypatch.setattr(events, "SILENCE", 0.2)
    monkeypatch.setattr(events, "ANSWER", 0.2)
    server = HalfDead(tmp_path / "d.sock")
    yield server
    server.close()


@pytest.fixture
def engine(half_dead: HalfDead, tmp_path: Path) -> Iterator[DockerEngine]:
    engine = DockerEngine(Endpoint(f"unix://{tmp_path / 'd.sock'}"), tmp_path / "work", SystemClock())
    yield engine
    engine.close()


def test_a_read_ends_at_its_time_and_is_not_tried_again(engine: DockerEngine) -> None:
    started = SystemClock().monotonic()
    with pytest.raises(EngineUnreachable, match=r"d\.sock"):
        engine.observe("web", ("/apps/web",), ())
    assert SystemClock().monotonic() - started < 2


def test_a_stream_that_is_silent_because_the_engine_froze_is_found_dead(engine: DockerEngine) -> None:
    stream = engine.events()
    assert next(stream).action == "connected"
    with pytest.raises(EngineUnreachable):
        next(stream)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_silent_stream_is_looked_after_at_once_when_somebody_wants_something_of_the_engine(
    engine: DockerEngine, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    monkeypatch.setattr(events, "SILENCE", 1000.0)
    monkeypatch.setattr(events, "QUIET", 0.0 if wanted else 1000.0)
    stream = engine.events()
    assert next(stream).action == "connected"
    found: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def follow() -> None:
        try:
            next(stream, None)
        except EngineUnreachable as error:
            found.put(error)
        else:
            found.put(None)

    thread = threading.Thread(target=follow)
    thread.start()
    with pytest.raises(EngineUnreachable):
        engine.observe("web", ("/apps/web",), ())
    if not wanted:
        assert found.empty(), "nobody wakes it for what has just lived"
        engine.close_events()
    assert (found.get(timeout=10) is not None) == wanted
    thread.join()


def test_a_frozen_engine_has_no_event_stream(engine: DockerEngine, half_dead: HalfDead) -> None:
    half_dead.frozen = True
    with pytest.raises(EngineUnreachable):
        next(engine.events())


def test_a_stream_that_the_engine_ends_just_ends(engine: DockerEngine, half_dead: HalfDead) -> None:
    half_dead.cut.set()
    assert [event.action for event in engine.events()] == ["connected"]
