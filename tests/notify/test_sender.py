"""Messages get to where they are to go, by a thread that holds up nobody; no address is ever shown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controller.clock import SystemClock
from controller.model.record import Event
from controller.notify import digest, sender
from controller.notify.digest import Message
from controller.notify.sender import Notifier, NotifyUnusable, open_addresses
from controller.notify.sight import Sight
from rig.receiver import SECRET, Receiver
from rig.waiting import wait_until

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FAILED = {"web": Sight("Failed", "ApplyFailed", "crash", trouble=True)}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "QUIET", 0.05)
    monkeypatch.setattr(digest, "GAP", 0.05)
    monkeypatch.setattr(sender, "GAP", 0.05)


def event(name: str, app: str = "web") -> Event:
    return Event(NOON, app, name, "error", "crash")


class Running:
    """A notifier at work."""

    def __init__(
        self, *addresses: Any, look: Callable[[], Mapping[str, Sight]] | None = None, memory: str = ""
    ) -> None:
        self.apps: Mapping[str, Sight] = FAILED
        self.memory: list[str] = []
        self.notifier = Notifier(
            addresses,
            look or (lambda: self.apps),
            SystemClock(),
            memory,
            self.memory.append,
            retries=(0.05, 0.05),
        )

    def __enter__(self) -> Running:
        self.notifier.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.notifier.stop()


class Slow:
    """An address that takes its time, and counts."""

    name = "1 (slow)"

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def send(self, _message: Message) -> bool:
        self.begun.set()
        return self.may_end.wait(20)


def test_a_message_gets_there_with_its_kind_and_is_remembered(receiver: Receiver) -> None:
    with Running(*open_addresses([receiver.url])) as running:
        running.notifier(event("app.failed"))
        got = receiver.next()
        assert got["type"] == "failure"
        assert got["title"].endswith(": web is Failed")
        assert got["message"] == "web is Failed: crash"
        wait_until(lambda: bool(running.memory) and "web" in running.memory[-1], "it is remembered", 10)
        running.apps = {"web": Sight("Ready")}
        running.notifier(event("app.ready"))
        assert receiver.next()["type"] == "success"
        wait_until(lambda: running.memory[-1] == "", "it is over", 10)


def test_what_was_not_taken_is_sent_again(receiver: Receiver) -> None:
    receiver.answers = [500, 503]
    with Running(*open_addresses([receiver.url])) as running:
        running.notifier(event("app.failed"))
        assert receiver.next()["message"] == "web is Failed: crash"


def test_only_the_address_that_did_not_take_it_gets_it_again(receiver: Receiver) -> None:
    other = Receiver()
    try:
        receiver.answers = [500]
        with Running(*open_addresses([receiver.url, other.url])) as running:
            running.notifier(event("app.failed"))
            receiver.next()
            other.next()
        assert other.got.empty()
    finally:
        other.close()


def test_what_cannot_be_sent_is_given_up_logged_without_the_address_and_the_next_is_sent(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from controller.telemetry.logging import logging_to

    log = tmp_path / "log"
    receiver.answers = [500, 500, 500]
    with logging_to("json", log_file=log), Running(*open_addresses([receiver.url])) as running:
        running.notifier(event("app.failed"))
        wait_until(lambda: "notify.failed" in log.read_text(), "it is given up", 20)
        running.notifier(event("engine.lost", ""))
        assert "The engine is lost" in receiver.next()["message"]
        wait_until(lambda: "notify.sent" in log.read_text(), "it is sent", 20)
    said = log.read_text() + caplog.text + "".join(capsys.readouterr())
    assert "address 1 (json) did not take it" in said
    assert SECRET not in said
    assert "127.0.0.1" not in said


def test_nobody_waits_for_a_message_that_is_on_its_way() -> None:
    slow = Slow()
    with Running(slow) as running:
        running.notifier(event("app.failed"))
        assert slow.begun.wait(20)
        # The thread is in the middle of sending, for as long as it likes.
        for _ in range(5 * sender.HELD):
            running.notifier(event("app.failed"))
        assert len(running.notifier._heard) == sender.HELD
        slow.may_end.set()


class Never:
    """An address that takes nothing."""

    name = "1 (never)"

    def __init__(self) -> None:
        self.tried = threading.Event()

    def send(self, _message: Message) -> bool:
        self.tried.set()
        return False


def test_it_stops_while_it_waits_to_try_again() -> None:
    never = Never()
    notifier = Notifier((never,), lambda: FAILED, SystemClock(), retries=(3600.0,))
    notifier.start()
    notifier(event("app.failed"))
    assert never.tried.wait(20)
    notifier.stop()
    assert not notifier.alive()


def test_the_end_waits_a_while_for_one_address_and_goes_to_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "PATIENCE", 0.2)
    slow, other = Slow(), Never()
    running = Running(slow, other)
    running.notifier.start()
    assert slow.begun.wait(20)
    running.notifier.stop()
    assert running.notifier.alive(), "it is left to end with the process"
    slow.may_end.set()
    wait_until(lambda: not running.notifier.alive(), "it ends", 10)
    assert not other.tried.is_set()
    assert "web" in running.memory[-1], "somebody took it"


def test_what_nobody_took_counts_as_not_told(receiver: Receiver) -> None:
    receiver.answers = [500, 500, 500]
    with Running(*open_addresses([receiver.url])) as running:
        wait_until(lambda: bool(running.memory), "it is given up", 20)
        assert running.memory == [""]
        running.notifier(event("app.failed"))
        assert receiver.next()["message"] == "web is Failed: crash"
        wait_until(lambda: "web" in running.memory[-1], "it is remembered", 10)


def test_what_the_end_cut_short_counts_as_not_told_and_is_told_by_the_next_process(
    receiver: Receiver,
) -> None:
    never = Never()
    running = Running(never)
    running.notifier._retries = (3600.0,)
    with running:
        assert never.tried.wait(20)
    assert running.memory == [""]
    with Running(*open_addresses([receiver.url]), memory=running.memory[-1]):
        assert receiver.next()["message"] == "web is Failed: crash"


def test_an_end_without_a_word_is_remembered_too(receiver: Receiver) -> None:
    with Running(*open_addresses([receiver.url])) as running:
        receiver.next()
        wait_until(lambda: bool(running.memory) and "web" in running.memory[-1], "it is told", 10)
        running.apps = {"web": Sight("Stopped")}
        running.notifier(event("app.stopped"))
        wait_until(lambda: running.memory[-1] == "", "it is over", 10)
    assert receiver.got.empty()


def test_a_fault_while_looking_ends_nothing(receiver: Receiver) -> None:
    looks: list[int] = []

    def look() -> Mapping[str, Sight]:
        looks.append(1)
        if len(looks) == 1:
            raise RuntimeError("a fault of ours")
        return FAILED

    with Running(*open_addresses([receiver.url]), look=look) as running:
        running.notifier(event("app.failed"))
        assert receiver.next()["message"] == "web is Failed: crash"
        assert len(looks) == 2


def test_events_that_tell_nothing_wake_nobody() -> None:
    with Running(Slow(), look=dict) as running:
        running.notifier(event("action.done"))
        assert not running.notifier._heard


def test_an_address_that_makes_no_sense_is_named_by_its_number_and_not_shown() -> None:
    for url in (f"nonsense://{SECRET}", SECRET, f"json://:{SECRET}@"):
        with pytest.raises(NotifyUnusable) as raised:
            open_addresses([f"json://user:{SECRET}@localhost/x", url])
        assert "address 2 (" in str(raised.value)
        assert SECRET not in str(raised.value)


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(NotifyUnusable, match=r"pip install 'homeport\[notify\]'"):
        open_addresses(["json://localhost"])
    assert open_addresses([]) == ()


# -- the program --


def run(receiver_url: str, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "controller", *arguments], env=environment(receiver_url, tmp_path),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def environment(url: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "apps").mkdir(exist_ok=True)
    return {
        **os.environ, "DOCKER_HOST": "unix:///nonexistent.sock", "HOMEPORT_APPS": str(tmp_path / "apps"),
        "HOMEPORT_STATE": str(tmp_path / "state"), "HOMEPORT_NOTIFY": url,
    }  # fmt: skip


def test_a_person_can_try_whether_a_message_gets_there(receiver: Receiver, tmp_path: Path) -> None:
    done = run(receiver.url, tmp_path, "notify", "--test")
    assert (done.returncode, done.stdout) == (0, "address 1 (json): sent\n")
    assert receiver.next()["title"].endswith(": this is a test")
    receiver.answers = [500]
    done = run(receiver.url, tmp_path, "notify", "--test")
    assert done.returncode == 1
    assert "did not take it" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert run("", tmp_path, "notify", "--test").returncode == 2
    assert run(f"nonsense://{SECRET}", tmp_path, "notify").returncode == 2


def test_the_service_tells_that_it_lost_its_engine_and_shows_no_address(
    receiver: Receiver, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as out:
        service = subprocess.Popen(
            [sys.executable, "-m", "controller", "run", "--log-format=json", "--log-level=debug"],
            env=environment(receiver.url, tmp_path), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        got = receiver.got.get(timeout=60)
        assert got["message"].startswith("The engine is lost: the engine cannot be reached")
        wait_until(lambda: "notify.sent" in log.read_text(), "it says so", 20)
        service.send_signal(signal.SIGTERM)
        assert service.wait(20) == 0
    finally:
        service.kill()
        service.wait()
    assert SECRET not in log.read_text()


def test_a_service_that_is_to_tell_and_cannot_does_not_start(tmp_path: Path) -> None:
    done = run(f"nonsense://{SECRET}", tmp_path, "run")
    assert done.returncode == 2
    assert "address 1 (nonsense)" in done.stderr
    assert SECRET not in done.stderr
