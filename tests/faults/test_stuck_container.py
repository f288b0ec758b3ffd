"""Containers over which the engine is of two minds: it takes the process of one for running still, or lists one that
it says is not there.

Seen in the soak after a crash of the engine (20.10): `task …: already exists`, or `No such container`, at every try. The
proxy says it here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.engine.docker_engine import DockerEngine
from controller.engine.endpoint import Endpoint
from controller.model.desired import Present
from controller.model.errors import AppError
from controller.model.manifest import Manifest
from fakes.tree import manifest
from rig.cleanup import EngineCleanup
from rig.engine import api
from rig.proxy import EngineProxy

pytestmark = pytest.mark.engine

SLEEPER = """
    image: homeport/sample:1
    command: ["sleep", "1000"]
    init: true
    network_mode: none
    stop_grace_period: 0s
    restart: "no"
"""


@pytest.fixture
def proxy(tmp_path: Path, engine_host: str) -> Iterator[EngineProxy]:
    made = EngineProxy(tmp_path / "p.sock", engine_host)
    yield made
    made.close()


def refusal(status: str, message: str) -> bytes:
    """What an engine answers that does not do as it is asked."""
    body = json.dumps({"message": message}).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def app_in(folder: Path, name: str) -> Present:
    folder.mkdir()
    (folder / "compose.yaml").write_text(f"services:\n  one:{SLEEPER}  two:{SLEEPER}")
    return Present(
        name,
        str(folder),
        Manifest.model_validate(manifest(name)),
        "sha256:1",
        (str(folder / "compose.yaml"),),
    )


@pytest.mark.fault("D11")
def test_a_container_that_the_engine_never_starts_again_is_made_anew_and_no_other(
    tmp_path: Path, proxy: EngineProxy, app_prefix: str, engine_cleanup: EngineCleanup
) -> None:
    name, folder = f"{app_prefix}stuck", tmp_path / "app"
    app = app_in(folder, name)
    engine = DockerEngine(Endpoint(proxy.host), tmp_path / "work", SystemClock())
    try:
        rendered = engine.render(app)
        engine.apply(name, str(folder), rendered)
        before = {c.service: c.id for c in engine.observe(name, (str(folder),), ()).containers}
        with api(proxy.engine) as client:
            client.kill(before["one"])

        def stuck(request: bytes) -> bytes:
            if f"/containers/{before['one']}/start".encode() not in request.partition(b"\r\n")[0]:
                return b""
            return refusal("500 Internal Server Error", f"task {before['one']}: already exists")

        proxy.answer = stuck
        engine.apply(name, str(folder), rendered, ("one",))
        after = {c.service: c for c in engine.observe(name, (str(folder),), ()).containers}
    finally:
        engine.close()
    assert {c.state for c in after.values()} == {"running"}
    assert after["one"].id != before["one"]
    assert after["two"].id == before["two"]


@pytest.mark.fault("D11")
def test_a_container_that_the_engine_lists_and_does_not_know_is_named_with_what_helps(
    tmp_path: Path, proxy: EngineProxy, app_prefix: str, engine_cleanup: EngineCleanup
) -> None:
    name, folder = f"{app_prefix}stale", tmp_path / "app"
    app = app_in(folder, name)
    engine = DockerEngine(Endpoint(proxy.host), tmp_path / "work", SystemClock())
    try:
        rendered = engine.render(app)
        engine.apply(name, str(folder), rendered)
        (stale,) = (c.id for c in engine.observe(name, (str(folder),), ()).of("one"))

        def unknown(request: bytes) -> bytes:
            if f"/containers/{stale}".encode() not in request.partition(b"\r\n")[0]:
                return b""
            return refusal("404 Not Found", f"No such container: {stale}")

        proxy.answer = unknown
        with pytest.raises(AppError, match=f"lists container {stale[:12]} of service one") as failed:
            engine.apply(name, str(folder), rendered, ("one",), force=True)
        assert failed.value.reason == "StaleContainer"
        assert "Restart the engine" in str(failed.value)
        proxy.answer = lambda _request: b""
        engine.apply(name, str(folder), rendered, ("one",), force=True)
    finally:
        engine.close()
