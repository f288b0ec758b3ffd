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
from time import monotonic

import pytest

from controller.systemd import Supervisor, beat_and_patience
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


def well(_patience: float) -> str:
    """Nothing is wrong."""
    return ""


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "homeport-watchdog"]


def test_it_says_that_it_is_ready_and_that_it_stops(listener: Listener) -> None:
    supervisor = Supervisor(well, lambda: WORDS, silent, monotonic, {"NOTIFY_SOCKET": listener.address})
    supervisor.ready()
    assert listener.next() == ["READY=1", f"STATUS={WORDS}"]
    assert threads() == [], "without a watchdog there is no thread"
    supervisor.refresh()
    assert listener.next() == [f"STATUS={WORDS}"]
    supervisor.stopping()
    assert listener.next() == ["STOPPING=1"]


def watched(listener: Listener, seconds: float) -> dict[str, str]:
    return {
        "NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": f"{seconds * 1e6:.0f}", "WATCHDOG_PID": str(os.getpid()),
    }  # fmt: skip


def test_a_watchdog_is_fed_while_the_service_is_well_and_not_else(listener: Listener) -> None:
    trouble, told = "", list[tuple[str, str, str]]()
    supervisor = Supervisor(
        lambda _patience: trouble,
        lambda: WORDS,
        lambda *event: told.append(event),
        monotonic,
        watched(listener, 0.4),
    )
    supervisor.ready()
    assert listener.next()[0] == "READY=1"
    assert listener.next() == ["WATCHDOG=1", f"STATUS={WORDS}"]
    assert not listener.waits(0.35), "within its time the next one"
    trouble = "workers: 1 of 8 workers have ended"
    while not listener.waits(0.5):
        pass
    ((name, message, level),) = told  # once, however long it lasts
    assert (name, level) == ("service.unwell", "error")
    assert trouble in message
    trouble = ""
    assert listener.next() == ["WATCHDOG=1", f"STATUS={WORDS}"]
    supervisor.stopping()
    assert threads() == []


def test_what_is_wrong_at_one_look_alone_is_told_to_nobody(tmp_path: Path) -> None:
    listener, told = Listener(str(tmp_path / "notify")), list[str]()
    answers = ["", "once", "", "again", "", "twice", "twice", "twice", ""]

    def look(_patience: float) -> str:
        return answers.pop(0) if answers else ""

    supervisor = Supervisor(
        look,
        lambda: WORDS,
        lambda _name, message, _level: told.append(message),
        monotonic,
        watched(listener, 0.04),
    )
    supervisor.ready()
    wait_until(lambda: not answers, "it has looked so often", 20)
    supervisor.stopping()
    assert ["twice" in message for message in told] == [True]
    assert "ended" not in told[0]
    listener.socket.close()


def test_two_looks_that_take_all_their_time_end_before_the_watchdog_s(tmp_path: Path) -> None:
    """Counted from the last sign of life: else nobody would hear what is wrong before the process is ended."""
    listener, told = Listener(str(tmp_path / "notify")), threading.Event()
    now, looks = [0.0], list[float]()

    def look(patience: float) -> str:
        looks.append(now[0])
        now[0] += patience
        return "slow" if len(looks) > 1 else ""

    supervisor = Supervisor(
        look, lambda: WORDS, lambda *_event: told.set(), lambda: now[0], watched(listener, 3600.0)
    )
    supervisor.ready()
    assert told.wait(20), "a look that took longer than a beat is followed by the next at once"
    supervisor.stopping()
    listener.socket.close()
    beat, patience = beat_and_patience({"WATCHDOG_USEC": "60000000"})
    assert (beat, patience) == (15.0, 20.0)
    assert beat + 2 * patience < 60.0


def test_a_stop_does_not_wait_for_a_look_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.systemd._LAST_LOOK", 0.1)
    listener, told = Listener(str(tmp_path / "notify")), list[str]()
    entered, goes_on = threading.Event(), threading.Event()

    def hang(_patience: float) -> str:
        entered.set()
        goes_on.wait(60)
        return ""

    supervisor = Supervisor(
        hang, lambda: WORDS, lambda name, *_rest: told.append(name), monotonic, watched(listener, 60.0)
    )
    supervisor.ready()
    assert listener.next()[0] == "READY=1"
    assert entered.wait(10)
    supervisor.stopping()
    assert listener.next() == ["STOPPING=1"]
    goes_on.set()
    wait_until(lambda: not threads(), "its thread has ended", 10)
    assert listener.waits(0.1), "a sign of life after the end is none"
    assert told == []
    listener.socket.close()


def test_who_cannot_tell_whether_the_service_is_well_feeds_no_watchdog(tmp_path: Path) -> None:
    listener = Listener(str(tmp_path / "notify"))

    def fails(_patience: float) -> str:
        raise RuntimeError("a fault of ours")

    supervisor = Supervisor(
        fails,
        lambda: WORDS,
        silent,
        monotonic,
        {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "200000"},
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
    supervisor = Supervisor(well, lambda: WORDS, silent, monotonic, environment | other)
    supervisor.ready()
    assert threads() == []
    supervisor.stopping()
    listener.socket.close()


def test_nobody_who_listens_is_no_trouble(tmp_path: Path) -> None:
    def words() -> str:
        raise AssertionError("nobody asked")

    for environment in ({}, {"NOTIFY_SOCKET": ""}):
        alone = Supervisor(well, words, silent, monotonic, environment)
        alone.ready()
        alone.stopping()
    gone = Supervisor(well, words, silent, monotonic, {"NOTIFY_SOCKET": str(tmp_path / "gone")})
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
