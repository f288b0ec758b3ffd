"""A container that the engine will never start again, for it takes its process for running still.

Seen in the soak after a crash of the engine (20.10): `task …: already exists`, at every try. The proxy says it here.
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


@pytest.mark.fault("D11")
def test_a_container_that_the_engine_never_starts_again_is_made_anew_and_no_other(
    tmp_path: Path, proxy: EngineProxy, app_prefix: str, engine_cleanup: EngineCleanup
) -> None:
    name, folder = f"{app_prefix}stuck", tmp_path / "app"
    folder.mkdir()
    (folder / "compose.yaml").write_text(f"services:\n  one:{SLEEPER}  two:{SLEEPER}")
    app = Present(
        name,
        str(folder),
        Manifest.model_validate(manifest(name)),
        "sha256:1",
        (str(folder / "compose.yaml"),),
    )
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
            body = json.dumps({"message": f"task {before['one']}: already exists"}).encode()
            head = f"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            return head.encode() + body

        proxy.answer = stuck
        engine.apply(name, str(folder), rendered, ("one",))
        after = {c.service: c for c in engine.observe(name, (str(folder),), ()).containers}
    finally:
        engine.close()
    assert {c.state for c in after.values()} == {"running"}
    assert after["one"].id != before["one"]
    assert after["two"].id == before["two"]
