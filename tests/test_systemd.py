"""What is told to whoever started the service, on a socket as systemd makes one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.systemd import Supervisor
from rig.waiting import wait_until

WORDS = "2 apps: 2 Ready"


class Listener:
    """The end of the socket that systemd holds."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.settimeout(20)

    def next(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    def waits(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(4096)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(20)
        return False


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    name = f"@homeport-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    heard = Listener(name)
    yield heard
    heard.socket.close()


def silent(_name: str, _message: str, _level: str) -> None:
    """Nobody hears it."""


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "homeport-watchdog"]


def test_it_says_that_it_is_ready_and_that_it_stops(listener: Listener) -> None:
    supervisor = Supervisor(lambda: True, lambda: WORDS, silent, {"NOTIFY_SOCKET": listener.address})
    supervisor.ready()
    assert listener.next() == ["READY=1", f"STATUS={WORDS}"]
    assert threads() == [], "without a watchdog there is no thread"
    supervisor.refresh()
    assert listener.next() == [f"STATUS={WORDS}"]
    supervisor.stopping()
    assert listener.next() == ["STOPPING=1"]


def test_a_watchdog_is_fed_twice_in_its_time_while_the_service_is_well_and_not_else(
    listener: Listener,
) -> None:
    well, told = True, list[tuple[str, str]]()
    supervisor = Supervisor(
        lambda: well,
        lambda: WORDS,
        lambda name, _message, level: told.append((name, level)),
        {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "400000", "WATCHDOG_PID": str(os.getpid())},
    )
    supervisor.ready()
    assert listener.next()[0] == "READY=1"
    assert listener.next() == ["WATCHDOG=1", f"STATUS={WORDS}"]
    assert not listener.waits(0.35), "at half of the time the next one"
    well = False
    while not listener.waits(0.5):
        pass
    assert told == [("service.unwell", "error")], "once, however long it lasts"
    well = True
    assert listener.next() == ["WATCHDOG=1", f"STATUS={WORDS}"]
    supervisor.stopping()
    assert threads() == []


def test_who_cannot_tell_whether_the_service_is_well_feeds_no_watchdog(tmp_path: Path) -> None:
    listener = Listener(str(tmp_path / "notify"))

    def fails() -> bool:
        raise RuntimeError("a fault of ours")

    supervisor = Supervisor(
        fails, lambda: WORDS, silent, {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "200000"}
    )
    supervisor.ready()
    assert listener.next()[0] == "READY=1"
    assert listener.waits(0.4)
    supervisor.stopping()
    assert listener.next() == ["STOPPING=1"]
    listener.socket.close()


@pytest.mark.parametrize("other", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}])
def test_a_watchdog_that_waits_for_another_process_or_makes_no_sense_is_left_alone(
    tmp_path: Path, other: dict[str, str]
) -> None:
    listener = Listener(str(tmp_path / "notify"))
    environment = {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "100000"}
    supervisor = Supervisor(lambda: True, lambda: WORDS, silent, environment | other)
    supervisor.ready()
    assert threads() == []
    supervisor.stopping()
    listener.socket.close()


def test_nobody_who_listens_is_no_trouble(tmp_path: Path) -> None:
    def words() -> str:
        raise AssertionError("nobody asked")

    for environment in ({}, {"NOTIFY_SOCKET": ""}):
        alone = Supervisor(lambda: True, words, silent, environment)
        alone.ready()
        alone.stopping()
    gone = Supervisor(lambda: True, words, silent, {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    gone.ready()
    gone.stopping()


def test_the_service_tells_its_supervisor_all_its_life(tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir()
    listener = Listener(str(tmp_path / "notify"))
    log = tmp_path / "log"
    with log.open("wb") as out:
        service = subprocess.Popen(
            [sys.executable, "-m", "controller", "run", "--log-format=json"], stdin=subprocess.DEVNULL,
            stdout=out, stderr=out,
            env={
                **os.environ, "DOCKER_HOST": "unix:///nonexistent.sock", "HOMEPORT_APPS": str(tmp_path / "apps"),
                "HOMEPORT_STATE": str(tmp_path / "state"), "NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "400000",
            },
        )  # fmt: skip
    try:
        first = listener.next()
        assert first[0] == "READY=1"
        assert first[1].startswith("STATUS=0 apps; the engine ")
        assert listener.next()[0] == "WATCHDOG=1"
        service.send_signal(signal.SIGTERM)
        wait_until(lambda: listener.next() == ["STOPPING=1"], "it says that it stops", 20)
        assert service.wait(20) == 0, log.read_text()
    finally:
        service.kill()
        service.wait()
        listener.socket.close()
