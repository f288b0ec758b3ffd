"""One line for each event, the same fields for programs as for people, and nothing in it that acts."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import structlog

from controller.model.record import Event
from controller.telemetry.logging import LogListener, logging_to
from fakes.build import at


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(message: str = "runs generation 1", level: str = "info", **fields: Any) -> Event:
    return Event(at(0.5), "web", "app.ready", level, message, fields)


def told(told: Event, log_format: Any = "json", stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    with logging_to(log_format, stream=stream):
        LogListener()(told)
    return stream.getvalue()


def test_a_json_line_has_the_fields_that_programs_look_for() -> None:
    with structlog.contextvars.bound_contextvars(reconcile_id="r1"):
        line = json.loads(told(event(generation=1)))
    assert line.pop("timestamp").startswith("2026-01-01T12:00:00.5")
    assert line == {
        "level": "info", "event": "app.ready", "app": "web", "reconcile_id": "r1", "message": "runs generation 1",
        "generation": 1,
    }  # fmt: skip


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.fault("H04")
def test_whatever_is_in_a_message_it_is_one_line_without_control_characters(log_format: str) -> None:
    evil = "a\nb\r\x1b[2Jc\u2028d\x85e\u202ef"
    text = told(Event(at(0), evil, "app.ready", "info", evil, {"note": evil, "path": Path("/x")}), log_format)
    assert text.endswith("\n")
    assert text[:-1].isprintable()


@pytest.mark.parametrize("name", ["timestamp", "level", "event", "app", "message", "reconcile_id"])
def test_a_field_cannot_take_the_place_of_one_of_the_lines_own(name: str) -> None:
    line = json.loads(told(Event(at(0), "web", "n", "info", "m", {name: "F"})))
    assert line.get(name) != "F"
    assert "F" in line.values()


def test_a_console_line_reads_from_left_to_right() -> None:
    text = told(event(waits="web server"), "console")
    assert re.search(r'\d\d:\d\d:\d\d +info +app\.ready +web +runs generation 1 +waits="web server"\n$', text)
    assert "\x1b" not in text


def test_what_a_person_has_read_in_the_message_already_is_for_the_json_log_alone() -> None:
    fields = {
        "kind": "hook",
        "target": "web:db:on_start",
        "reason": "R",
        "revision": "0a1b",
        "files": ["a"],
        "volumes": [],
    }
    assert told(event(**fields), "console").rstrip().endswith("runs generation 1")
    line = json.loads(told(event(**fields), "json"))
    assert {key: line[key] for key in fields} == fields


def test_a_terminal_gets_colours_and_anything_else_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    text = told(event(level="error"), "auto", Terminal())
    assert "\x1b[38;5;160m" in text
    assert told(event(), "auto").startswith("{")


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in told(event(), "auto", Terminal())


def test_what_is_below_the_level_is_not_logged() -> None:
    stream = io.StringIO()
    with logging_to("json", "warning", stream=stream):
        LogListener()(event())
        LogListener()(event("bad", "error"))
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["bad"]


def test_other_parts_of_the_program_write_to_the_same_log() -> None:
    stream = io.StringIO()
    with logging_to("json", stream=stream):
        structlog.get_logger("homeport").warning("worker.failed", message="m")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["message"]) == ("worker.failed", "warning", "m")
    assert "timestamp" in line


def test_a_log_file_is_appended_to_and_follows_its_rotation(tmp_path: Path) -> None:
    path = tmp_path / "homeport.log"
    for _ in range(2):
        with logging_to("auto", log_file=path, stream=Terminal()):
            LogListener()(event())
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["app.ready"] * 2
    with logging_to("auto", log_file=path):
        path.rename(tmp_path / "homeport.log.1")
        LogListener()(event())
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.fault("E09")
def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    stream = io.StringIO()
    with logging_to("json", stream=stream):
        stream.close()
        LogListener()(event())
