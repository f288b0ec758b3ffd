"""What the running service lets others of the machine see, ask and inherit: nothing that is not meant for them."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from controller.telemetry.logging import logging_to
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user"),
]

NOBODY, GROUP = 65534, 61002
# Asks for the status as anybody might, with nothing of ours; exits with the first digit of the answer.
ASK = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
    s.sendall(b"GET /status HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    print(s.makefile("rb").readline().split()[1].decode())
except OSError as error:
    print(type(error).__name__)
"""
MAY_HAVE = {"PATH", "HOME", "LANG", "DOCKER_HOST", "DOCKER_CONFIG", "COMPOSE_EXPERIMENTAL_GIT_REMOTE",
            "COMPOSE_EXPERIMENTAL_OCI_REMOTE", "GOGC", "GOMEMLIMIT"}  # fmt: skip
"""The whole environment of a child. The last two say how rarely Go is to collect its garbage."""


@contextmanager
def umask(bits: int) -> Iterator[None]:
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everyone can enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def asked_by(path: Path, user: int, group: int, *groups: int) -> str:
    done = subprocess.run(
        ["/usr/bin/python3", "-c", ASK, str(path)], user=user, group=group, extra_groups=groups, cwd="/",
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.fault("H02")
def test_whatever_the_umask_only_its_owner_can_read_what_the_service_keeps(
    home: Home, tmp_path: Path
) -> None:
    home.state.mkdir(mode=0o777)
    home.state.chmod(0o777)
    secret = "secrets: {s: {environment: TOKEN}}\n"
    compose = SLEEPER + "    environment: [TOKEN]\n    secrets: [s]\n" + secret
    log = tmp_path / "other.log"
    with umask(0):
        folder = home.put("web", compose, {".env.example": "TOKEN=hunter2-hunter2\n"})
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        home.apps.chmod(0o755)
        home.start()
        home.wait("web", "Ready", timeout=60)
        (folder / "docker-compose.yaml").write_text(compose.replace("100000", "100001"))
        wait_until(
            lambda: (home.status("web") or {}).get("observedGeneration", 0) >= 2, "the edit is seen", 60
        )
        home.wait("web", "Ready", timeout=60)
    assert stat.S_IMODE(home.state.stat().st_mode) == 0o700
    for path in home.state.rglob("*"):
        expected = 0o700 if path.is_dir() else 0o660 if path.is_socket() else 0o600
        assert stat.S_IMODE(path.lstat().st_mode) == expected, path
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    with umask(0), logging_to(log_file=log):
        pass
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    assert {path.name for path in home.apps.iterdir()} == {".homeport", folder.name}
    assert stat.S_IMODE((home.apps / ".homeport").stat().st_mode) == 0o644


@pytest.mark.fault("H05")
def test_only_root_and_the_sockets_group_may_ask(home: Home, public: Path) -> None:
    path = public / "homeport.sock"
    home.start(f"--listen={path}")
    # The file is there, with the rights of the umask, a moment before anybody can connect.
    wait_until(lambda: asked_by(path, 0, 0) == "200", "it listens", 60)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    os.chown(path, 0, GROUP)
    assert asked_by(path, 0, 0) == "200"
    assert asked_by(path, NOBODY, GROUP) == "200"
    assert asked_by(path, NOBODY, NOBODY, GROUP) == "200"
    assert asked_by(path, NOBODY, NOBODY) == "PermissionError"
    path.chmod(0o666)  # somebody meant well
    # Refused before it is read: who is still writing may find the line cut.
    assert asked_by(path, NOBODY, NOBODY) in ("403", "BrokenPipeError", "ConnectionResetError")
    assert asked_by(path, NOBODY, NOBODY, GROUP) == "200"


def listening(pid: int) -> list[str]:
    """TCP and UDP sockets that this process listens on."""
    own = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            own.add(str(descriptor.readlink()))
    found = []
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            listens = fields[3] == "0A" or kind.startswith("udp")
            if listens and f"socket:[{fields[9]}]" in own:
                found.append(f"{kind} {fields[1]}")
    return found


@pytest.mark.fault("H05")
def test_the_network_reaches_nothing(home: Home) -> None:
    home.put("web", SLEEPER)
    home.start()
    home.wait("web", "Ready", timeout=60)
    assert home.process is not None
    with socket.create_server(("127.0.0.1", 0)):
        assert listening(os.getpid())  # the look itself sees one
    assert listening(home.process.pid) == []


@pytest.mark.fault("H01")
def test_a_child_inherits_nothing_of_the_services_own_environment(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Compose asks a credential helper for each registry that it pulls from: a child of a child, and it can be ours.
    seen = tmp_path / "seen"
    helper = tmp_path / "bin" / "docker-credential-look"
    helper.parent.mkdir()
    # `sh` adds to its environment; what it was started with is what counts.
    helper.write_text(
        f"#!/bin/sh\ntr '\\0' '\\n' < /proc/$PPID/environ > {seen}.new\nmv {seen}.new {seen}\nexit 1\n"
    )
    helper.chmod(0o755)
    config = tmp_path / "docker"
    config.mkdir()
    (config / "config.json").write_text(json.dumps({"credsStore": "look"}))
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    canary = "canary-of-the-service"
    for key in ("AWS_SECRET_ACCESS_KEY", "COMPOSE_FILE", "COMPOSE_PROFILES", "DOCKER_CONTEXT_", "LD_LIBRARY_PATH",
                "HOMEPORT_SECRET_", "TOKEN", "SSH_AUTH_SOCK", "NOTIFY_SOCKET"):  # fmt: skip
        monkeypatch.setenv(key, canary)
    home.put(
        "web", SLEEPER.replace("homeport/sample:1", "127.0.0.1:9/none:1"), {".env": "TOKEN_=of-the-app\n"}
    )
    home.start()
    home.wait("web", "Failed", timeout=60)
    wait_until(seen.exists, "the helper was asked", 60)
    found = dict(line.split("=", 1) for line in seen.read_text().splitlines() if "=" in line)
    assert canary not in seen.read_text()
    assert "of-the-app" not in seen.read_text()
    # What Compose itself sets for those that it starts is its own affair.
    assert (
        set(found) - {key for key in found if key.startswith(("COMPOSE_", "OTEL_", "DOCKER_CLI"))} <= MAY_HAVE
    )
    assert found["DOCKER_CONFIG"] == str(config)
