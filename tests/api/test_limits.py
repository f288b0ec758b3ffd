"""Whoever asks, however slowly or often: the service goes on, and others are answered."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from controller.api.application import ANSWERS
from controller.api.server import ApiServer
from fakes.service import Asked, served
from rig.http import ask, connect
from rig.waiting import wait_until

RECONCILE = b"POST /apps/web/reconcile HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def helpers() -> int:
    return sum(thread.name.startswith("homeport-api-") for thread in threading.enumerate())


@pytest.mark.parametrize("how", ["hangs up", "is killed"])
def test_a_client_that_goes_ends_the_waiting_of_its_sweep(service: Asked, path: Path, how: str) -> None:
    service.gate = threading.Event()
    with served(service, path):
        with connect(path) as connection:
            connection.sendall(RECONCILE)
            assert service.entered.wait(10)
            assert not service.unwanted.wait(0.2)
            if how == "hangs up":
                connection.shutdown(socket.SHUT_WR)
                assert service.unwanted.wait(10)
        assert service.unwanted.wait(10)
        wait_until(lambda: helpers() == 0, "its thread has ended", 10)


def test_a_client_that_stays_gets_its_answer_however_long_it_takes(
    service: Asked, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.connection.PATIENCE", 0.2)
    monkeypatch.setattr("controller.api.application.BODY_PATIENCE", 0.2)
    service.gate = threading.Event()
    with served(service, path), connect(path) as connection:
        connection.sendall(RECONCILE)
        assert not service.unwanted.wait(0.7)
        service.gate.set()
        assert connection.recv(1000).split()[1] == b"200"


def test_while_every_verb_is_taken_one_more_is_refused_and_questions_are_answered(
    service: Asked, path: Path
) -> None:
    service.gate = threading.Event()
    with served(service, path), ExitStack() as held:
        for _ in range(ANSWERS):
            held.enter_context(connect(path)).sendall(RECONCILE)
        wait_until(lambda: len(service.asked) == ANSWERS, "all are taken", 30)
        answer = ask(path, "POST", "/apps/web/reconcile")
        assert (answer.status, len(service.asked)) == (503, ANSWERS)
        assert ("try again" in answer.json["error"], answer.json["kind"]) == (True, "Busy")
        assert ask(path, "GET", "/healthz").status == 200
        assert ask(path, "GET", "/metrics").status == 200
        service.gate.set()
        wait_until(lambda: helpers() == 0, "they have ended", 30)
        assert ask(path, "POST", "/apps/web/reconcile").status == 200


def test_while_every_question_is_taken_monitoring_is_answered(
    service: Asked, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, stuck = threading.Event(), threading.Semaphore(0)

    def hang(_self: Asked) -> dict[str, object]:
        """As an engine that takes a connection and says nothing."""
        stuck.release()
        goes_on.wait(60)
        return {"running": True}

    monkeypatch.setattr(Asked, "describe", hang)
    with served(service, path), ExitStack() as held:
        try:
            for _ in range(ANSWERS):
                held.enter_context(connect(path)).sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
                assert stuck.acquire(timeout=10)
            assert ask(path, "GET", "/status").status == 503
            for probe in ("/healthz", "/readyz", "/metrics"):
                assert ask(path, "GET", probe).status == 200
        finally:
            goes_on.set()


@pytest.mark.parametrize(
    "piece",
    [b"", b"GET /heal", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"],
    ids=["nothing", "half a line", "half a head"],
)
def test_a_head_that_does_not_come_is_not_waited_for(
    service: Asked, path: Path, monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    monkeypatch.setattr("controller.api.connection.PATIENCE", 0.2)
    with served(service, path), connect(path) as connection:
        connection.sendall(piece)
        assert connection.recv(1) == b""


def test_a_head_that_comes_byte_by_byte_has_no_more_time_than_another(
    service: Asked, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.connection.PATIENCE", 0.5)
    with served(service, path), connect(path) as connection:
        connection.settimeout(0.05)
        ended = False
        for byte in b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 1000:
            try:
                connection.sendall(bytes([byte]))
                ended = connection.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
            if ended:
                break
        assert ended


def test_the_second_request_of_a_connection_has_no_more_time_either(
    service: Asked, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.connection.PATIENCE", 0.3)
    with served(service, path), connect(path) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status, len(answer.read()) > 0) == (200, True)
        connection.sendall(b"GET /hea")
        assert connection.recv(1) == b""


def test_a_body_that_does_not_come_is_not_waited_for(
    service: Asked, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.application.BODY_PATIENCE", 0.2)
    with served(service, path), connect(path) as connection:
        connection.sendall(b'POST /reconcile HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"apps"')
        assert connection.recv(10000).split()[1] == b"408"
    assert service.asked == []


@pytest.mark.parametrize("size", [50_000_000, *range(160_000, 320_000, 20_000)])
def test_an_answer_that_nobody_takes_is_thrown_away(
    service: Asked, path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """However much of it the kernel has taken, and however little is left."""
    monkeypatch.setattr("controller.api.connection.PATIENCE", 0.3)
    monkeypatch.setattr(Asked, "metrics", lambda _self: b"x" * size)
    with served(service, path) as server, connect(path) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(1, socket.MSG_PEEK)
        serving = server._serving
        assert serving is not None
        assert serving._server is not None
        connections = serving._server.server_state.connections
        wait_until(lambda: len(connections) == 0, "it is cut off", 5)


@pytest.mark.parametrize("problem", [SystemExit(3), KeyboardInterrupt(), MemoryError(), RecursionError()])
def test_whatever_an_answer_raises_the_next_one_comes(
    service: Asked, path: Path, problem: BaseException
) -> None:
    service.trouble = problem
    with served(service, path):
        answer = ask(path, "POST", "/reconcile")
        assert (answer.status, "made a mistake" in answer.json["error"]) == (500, True)
        assert ask(path, "GET", "/healthz").status == 200


def test_requests_one_after_the_other_without_waiting_are_answered_in_order(
    service: Asked, path: Path
) -> None:
    with served(service, path), connect(path) as connection:
        connection.sendall(
            b"GET /apps/web HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        text = b"".join(iter(lambda: connection.recv(65536), b""))
    bodies = [json.loads(part.partition(b"\r\n\r\n")[2]) for part in text.split(b"HTTP/1.1 ")[1:]]
    assert [bodies[0]["name"], bodies[1]["status"]] == ["web", "healthy"]


@pytest.mark.parametrize(
    "junk",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"A" * 100_000, b"\0" * 100],
    ids=["tls", "half", "long", "nul"],
)
def test_what_is_no_http_is_told_so_and_ended(service: Asked, path: Path, junk: bytes) -> None:
    with served(service, path):
        with connect(path) as connection:
            try:
                connection.sendall(junk)
                text = b"".join(iter(lambda: connection.recv(65536), b""))
            except OSError:
                text = b""
        head, _, body = text.partition(b"\r\n\r\n")
        assert not text or (head.split()[1] == b"400" and json.loads(body)["error"])
        assert ask(path, "GET", "/healthz").status == 200


def test_a_stuck_answer_does_not_hold_a_stop_for_longer_than_its_grace(
    service: Asked, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.serving.GRACE", 0.2)
    stuck = threading.Event()

    def hang(_self: Any) -> Any:
        stuck.wait(30)
        return b""

    monkeypatch.setattr(Asked, "metrics", hang)
    server = ApiServer(service, path)
    server.start()
    with connect(path) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: helpers() == 1, "it hangs", 10)
        began = service.clock.monotonic()
        server.stop()
        assert service.clock.monotonic() - began < 5
    stuck.set()
    wait_until(lambda: helpers() == 0, "its thread has ended", 10)
