"""A child process is bounded in time and output, and nothing of it stays; what it says holds no secret."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.clock import SystemClock
from controller.engine import child
from controller.engine.child import Children, Limits, Outcome
from controller.engine.failures import compose_failure, last_words
from controller.engine.redaction import redact, shorten
from controller.model.errors import AppError, EngineUnreachable, Interrupted
from rig.waiting import wait_until

ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    monkeypatch.setattr(child, "KILL_AFTER", 0.3)
    return Children(SystemClock())


def sh(
    children: Children, script: str, deadline: float = 20, cap: int = child.OUTPUT_CAP, **options: Limits
) -> Outcome:
    return children.run(["sh", "-c", script], env=ENV, deadline=deadline, cap=cap, **options)


def test_a_child_gives_its_streams_and_its_status(children: Children) -> None:
    outcome = sh(children, "echo out; echo err >&2; exit 3")
    assert (outcome.code, outcome.stdout, outcome.stderr, outcome.timed_out) == (3, b"out\n", b"err\n", False)


def test_a_child_has_no_input_and_no_environment_but_the_given(children: Children) -> None:
    os.environ["HOMEPORT_CANARY"] = "x"
    try:
        assert sh(children, "cat; env | grep -c CANARY").stdout == b"0\n"
    finally:
        del os.environ["HOMEPORT_CANARY"]


@pytest.mark.fault("E08")
def test_output_beyond_the_cap_is_dropped_and_blocks_nobody(children: Children) -> None:
    noise = "head -c 3000000 /dev/zero | tr '\\0' x"
    outcome = sh(children, f"{noise}; {noise} >&2; echo end >&2; exit 4", cap=1000)
    assert (outcome.code, len(outcome.stdout), len(outcome.stderr)) == (4, 1000, 1000)
    assert outcome.truncated
    assert outcome.stderr.endswith(b"end\n")


def test_of_what_a_child_prints_the_end_is_kept_on_both_streams(children: Children) -> None:
    outcome = sh(children, "for n in 1 2 3 4; do echo $n; echo $n >&2; done", cap=4)
    assert (outcome.stdout, outcome.stderr, outcome.truncated) == (b"3\n4\n", b"3\n4\n", True)


def test_each_stream_has_a_hearer_of_its_own(children: Children) -> None:
    heard: list[bytes] = []

    def hear(line: bytes) -> bytes:
        heard.append(line)
        return line + b"\n"

    outcome = children.run(["sh", "-c", "echo out; echo err >&2"], env=ENV, deadline=10, hear_stdout=hear)
    assert (heard, outcome.stdout, outcome.stderr) == ([b"out"], b"out\n", b"err\n")


def test_whole_lines_of_stderr_are_heard_as_they_come_and_only_what_is_wanted_is_kept(
    children: Children,
) -> None:
    heard: list[bytes] = []

    def hear(line: bytes) -> bytes:
        heard.append(line)
        return b"" if line.startswith(b"no") else line + b"\n"

    said = "printf 'no' >&2; printf ' one\\nyes\\nno two\\nan end' >&2"
    outcome = children.run(["sh", "-c", said], env=ENV, deadline=10, hear=hear)
    assert heard == [b"no one", b"yes", b"no two"]
    assert outcome.stderr == b"yes\nan end"


def test_at_the_deadline_a_child_is_asked_to_end(children: Children) -> None:
    outcome = sh(children, "trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done", deadline=0.2)
    assert (outcome.timed_out, outcome.code, outcome.stdout) == (True, 7, b"bye\n")


@pytest.mark.fault("E08")
def test_a_child_that_does_not_end_when_asked_is_killed_with_its_children(
    children: Children, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    started = time.monotonic()
    outcome = sh(children, f"trap '' TERM; sleep 600 & echo $! > {pid}; wait; sleep 600", deadline=0.3)
    assert (outcome.timed_out, outcome.code) == (True, -9)
    assert time.monotonic() - started < 3
    wait_until(lambda: not _runs(int(pid.read_text())), "the grandchild is gone")


def test_a_grandchild_that_keeps_the_output_open_holds_nobody(children: Children, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    started = time.monotonic()
    assert sh(children, f"sleep 600 & echo $! > {pid}; echo done").stdout == b"done\n"
    assert time.monotonic() - started < 3
    wait_until(lambda: not _runs(int(pid.read_text())), "the grandchild is gone")


def test_an_interrupt_lets_a_child_end_within_its_grace(children: Children) -> None:
    threading.Timer(0.1, children.interrupt, [10]).start()
    assert sh(children, "sleep 0.4; echo done").stdout == b"done\n"
    with pytest.raises(Interrupted):
        sh(children, "echo never")


def test_an_interrupt_ends_a_child_after_its_grace(children: Children) -> None:
    threading.Timer(0.1, children.interrupt, [0.2]).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        sh(children, "sleep 600")
    assert 0.2 < time.monotonic() - started < 3
    assert children.running == ()


@pytest.mark.fault("E10")
def test_many_children_at_once_are_all_ended_and_nothing_leaks(children: Children) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    ended: list[str] = []

    def run() -> None:
        try:
            sh(children, "sleep 600")
        except Interrupted:
            ended.append("interrupted")

    threads = [threading.Thread(target=run) for _ in range(12)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(children.running) == 12, "all run")
    children.interrupt(0)
    for thread in threads:
        thread.join(5)
    assert ended == ["interrupted"] * 12
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_program_that_does_not_exist_is_an_os_error(children: Children) -> None:
    with pytest.raises(FileNotFoundError):
        children.run(["/no/such/program"], env=ENV, deadline=1)
    assert children.running == ()


def test_limits_hold_and_no_core_is_written(children: Children) -> None:
    outcome = sh(
        children, "sleep 0.2; grep -E 'core file|data size' /proc/self/limits", limits=Limits(memory=1 << 30)
    )
    lines = {line.split()[1]: line.split()[-3:-1] for line in outcome.stdout.decode().splitlines()}
    assert lines == {"core": ["0", "0"], "data": [str(1 << 30), str(1 << 30)]}


# ---- what a child says ----


@pytest.mark.parametrize(
    ("text", "values", "clean"),
    [
        ("token hunter22 refused", ["hunter22"], "token *** refused"),
        ("short ones stay: abc", ["abc"], "short ones stay: abc"),
        ('unterminated value "hunter2 tail-end', ['hunter2 tail-end"x'], 'unterminated value "*** ***'),
        ('The "saltsalt" variable is not set', ["$6$saltsalt$hashhash"], 'The "***" variable is not set'),
        ("doubled pa$$word", ["pa$word"], "doubled ***"),
        ("longest first: abcdefghi", ["abcdef", "abcdefghi"], "longest first: ***"),
        ("two\nlines secretline", ["first\nsecretline"], "two\nlines ***"),
        ("\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07bell\u202e", [], "red  bell "),
    ],
)
def test_secrets_and_control_characters_go(text: str, values: list[str], clean: str) -> None:
    assert redact(text, values) == clean


@given(st.text(), st.lists(st.text(min_size=6)))
def test_no_value_and_no_control_character_survives(text: str, values: list[str]) -> None:
    clean = redact(text + "".join(values), values)
    assert not any(ord(c) < 32 and c not in "\n\t" for c in clean)
    assert all(value not in clean for value in values if "*" not in value)


@given(st.text(), st.integers(10, 700))
def test_a_message_is_never_longer_than_its_limit(text: str, limit: int) -> None:
    assert len(shorten(text, limit)) <= limit


def test_progress_and_warnings_are_not_the_reason() -> None:
    stderr = (
        b'time="2026-01-01T00:00:00Z" level=warning msg="something is obsolete"\n'
        b" Container a-web-1  Creating\n Container a-web-1  Created\n\n"
        b"Error response from daemon: driver failed: port is already allocated\n"
    )
    assert last_words(stderr) == "Error response from daemon: driver failed: port is already allocated"


def test_a_sentence_that_is_said_with_and_without_its_subject_is_said_once() -> None:
    stderr = (
        b" Container a-web-1 Error response from daemon: No such image: i:1\n"
        b"Error response from daemon: No such image: i:1\nError response from daemon: No such image: i:1\n"
    )
    assert last_words(stderr) == "Container a-web-1 Error response from daemon: No such image: i:1"


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ('Get "http://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: connection refused', "PullFailed"),
        ("write /var/lib/x: no space left on device", "DiskFull"),
    ],
)
def test_a_failed_pull_names_image_service_and_cause_once(why: str, reason: str) -> None:
    stderr = (
        f" Image reg/x:1 Pulling \n Image reg/y:1 Pulling \n Image reg/x:1 Error {why}\n Image reg/y:1 Interrupted \n"
        f"Error response from daemon: {why}\nError response from daemon: no such image: reg/y:1: No such image: reg/y:1\n"
    )
    images = {"reg/x:1": ["side", "web"], "reg/y:1": ["db"]}
    failure = compose_failure("compose up a", "ApplyFailed", stderr.encode(), (), images)
    assert isinstance(failure, AppError)
    assert failure.reason == reason
    told = f"compose up a: image reg/x:1 of services side, web cannot be pulled: {why}"
    assert str(failure).partition("; make room")[0] == told


def test_the_cause_of_a_failed_pull_holds_no_secret() -> None:
    stderr = b" Image reg/x:1 Error denied for hunter2-and-more\n"
    failure = compose_failure(
        "compose up a", "ApplyFailed", stderr, ("hunter2-and-more",), {"reg/x:1": ["web"]}
    )
    assert str(failure) == "compose up a: image reg/x:1 of service web cannot be pulled: denied for ***"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "failed to create network x_default: could not find an available, non-overlapping IPv4 address pool",
            "NoAddressPool",
        ),
        ("all predefined address pools have been fully subnetted", "NoAddressPool"),
        ("failed to register layer: write /x: no space left on device", "DiskFull"),
        ("pull access denied for nope, repository does not exist", "PullFailed"),
        ("manifest for busybox:nope not found: manifest unknown", "PullFailed"),
        (
            'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: lookup failed',
            "PullFailed",
        ),
        ("Bind for 0.0.0.0:80 failed: port is already allocated", "ApplyFailed"),
    ],
)
def test_composes_words_have_a_reason(said: str, reason: str) -> None:
    failure = compose_failure("compose up web", "ApplyFailed", said.encode())
    assert isinstance(failure, AppError)
    assert failure.reason == reason
    assert str(failure).startswith("compose up web: ")


def test_an_engine_that_compose_cannot_reach_is_no_failure_of_an_app() -> None:
    said = (
        b"Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    )
    assert isinstance(compose_failure("compose up web", "ApplyFailed", said), EngineUnreachable)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
