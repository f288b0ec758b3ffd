"""Homeport in a container of the engine it steers: it keeps the apps, and never touches the project it runs in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from rig.engine import SAMPLE_IMAGE, api
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.engine


def _of_the_machine(home: Home) -> list[str]:
    """What is mounted at its own place: the machine's Python, this checkout, the engine's socket, the test's folders."""
    socket = Path(home.engine.removeprefix("unix://"))
    folders = ["/usr", "/lib", "/lib64", "/etc/ssl", str(ROOT), sys.prefix, sys.base_prefix]
    return [
        *(f"{folder}:{folder}:ro" for folder in dict.fromkeys(folders) if Path(folder).exists()),
        f"{socket.parent}:{socket.parent}",
        f"{home.apps.parent}:{home.apps.parent}",
    ]


@pytest.fixture
def contained(home: Home) -> Iterator[dict[str, Any]]:
    """The service in a container that Compose could have made of the folder `port` in the apps tree."""
    name, folder = home.name("port"), home.put("port")
    flags = [f"--{key}={value}" for key, value in home.settings.items()]
    labels = {
        "com.docker.compose.project": name,
        "com.docker.compose.project.working_dir": str(folder),
        "com.docker.compose.service": "main",
        "com.docker.compose.container-number": "1",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.config-hash": "0" * 64,
    }
    with api(home.engine) as client:
        made = client.create_container(
            SAMPLE_IMAGE, [sys.executable, "-B", "-m", "controller", "run", f"--log-file={home.log_file}", *flags],
            name=f"{name}-main-1", labels=labels, working_dir=str(ROOT), hostname="not-its-id",
            environment={
                "DOCKER_HOST": home.engine, "HOMEPORT_APPS": str(home.apps), "HOMEPORT_STATE": str(home.state),
                "HOMEPORT_LOG_FORMAT": "json", "PATH": "/usr/bin:/bin",
            },
            host_config=client.create_host_config(binds=_of_the_machine(home), network_mode="none", init=True),
        )  # fmt: skip
        client.start(made)
        try:
            wait_until(lambda: bool(home.log("service.started")), "the service has started", 60)
            yield made
        except AssertionError as error:
            raise AssertionError(f"{error}\n{client.logs(made).decode()}") from error
        finally:
            client.remove_container(made, force=True)


def _runs(home: Home, made: dict[str, Any]) -> bool:
    with api(home.engine) as client:
        try:
            return bool(client.inspect_container(made["Id"])["State"]["Running"])
        except docker.errors.NotFound:
            return False


def test_it_keeps_the_apps_and_leaves_its_own_project_alone(home: Home, contained: dict[str, Any]) -> None:
    web = home.put("web")
    home.wait("web", "Ready")
    shown = home.wait("port", "Invalid")
    assert any(c["reason"] == "OwnProject" for c in shown["conditions"])

    own = home.apps / home.name("port")
    (own / "docker-compose.yaml").write_text(SLEEPER + "    environment: {NEW: '1'}\n")
    wait_until(lambda: (home.status("port") or {}).get("generation") == 2, "the edit was seen", 30)
    assert home.word("port") == "Invalid"

    # Both folders go in one moment: the app is removed, and whoever removes it stays.
    own.rename(home.apps.parent / "port-aside")
    web.rename(home.apps.parent / "web-aside")
    home.put("other")  # so that this is no tree that lost all it had
    home.wait("other", "Ready")
    wait_until(lambda: home.status("port") is None, "nothing of it is on record any more", 30)
    assert _runs(home, contained)
    assert len(home.log("service.started")) == 1
    assert not home.log("app.removing", "port")
