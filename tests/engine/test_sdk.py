"""Questions to the engine that do not go by requests: what comes of each answer, whole or not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker.errors import NotFound

from controller.engine.client import Clients
from controller.engine.endpoint import Endpoint
from controller.model.errors import AppError, EngineUnreachable

Answer = Callable[[bytes], bytes]


def whole(status: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(content), content)


@contextmanager
def engine(folder: Path, answer: Answer) -> Iterator[tuple[Clients, list[bytes]]]:
    """Whoever connects says something, gets this for it, and is hung up on."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    question = peer.recv(65536)
                    if question.startswith(b"GET /version"):
                        peer.sendall(whole("200 OK", {"ApiVersion": "1.41"}))
                    elif question:
                        asked.append(question)
                        peer.sendall(answer(question))

        thread = threading.Thread(target=serve, name="engine")
        thread.start()
        clients = Clients(Endpoint(f"unix://{folder / 's'}"))
        try:
            yield clients, asked
        finally:
            clients.close()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_an_answer_is_what_the_sdk_makes_of_it(tmp_path: Path) -> None:
    with engine(tmp_path, lambda _question: whole("200 OK", [{"Id": "ä"}])) as (clients, asked):
        filters = {"label": ["a=b c"]}
        assert clients.read("", lambda api: api.containers(all=True, filters=filters)) == [{"Id": "ä"}]
    (question,) = asked
    line, _, head = question.partition(b"\r\n")
    assert line == (
        b"GET /v1.41/containers/json?limit=-1&all=1&size=0&trunc_cmd=0&"
        b"filters=%7B%22label%22%3A+%5B%22a%3Db+c%22%5D%7D HTTP/1.1"
    )
    assert b"Connection: close\r\n" in head
    assert b"User-Agent: docker-sdk-python" in head


def test_what_is_not_there_is_told_from_what_cannot_be_had(tmp_path: Path) -> None:
    def answer(question: bytes) -> bytes:
        status = "404 Not Found" if b"/gone/" in question else "500 Internal Server Error"
        return whole(status, {"message": "in the engine's words"})

    with engine(tmp_path, answer) as (clients, _):
        with pytest.raises(NotFound, match="in the engine's words"):
            clients.read("", lambda api: api.inspect_container("gone"), missing=True)
        with pytest.raises(EngineUnreachable, match="looking: in the engine's words"):
            clients.read("looking", lambda api: api.inspect_container("here"))
        with (
            pytest.raises(AppError, match="in the engine's words"),
            clients.borrow("x", "ApplyFailed") as api,
        ):
            api.inspect_container("here")


def test_no_answer_is_asked_for_that_would_have_to_be_unpacked(tmp_path: Path) -> None:
    with engine(tmp_path, lambda _question: whole("200 OK", [])) as (clients, asked):
        clients.read("", lambda api: api.containers())
    assert b"Accept-Encoding: identity\r\n" in asked[0]
    assert asked[0].lower().count(b"accept-encoding") == 1


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(b"", id="before it began"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="in its head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[", id="in its body"),
        pytest.param(b"something else altogether\r\n", id="no answer"),
    ],
)
def test_an_answer_that_is_cut_off_is_asked_for_again(tmp_path: Path, cut: bytes) -> None:
    answers = iter([cut, cut, whole("200 OK", [])])
    with engine(tmp_path, lambda _question: next(answers)) as (clients, asked):
        assert clients.read("", lambda api: api.containers()) == []
        assert len(asked) == 3


def test_an_engine_whose_answers_are_always_cut_off_cannot_be_reached(tmp_path: Path) -> None:
    with (
        engine(tmp_path, lambda _question: b"HTTP/1.1 200 OK\r\n") as (clients, _),
        pytest.raises(EngineUnreachable),
    ):
        clients.read("", lambda api: api.containers())


def test_headers_of_a_persons_own_go_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"HttpHeaders": {"X-Proxy": "let me in"}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with engine(tmp_path, lambda _question: whole("200 OK", [])) as (clients, asked):
        clients.read("", lambda api: api.containers())
    assert b"X-Proxy: let me in\r\n" in asked[0]
