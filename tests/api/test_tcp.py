"""Loopback TCP: off by itself, for questions alone, and not for what a browser is made to send."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.endpoints import ENDPOINTS
from controller.api.server import ApiServer
from controller.model.errors import StateUnusable
from fakes.service import Asked, served
from rig.http import ask, connect
from rig.service import free_port


@pytest.fixture(params=["127.0.0.1", "::1"])
def address(request: pytest.FixtureRequest, service: Asked, tmp_path: Path) -> Iterator[tuple[str, int]]:
    host: str = request.param
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    address = (host, free_port())
    with served(service, tmp_path / "s", address):
        yield address


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("path", [e.path for e in ENDPOINTS if e.method == "GET" and e.act is not None])
def test_every_question_is_answered(address: tuple[str, int], path: str) -> None:
    answer = ask(address, "GET", path.replace("{name}", "web"))
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", [e.path for e in ENDPOINTS if e.method == "POST"])
def test_nothing_can_be_done(service: Asked, address: tuple[str, int], path: str) -> None:
    answer = ask(address, "POST", path.replace("{name}", "web"), {})
    assert (answer.status, "use the Unix socket" in answer.json["error"]) == (403, True)
    assert answer.json["kind"] == "Forbidden"
    assert (service.asked, service.requeued, service.purged) == ([], [], [])
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        assert ask(address, method, path.replace("{name}", "web")).status == 403


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9", "127.0.0.1", "127.8.9.1:80", "[::1]:80", "[::1]"]
)
def test_this_machine_is_asked_by_its_own_names(address: tuple[str, int], host: str) -> None:
    assert ask(address, "GET", "/healthz", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "0.0.0.0", "[::]", "", "[", "@"]  # noqa: S104
)  # fmt: skip
def test_another_name_for_this_machine_is_refused(address: tuple[str, int], host: str) -> None:
    """So a site whose name is made to stand for 127.0.0.1 reads nothing through its visitors' browsers."""
    for path in ("/status", "/events", "/metrics", "/nothing"):
        assert ask(address, "GET", path, headers={"Host": host}).status == 403


def test_no_host_is_refused(address: tuple[str, int]) -> None:
    with connect(address) as connection:
        connection.sendall(b"GET /status HTTP/1.0\r\n\r\n")
        assert connection.recv(1000).split()[1] == b"403"


def test_a_second_host_is_refused(address: tuple[str, int]) -> None:
    with connect(address) as connection:
        connection.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert connection.recv(1000).split()[1] in (b"400", b"403")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_a_page_of_another_site_is_refused(
    address: tuple[str, int], headers: dict[str, str], status: int
) -> None:
    assert ask(address, "GET", "/events?since=bad", headers=headers).status == (
        status if status == 403 else 400
    )
    assert ask(address, "GET", "/status", headers=headers).status == status


def test_the_unix_socket_asks_for_no_host(service: Asked, tmp_path: Path) -> None:
    with served(service, tmp_path / "s"):
        assert ask(tmp_path / "s", "POST", "/reconcile", headers={"Host": "whatever"}).status == 200


def test_who_fills_the_port_does_not_fill_the_socket(
    service: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.serving.CONNECTIONS", 2)
    address = ("127.0.0.1", free_port())
    with served(service, tmp_path / "s", address), connect(address) as one, connect(address) as two:
        for each in (one, two):
            each.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert each.recv(100).split()[1] == b"200"
        assert ask(address, "GET", "/healthz").status == 503
        assert ask(tmp_path / "s", "GET", "/healthz").status == 200


def test_a_port_that_is_taken_is_told_and_leaves_no_socket(service: Asked, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(StateUnusable, match="--listen-tcp a free port"),
    ):
        ApiServer(service, tmp_path / "s", taken.getsockname()).start()
    assert not (tmp_path / "s").exists()


def test_without_the_setting_there_is_no_port(service: Asked, tmp_path: Path) -> None:
    with served(service, tmp_path / "s") as server:
        assert server._serving is not None
        assert [one.family for one in server._serving._sockets] == [socket.AF_UNIX]
