"""What others wrote is shown and never obeyed: no line is forged, no terminal is steered, no record is endless."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any, Literal

import pytest
from click.testing import CliRunner

from controller.cli.main import cli
from controller.cli.printing import json_text
from controller.model.record import Event
from controller.status.store import SqliteStore
from controller.telemetry.logging import RECORD, LogListener, logging_to
from fakes.build import at
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

pytestmark = pytest.mark.fault("H04")

FORGED = '{"event": "app.ready", "app": "forged"}'
EVIL = f"x\n{FORGED}\r\n\x1b[2J\x1b]0;title\x07\x9b31m\u202egpj.exe\u2028\x85%s%n{{}}{{0}}\x7f\x08"
LONG = "long " * 200_000


def is_shown(text: str) -> bool:
    """Whether a terminal would only show it."""
    return all(line.isprintable() for line in text.split("\n"))


def logged(event: Event, log_format: Literal["json", "console"]) -> str:
    stream = io.StringIO()
    with logging_to(log_format, stream=stream):
        LogListener()(event)
    return stream.getvalue()


def events() -> list[Event]:
    texts = [EVIL, EVIL * 20_000, LONG, "\U0001f600" * 100_000, "\udcff", "%s %(x)s {} {0.__class__}"]
    return [
        *(
            Event(at(0), text, "app.failed", "error", text, {"note": text, "path": Path("/x")})
            for text in texts
        ),
        Event(at(0), "web", "app.failed", "error", "m", {f"field{n}": LONG[:9000] for n in range(300)}),
        Event(at(0), "web", "app.failed", "error", "m", {"deep": {"a": [EVIL] * 50_000}}),
    ]


@pytest.mark.parametrize("number", range(len(events())))
def test_a_record_of_the_log_is_one_line_of_bounded_size_that_keeps_what_comes_first(number: int) -> None:
    event = events()[number]
    text = logged(event, "json")
    assert text.endswith("\n")
    assert len(text) <= RECORD + 1
    assert text[:-1].isascii()
    assert text[:-1].isprintable()
    line = json.loads(text)
    assert (line["event"], line["level"]) == ("app.failed", "error")
    assert line["message"][:20] == event.message[:20]


@pytest.mark.parametrize("number", range(len(events())))
def test_a_line_of_the_console_is_one_line_of_bounded_size(number: int) -> None:
    event = events()[number]
    text = logged(event, "console")
    assert text.count("\n") == 1
    assert len(text) <= RECORD + 1
    assert text[:-1].isprintable()
    assert "app.failed" in text


def test_an_honest_long_message_is_told_whole() -> None:
    message = "a line that says much; " * 100
    assert json.loads(logged(Event(at(0), "web", "n", "info", message), "json"))["message"] == message


def test_json_for_people_and_programs_steers_no_terminal_and_says_the_same() -> None:
    document: dict[str, Any] = {EVIL: [EVIL, {"x": EVIL, "half": "\udcff", "é": "ü"}]}
    for indent in (None, 2):
        text = json_text(document, indent)
        assert is_shown(text)
        assert json.loads(text) == document
    assert "é" in json_text(document)


def test_a_name_of_a_file_that_is_no_text_is_kept_in_the_state(tmp_path: Path) -> None:
    told = Event(at(0), "web", "n", "info", "scripts/\udcff", {"path": "\udcff"})
    with SqliteStore(tmp_path) as store:
        store.tell(told)
        ((_, found),) = store.events()
    assert found.fields == told.fields
    assert "udcff" in found.message


def put_hostile_apps(home: Home) -> None:
    """One app for each way in which a text of others gets into what we say."""
    quoted, more = json.dumps(EVIL), f"{home.prefix}more"
    home.put("good", SLEEPER)
    home.put("manifest", SLEEPER, display_name=EVIL, version=EVIL, icon=f"../{EVIL}", **{EVIL: 1})
    home.put("words", SLEEPER, display_name=EVIL, version=EVIL, description=LONG[:1000])
    home.put("port", SLEEPER + f"    ports: [{quoted}]\n")
    home.put("image", SLEEPER.replace("homeport/sample:1", quoted) + "    pull_policy: never\n")
    home.put("include", SLEEPER + f"include: [{quoted}]\n")
    home.put("key", SLEEPER + f"{quoted}: {{a: 1}}\n")
    home.put("env", SLEEPER, {".env": "A='unterminated \x1b[2J\u202e\n" + FORGED + "\n"})
    says = "printf '%s\\n' \"$$EVIL\" >&2; head -c 1000000 /dev/zero | tr '\\0' x; exit 3"
    run = json.dumps(["sh", "-c", says])
    home.put(
        "says",
        SLEEPER.replace('["sleep", "100000"]', run)
        + f"    environment: {{EVIL: {json.dumps('evil ' + EVIL)}}}\n",
    )
    hook = "printf 'evil\\033[2J\\n%s\\n' '" + FORGED + "' >&2; printf 'a b\\033[2J=1\\nx\\n'; exit 3\n"
    home.put("db", SLEEPER, {"scripts/hook.sh": hook})
    home.put("hook", SLEEPER, requires=[{"app": home.name("db"), "on_install": "scripts/hook.sh"}])
    key = "printf 'lower\\033[2J=1\\nDOCKER_HOST=\\033[2J\\n'\n"
    home.put("db2", SLEEPER, {"scripts/hook.sh": key})
    home.put("key2", SLEEPER, requires=[{"app": home.name("db2"), "on_install": "scripts/hook.sh"}])
    script = home.put("script", SLEEPER, {"scripts/a.sh": "true\n"}) / "scripts"
    (script / "a.sh").rename(script / os.fsdecode(b"evil\n\xff\x1b[2J.sh"))
    (script / os.fsdecode(b"evil\n\xff\x1b[2J.sh")).chmod(0o666)
    for name in (EVIL.replace("/", ""), os.fsdecode(b"\xff\xfe\n"), "A" * 255, more.upper(), "%s{}", "-rf"):
        (home.apps / name).mkdir()
    for n in range(200):
        (home.apps / f"Not {n} {EVIL}".replace("/", "")).mkdir()


EXPECTED = {
    "good": "Ready", "manifest": "Invalid", "words": "Ready", "port": "Invalid", "image": "Invalid Failed",
    "include": "Invalid", "key": "Invalid", "env": "Invalid", "says": "Failed Progressing Degraded", "db": "Ready",
    "db2": "Ready", "hook": "Failed", "key2": "Failed", "script": "Invalid",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.engine
def test_nobody_forges_a_line_of_the_log_or_steers_a_terminal(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_hostile_apps(home)
    home.start()
    for short, words in EXPECTED.items():
        home.wait(short, *words.split(), timeout=60)
    wait_until(lambda: home.log("tree.ignored"), "the odd names are told", 60)
    wait_until(lambda: "exit" in str(home.status("says")), "it is told how it ended", 60)
    for key, value in home.environment().items():
        monkeypatch.setenv(key, value)
    questions = [
        ["status"], ["status", "-o", "wide"], ["status", "-o", "json"], ["events"], ["events", "-o", "json"], ["plan"],
        ["prune"], ["history", home.name("says")], ["validate"], ["validate", "-o", "json"], ["status", "-o", "\x1b[2J"],
        *(["why", home.name(short), *form] for short in EXPECTED for form in ([], ["-o", "json"])),
    ]  # fmt: skip
    for question in questions:
        done = CliRunner().invoke(cli, question)
        assert is_shown(done.output), question
        assert not isinstance(done.exception, Exception), done.exception
        assert not any(line.strip() == FORGED for line in done.output.split("\n")), question
    home.stop()
    check_log(home.log_file.read_bytes())
    assert not [line for line in home.log() if line.get("app") == "forged"]


def check_log(log: bytes) -> None:
    for line in log.split(b"\n")[:-1]:
        assert len(line) <= RECORD
        assert line.isascii()
        assert line.decode().isprintable(), line
        assert isinstance(json.loads(line), dict)


@pytest.mark.slow
@pytest.mark.engine
def test_nobody_steers_the_terminal_on_which_the_service_runs(home: Home) -> None:
    put_hostile_apps(home)
    flags = [f"--{key}={value}" for key, value in home.settings.items()]
    done = home.run("run", "--once", "--log-format=console", *flags, timeout=120)
    assert is_shown(done.stdout)
    assert is_shown(done.stderr)
    assert "app.invalid" in done.stderr
    assert not any(line.strip() == FORGED for line in done.stderr.split("\n"))
