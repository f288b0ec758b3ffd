"""The stream of events: everything once and in order, from where one left off, and never at the cost of the service."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.api.application import ANSWERS, STREAMS
from controller.api.server import ApiServer
from controller.clock import SystemClock
from controller.model.errors import StateUnusable
from controller.model.record import Event
from fakes.service import Asked, served
from rig.http import ask, connect
from rig.waiting import wait_until


@pytest.fixture
def server(service: Asked, tmp_path: Path) -> Iterator[ApiServer]:
    with served(service, tmp_path / "s") as server:
        yield server


@pytest.fixture
def looks(service: Asked, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the store was asked for events: app, since, after, limit."""
    found: list[tuple[Any, ...]] = []
    look = service.store.events

    def noted(*given: Any) -> Any:
        found.append(given)
        return look(*given)

    monkeypatch.setattr(service.store, "events", noted)
    return found


def tell(service: Asked, server: ApiServer, message: str, app: str = "web", ago: float = 0.0) -> None:
    time = SystemClock().now() - timedelta(seconds=ago)
    service.store.tell(Event(time, app, "app.ready", "info", message, {"n": 1}))
    server.tell_news()


class Stream:
    """One follower, as a browser's EventSource is one."""

    def __init__(self, connection: socket.socket, request: str, headers: str) -> None:
        connection.sendall(f"GET {request} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        self.file = connection.makefile("rb")
        assert self.file.readline().split()[1] == b"200"
        self.headers = {}
        while line := self.file.readline().strip():
            key, _, value = line.decode().partition(": ")
            self.headers[key.lower()] = value
        assert self.line().startswith(":")

    def line(self) -> str:
        """The next line of the stream that is not empty and no part of the chunking; "" at its end."""
        while raw := self.file.readline():
            text = raw.decode().strip()
            if text[:1] in (":", "i", "d"):
                return text
            if text == "0":
                break
        return ""

    def event(self) -> tuple[int, dict[str, Any]]:
        """The next event: its id and what it says."""
        while (line := self.line()).startswith(":"):
            pass
        number = int(line.removeprefix("id: "))
        document: dict[str, Any] = json.loads(self.line().removeprefix("data: "))
        assert document["id"] == number
        return number, document


@contextmanager
def following(path: Path, request: str = "/events", headers: str = "") -> Iterator[Stream]:
    with connect(path) as connection:
        stream = Stream(connection, request, headers)
        yield stream
        stream.file.close()


def socket_of(tmp_path: Path) -> Path:
    return tmp_path / "s"


def test_what_happens_is_told_at_once_and_once(service: Asked, server: ApiServer, tmp_path: Path) -> None:
    tell(service, server, "before")
    with following(socket_of(tmp_path)) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for number in range(5):
            tell(service, server, f"n{number}")
            assert stream.event()[1]["message"] == f"n{number}"


def test_an_event_is_told_as_homeport_events_tells_it(
    service: Asked, server: ApiServer, tmp_path: Path
) -> None:
    with following(socket_of(tmp_path)) as stream:
        tell(service, server, "a line\nand another")
        _, told = stream.event()
    assert told["message"] == "a line\nand another"
    assert (told["app"], told["event"], told["level"], told["fields"]) == (
        "web",
        "app.ready",
        "info",
        {"n": 1},
    )


def test_since_tells_what_has_happened_first(service: Asked, server: ApiServer, tmp_path: Path) -> None:
    tell(service, server, "long ago", ago=7200)
    tell(service, server, "lately", ago=60)
    with following(socket_of(tmp_path), "/events?since=1h") as stream:
        assert stream.event()[1]["message"] == "lately"
        tell(service, server, "now")
        assert stream.event()[1]["message"] == "now"


def test_one_app_is_followed_alone(service: Asked, server: ApiServer, tmp_path: Path) -> None:
    with following(socket_of(tmp_path), "/events?app=web") as stream:
        tell(service, server, "of another", app="db")
        tell(service, server, "of this one")
        assert stream.event()[1]["message"] == "of this one"


def test_who_comes_back_misses_nothing_and_hears_nothing_twice(
    service: Asked, server: ApiServer, tmp_path: Path
) -> None:
    with following(socket_of(tmp_path)) as stream:
        tell(service, server, "one")
        number, _ = stream.event()
    tell(service, server, "two")
    tell(service, server, "three")
    with following(socket_of(tmp_path), "/events?since=1d", f"Last-Event-ID: {number}\r\n") as stream:
        assert [stream.event()[1]["message"] for _ in range(2)] == ["two", "three"]


def test_who_comes_back_to_a_database_that_was_made_anew_hears_what_it_has(
    service: Asked, server: ApiServer, tmp_path: Path
) -> None:
    tell(service, server, "the first of the new one")
    with following(socket_of(tmp_path), headers="Last-Event-ID: 123456\r\n") as stream:
        assert stream.event()[1]["message"] == "the first of the new one"


def test_more_events_than_are_read_at_a_time_come_all_in_order(
    service: Asked, server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.application.BATCH", 3)
    for number in range(10):
        tell(service, server, str(number))
    with following(socket_of(tmp_path), "/events?since=1h") as stream:
        assert [stream.event()[1]["message"] for _ in range(10)] == [str(number) for number in range(10)]


def test_a_stream_in_which_nothing_happens_shows_that_it_is_alive(
    service: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.application.HEARTBEAT", 0.05)
    with served(service, socket_of(tmp_path)), following(socket_of(tmp_path)) as stream:
        assert [stream.line() for _ in range(3)] == [":", ":", ":"]


def test_a_stream_in_which_nothing_happens_looks_for_nothing(
    service: Asked,
    server: ApiServer,
    tmp_path: Path,
    looks: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("controller.api.application.HEARTBEAT", 0.02)
    with following(socket_of(tmp_path)) as stream:
        tell(service, server, "the only one")
        stream.event()
        assert stream.line() == ":"
        before = len(looks)
        assert [stream.line() for _ in range(20)] == [":"] * 20
        assert len(looks) == before


@pytest.mark.parametrize("request_path", ["/events?app=web", "/events?since=1h"])
def test_what_was_looked_through_without_a_find_is_not_looked_through_again(
    service: Asked, server: ApiServer, tmp_path: Path, looks: list[tuple[Any, ...]], request_path: str
) -> None:
    with following(socket_of(tmp_path), request_path) as stream:
        wait_until(lambda: looks, "it has looked", 10)
        before = len(looks)
        tell(service, server, "of another", app="db", ago=7200)
        newest = service.store.newest_event()
        wait_until(lambda: len(looks) > before, "it looks again", 10)
        tell(service, server, "the one")
        assert stream.event()[1]["message"] == "the one"
        wait_until(lambda: looks[-1][2] >= newest, "the last look began behind the other", 10)


def test_an_event_takes_no_thread_from_those_who_ask(
    service: Asked, server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, stuck, look = threading.Event(), threading.Semaphore(0), service.store.events

    def hang(*given: Any) -> Any:
        stuck.release()
        goes_on.wait(60)
        return look(*given)

    with ExitStack() as held:
        streams = [held.enter_context(following(socket_of(tmp_path))) for _ in range(STREAMS)]
        monkeypatch.setattr(service.store, "events", hang)
        try:
            tell(service, server, "all look at once")
            for _ in range(STREAMS):
                assert stuck.acquire(timeout=10)
            assert ask(socket_of(tmp_path), "GET", "/status").status == 200
        finally:
            goes_on.set()
        assert {stream.event()[1]["message"] for stream in streams} == {"all look at once"}


def test_questions_that_hang_end_no_stream(
    service: Asked, server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, stuck = threading.Event(), threading.Semaphore(0)

    def hang(_self: Asked) -> dict[str, object]:
        stuck.release()
        goes_on.wait(60)
        return {"running": True}

    monkeypatch.setattr(Asked, "describe", hang)
    with following(socket_of(tmp_path)) as stream, ExitStack() as held:
        try:
            for _ in range(ANSWERS):
                held.enter_context(connect(socket_of(tmp_path))).sendall(
                    b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"
                )
                assert stuck.acquire(timeout=10)
            tell(service, server, "meanwhile")
            assert stream.event()[1]["message"] == "meanwhile"
        finally:
            goes_on.set()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("request_path", "headers"),
    [
        ("/events?since=yesterday", {}),
        ("/events?apps=web", {}),
        ("/events?app=", {}),
        ("/events?app=a&app=b", {}),
        ("/events", {"Last-Event-ID": "-1"}),
        ("/events", {"Last-Event-ID": "9" * 40}),
    ],
)
def test_a_wrong_question_is_told_so(tmp_path: Path, request_path: str, headers: dict[str, str]) -> None:
    assert ask(socket_of(tmp_path), "GET", request_path, headers=headers).status == 400


def test_one_stream_too_many_is_refused_and_its_place_is_free_when_one_ends(
    service: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.application.STREAMS", 1)
    with served(service, socket_of(tmp_path)):
        with following(socket_of(tmp_path)):
            assert ask(socket_of(tmp_path), "GET", "/events").status == 503
        wait_until(lambda: _follows(socket_of(tmp_path)), "the place is free", 10)


def test_who_comes_while_another_is_let_in_finds_the_place_taken(
    service: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, goes_on, newest = threading.Event(), threading.Event(), service.store.newest_event

    def slow() -> int:
        entered.set()
        goes_on.wait(60)
        return newest()

    with served(service, socket_of(tmp_path)):
        monkeypatch.setattr("controller.api.application.STREAMS", 1)
        monkeypatch.setattr(service.store, "newest_event", slow)
        with connect(socket_of(tmp_path)) as first:
            try:
                first.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
                assert entered.wait(10)
                threading.Timer(2.0, goes_on.set).start()
                assert ask(socket_of(tmp_path), "HEAD", "/events").status == 503
            finally:
                goes_on.set()
            assert first.recv(100).split()[1] == b"200"


def test_a_question_for_the_head_alone_and_one_that_fails_keep_no_place(
    service: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> int:
        raise StateUnusable("no disk")

    monkeypatch.setattr("controller.api.application.STREAMS", 1)
    with served(service, socket_of(tmp_path)):
        assert ask(socket_of(tmp_path), "HEAD", "/events").status == 200
        with monkeypatch.context() as broken:
            broken.setattr(service.store, "newest_event", fails)
            assert ask(socket_of(tmp_path), "HEAD", "/events").status == 503
        assert ask(socket_of(tmp_path), "HEAD", "/events").status == 200
        assert _follows(socket_of(tmp_path))


def _follows(path: Path) -> bool:
    with connect(path) as connection:
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        return connection.recv(100).split()[1] == b"200"


def test_a_stop_ends_the_streams_at_once(service: Asked, tmp_path: Path) -> None:
    clock = SystemClock()
    with served(service, socket_of(tmp_path)) as server, following(socket_of(tmp_path)) as stream:
        began = clock.monotonic()
        server.stop()
        assert stream.line() == ""
        assert clock.monotonic() - began < 3


def test_a_follower_that_does_not_read_is_cut_off_and_holds_nobody(
    service: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.connection.PATIENCE", 0.5)
    with served(service, socket_of(tmp_path)) as server, connect(socket_of(tmp_path)) as deaf:
        deaf.sendall(b"GET /events?since=1h HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(300):
            tell(service, server, "x" * 4000)
        serving = server._serving
        assert serving is not None
        (door,) = serving._doors.values()
        with following(socket_of(tmp_path), "/events?since=1h") as stream:
            for _ in range(300):
                stream.event()  # another one is told everything meanwhile
            wait_until(lambda: len(door.inside) == 1, "the deaf one is cut off", 10)
