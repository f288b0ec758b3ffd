"""The API over a real socket, with a service that only remembers what it was asked."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.api.client import ApiClient, ServiceUnreachable
from controller.api.server import ApiServer
from controller.control.errors import Refused, UnknownApp
from controller.control.verbs import WISHES, Adopt, Rollback, Wish
from controller.model.errors import AppError, EngineUnreachable, HomeportError, StateUnusable
from controller.model.facts import APPROVED, LEFT, ROLLBACK, SUSPENDED
from controller.model.record import Condition
from fakes.build import NOON, record, target
from fakes.service import UP, Asked, served
from rig.waiting import wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "homeport.sock"


@pytest.fixture
def server(service: Asked, path: Path) -> Iterator[ApiServer]:
    with served(service, path) as server:
        yield server


@pytest.fixture
def client(server: ApiServer, path: Path) -> ApiClient:
    return ApiClient(path)


def raw(path: Path, request: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes as they are; answers with the status and the body."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def post(path: Path, where: str, body: bytes) -> tuple[int, dict[str, Any]]:
    return raw(
        path,
        b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
        % (where.encode(), len(body), body),
    )


def test_reconcile(client: ApiClient, service: Asked) -> None:
    assert client.reconcile(["web"], dry_run=True) == [
        {
            "kind": "compose_up", "target": "web", "detail": "1 service", "cause": "service web: config hash differs",
            "app": "web", "line": "compose_up     web (1 service)",
        }
    ]  # fmt: skip
    client.reconcile()
    assert service.asked == [(("web",), True), ((), False)]


def test_plan(client: ApiClient) -> None:
    (plan,) = client.plan(["web"])
    assert (plan["app"], plan["actions"][0]["cause"]) == ("web", UP.cause)


def test_status(client: ApiClient) -> None:
    document = client.status()
    assert document["service"] == {"running": True, "held": ["web"]}
    assert document["apps"][0]["summary"] == "Held"


def test_prune(client: ApiClient, service: Asked) -> None:
    assert client.prune() == ["web"]
    assert service.requeued == []
    assert client.prune(approve=True) == ["web"]
    assert (service.store.get(APPROVED + "web"), service.requeued) == ("1", ["web"])


def test_suspend_and_resume(client: ApiClient, service: Asked) -> None:
    client.suspend("web")
    assert service.store.get(SUSPENDED + "web") is not None
    client.resume("web")
    assert service.store.get(SUSPENDED + "web") is None


@pytest.mark.parametrize("kind", WISHES.values())
def test_every_wish_travels_and_comes_back_as_what_was_done(
    client: ApiClient, service: Asked, kind: type[Wish]
) -> None:
    reason = "NameConflict" if kind is Adopt else "HealthCheckFailed"
    conflict = Condition("Ready", "False", reason, "m", NOON, 1)
    service.store.save(
        record("web", conditions=(conflict,), target=target(), history=(target(revision="rev1"),))
    )
    assert [action["line"] for action in client.act(kind("web"))] == ["compose_up     web (1 service)"]
    assert service.asked == [(("web",), False)]


def test_a_rollback_takes_its_revision_along(client: ApiClient, service: Asked) -> None:
    service.store.save(
        record("web", target=target(), history=(replace(target(revision="rev0"), generation=7),))
    )
    client.act(Rollback("web", "7"))
    assert service.store.get(ROLLBACK + "web") == "rev0"


def test_what_is_refused_comes_back_as_refused(client: ApiClient, path: Path, service: Asked) -> None:
    with pytest.raises(Refused, match="nothing to adopt"):
        client.act(Adopt("web"))
    assert post(path, "/apps/web/adopt", b"")[0] == 409
    assert service.asked == []


def test_purge(client: ApiClient, service: Asked) -> None:
    service.store.put(LEFT + "gone", '["p_gone_a", "p_gone_b"]')
    assert client.purge("gone", ["b"]) == ["p_gone_b"]
    assert service.purged == ["p_gone_b"]
    service.trouble = AppError("VolumeInUse", "in use by web-1; remove the app first")
    with pytest.raises(HomeportError, match="remove the app first"):
        client.purge("gone", ["a"])


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (EngineUnreachable("no engine"), EngineUnreachable),
        (HomeportError("something else"), HomeportError),
        (ValueError("a bug"), HomeportError),
        (FileNotFoundError(2, "no such file", "x"), HomeportError),
    ],
)
def test_errors_come_back_as_what_they_were(
    client: ApiClient, service: Asked, trouble: Exception, kind: type[HomeportError]
) -> None:
    service.trouble = trouble
    with pytest.raises(HomeportError, match=str(trouble.args[-1])) as told:
        client.reconcile()
    assert type(told.value) is kind


def test_an_unknown_app_is_not_found(client: ApiClient, path: Path) -> None:
    with pytest.raises(UnknownApp, match="Did you mean web"):
        client.suspend("wev")
    assert post(path, "/apps/wev/suspend", b"")[0] == 404


@pytest.mark.parametrize(
    ("where", "body", "status"),
    [
        ("/nothing", b"{}", 404),
        ("/status", b"{}", 405),
        ("/reconcile", b"{", 400),
        ("/reconcile", b"[]", 400),
        ("/reconcile", b'{"apps": "web"}', 400),
        ("/reconcile", b'{"apps": [1]}', 400),
        ("/reconcile", b'{"dryRun": 1}', 400),
        ("/reconcile", b'{"dryrun": true}', 400),
        ("/reconcile?dryRun=true", b"{}", 400),
        ("/apps//stop", b"{}", 404),
        ("/apps/web/stop/", b"{}", 404),
        ("/apps/web", b"{}", 405),
        ("/apps/web/stop", b'{"app": "web"}', 400),
        ("/apps/web/rollback", b'{"revision": 3}', 400),
        ("/apps/web/purge", b'{"volumes": "data"}', 400),
        ("/apps/web/purge", b'{"volumes": [""]}', 400),
        ("/prune", b"[" * 100_000, 400),
        ("/prune", b"\xff", 400),
    ],
)
@pytest.mark.usefixtures("server")
def test_a_wrong_request_is_told_so(path: Path, service: Asked, where: str, body: bytes, status: int) -> None:
    got, document = post(path, where, body)
    assert got == status
    assert document["error"]
    assert document["kind"] == {404: "NotFound", 405: "MethodNotAllowed"}.get(status, "BadRequest")
    assert service.asked == []


@pytest.mark.parametrize(
    ("head", "status", "kind"),
    [
        (b"Content-Length: 1048577", 413, "TooLarge"),
        (b"Content-Length: -1", 400, "BadRequest"),
        (b"Content-Length: many", 400, "BadRequest"),
        (b"Transfer-Encoding: chunked", 411, "LengthRequired"),
    ],
)
@pytest.mark.usefixtures("server")
def test_bodies_are_bounded(path: Path, head: bytes, status: int, kind: str) -> None:
    got, document = raw(
        path, b"POST /reconcile HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head + b"\r\n\r\n"
    )
    assert (got, document["kind"]) == (status, kind)
    assert document["error"]


@pytest.mark.usefixtures("server")
def test_a_method_that_is_none(path: Path) -> None:
    assert raw(path, b"BREW /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0] == 405


@pytest.mark.usefixtures("server")
def test_only_owner_and_group_may_ask(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_nobody_listens(path: Path) -> None:
    client = ApiClient(path)
    assert not client.answers()
    with pytest.raises(ServiceUnreachable, match="there is no socket"):
        client.status()


def test_a_stale_socket_is_replaced(service: Asked, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(ServiceUnreachable, match="nobody listens"):
        ApiClient(path).status()
    server = ApiServer(service, path)
    server.start()
    try:
        assert ApiClient(path).answers()
    finally:
        server.stop()


def test_a_file_in_the_way_is_left_alone(service: Asked, path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(StateUnusable, match=r"homeport\.sock"):
        ApiServer(service, path).start()
    assert path.read_text() == "mine"


def test_a_path_longer_than_the_kernel_takes(service: Asked, tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    server = ApiServer(service, folder / "homeport.sock")
    server.start()
    try:
        assert ApiClient(folder / "homeport.sock").status()["service"]["running"]
    finally:
        server.stop()
    assert list(folder.iterdir()) == []


def test_stopping_lets_a_running_answer_out(client: ApiClient, server: ApiServer, service: Asked) -> None:
    service.gate = threading.Event()
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(client.reconcile()))
    asking.start()
    assert service.entered.wait(10)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    service.gate.set()
    stopping.join(20)
    asking.join(10)
    assert not stopping.is_alive()
    assert len(answers) == 1


def test_stopping_does_not_wait_for_a_silent_client(server: ApiServer, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.settimeout(10)
        silent.connect(str(path))
        ApiClient(path).status()  # so the silent one was accepted before
        server.stop()
        assert silent.recv(1) == b""


def test_one_connection_too_many_is_refused(
    service: Asked, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.serving.CONNECTIONS", 1)
    server = ApiServer(service, path)
    server.start()
    try:
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            with pytest.raises(HomeportError, match=r"open connections|cannot be reached"):
                ApiClient(path).status()
        wait_until(lambda: answers(path), "its place is free again", 10)
    finally:
        server.stop()


def answers(path: Path) -> bool:
    try:
        return bool(ApiClient(path).status())
    except HomeportError:
        return False
