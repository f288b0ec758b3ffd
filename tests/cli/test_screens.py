"""What people see: it fits its terminal, can be read on light and on dark, and is plain where no terminal is."""

from __future__ import annotations

from contextlib import closing

import click
import pytest

from controller.cli import plain, screens
from controller.cli.layout import COLOURS, Column, Page, clock, span, table
from controller.control.queries import status_document
from controller.model.record import Verdict
from controller.status.store import SqliteStore
from controller.status.transition import transition, with_missing
from fakes.build import NOON, at, record
from rig import terminal
from screens.captures import SCREENS, WIDTHS, capture, lines, path_of


@pytest.mark.parametrize("width", WIDTHS)
def test_the_captures_in_docs_are_what_is_shown(width: int) -> None:
    assert path_of(width).read_text() == capture(width), "run `make screens` and look at the difference"


@pytest.mark.parametrize("width", [60, 80, 100, 120, 140, 200])
@pytest.mark.parametrize("name", SCREENS)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    assert [line for line in lines(name, width) if len(click.unstyle(line)) > width] == []


def test_a_wider_terminal_shows_more_columns() -> None:
    heads = [click.unstyle(lines("status", width)[0]).split() for width in (80, 120, 140)]
    assert heads[0] == ["APP", "STATUS", "SINCE", "MESSAGE"]
    assert set(heads[0]) < set(heads[1]) < set(heads[2])


def test_text_beside_a_table_goes_below_its_row_where_there_is_no_room() -> None:
    columns = (Column("APP"), Column("MESSAGE"))
    rows = [["a" * 30, "some words that are longer than the room there is for them"]]
    below = table(columns, rows, Page(60))
    assert below[1:] == ["a" * 30, "    some words that are longer than the room there is for", "    them"]
    beside = table(columns, rows, Page(75))
    assert beside[2] == " " * 32 + "there is for them"


def test_a_path_and_a_command_are_never_cut() -> None:
    path, command = "/var/lib/homeport/apps/" + "x" * 40, "`homeport set guestbook OWNER`"
    told = Page(40).wrap(f"edit {path} or say {command} instead")
    assert told == ["edit", path, f"or say {command}", "instead"]


def test_a_message_in_a_list_is_cut_between_words_and_says_so() -> None:
    rows = [["a", "word " * 60]]
    told = table((Column("APP"), Column("MESSAGE")), rows, Page(50), most=2)
    assert len(told) == 3
    assert told[-1].endswith("word …")
    assert all(len(line) <= 50 for line in told)


def _luminance(colour: int) -> float:
    """Of one of the 216 colours of the cube, as WCAG has it."""
    levels = (0, 95, 135, 175, 215, 255)
    cube = colour - 16
    parts = [levels[part] / 255 for part in (cube // 36, cube // 6 % 6, cube % 6)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", sorted(set(COLOURS.values())))
def test_colours_can_be_read_on_black_and_on_white(colour: int) -> None:
    light = _luminance(colour)
    assert (light + 0.05) / 0.05 >= 3.8
    assert 1.05 / (light + 0.05) >= 3.8


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.usefixtures("homeport", "recorded")
def test_no_colour_where_it_is_not_wanted(env: dict[str, str]) -> None:
    assert b"\x1b[38" in terminal.run("status").raw
    assert b"\x1b[" not in terminal.run("status", env=env).raw


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["status paperless", "why paperless", "history paperless"])
def test_what_was_the_matter_with_what_was_taken_back_is_said_once_on_a_page(name: str, width: int) -> None:
    page, _, happened = " ".join(click.unstyle(line).strip() for line in lines(name, width)).partition(
        "Last events"
    )
    assert page.count("no such table: documents") == 1
    assert page.count("not tried again") + page.count("does not try generation 4 again") <= 1
    # That it went back is another thing that happened, and tells of the same in its own words.
    assert happened.count("no such table: documents") <= 1


@pytest.mark.parametrize(
    ("seconds", "said"), [(38.0, "next try in 38s"), (0.3, "next try in 1s"), (-2.0, "next try now")]
)
def test_the_next_try_is_never_in_no_time(seconds: float, said: str) -> None:
    failed = transition(record(), Verdict("Failed", "ApplyFailed", "no"), NOON)
    with closing(SqliteStore.in_memory()) as store:
        store.save(failed)
        (shown,) = status_document(store, {"running": True}, NOON, None)["apps"]
    shown["nextTryTime"] = at(seconds).isoformat()
    assert screens.message(shown, NOON) == f"no ({said})"
    row = screens.status({"service": {"running": True}, "apps": [shown]}, NOON, Page(), wide=True)[-1]
    assert said.removeprefix("next try ").removeprefix("in ") in row.split()
    assert screens.message(shown, at(60), live=False) == "no", "no service, no next try"


def test_a_generation_that_is_not_finished_says_which_one_was() -> None:
    shown = {"generation": 5, "observedGeneration": 4}
    assert screens.generation(shown) == "5 (finished 4)"
    assert screens.generation({**shown, "observedGeneration": -1}) == "5 (finished none)"
    assert screens.generation({**shown, "observedGeneration": 5}) == "5"


@pytest.mark.usefixtures("homeport", "recorded")
def test_a_real_terminal_of_80_columns_is_enough() -> None:
    for command in (
        ["status"],
        ["status", "-o", "wide"],
        ["status", "web"],
        ["why", "old"],
        ["events"],
        ["doctor"],
    ):
        shown = terminal.run(*command)
        broken = [
            row
            for row in shown.raw.decode().split("\r\n")
            if len(click.unstyle(row)) > 80 and " " in row[60:80]
        ]
        assert broken == [], command


@pytest.mark.usefixtures("homeport", "recorded")
def test_an_error_ends_its_lines_between_words() -> None:
    shown = terminal.run("status", "nobody-has-an-app-of-this-name-that-is-quite-long", columns=60)
    assert len(shown.lines) > 1
    assert all(len(row) <= 60 for row in click.unstyle(shown.raw.decode()).split("\r\n"))
    assert "homeport: no app is named" in shown.lines[0]


def test_times_are_of_the_clock_for_today_and_with_the_date_before() -> None:
    from datetime import UTC

    assert clock(at(5), NOON, UTC) == "12:00:05"
    assert clock(at(-86400), NOON, UTC) == "2025-12-31 12:00"
    assert [span(seconds) for seconds in (-1, 45, 600, 7200, 172800)] == ["0s", "45s", "10m", "2h", "2d"]


def test_what_is_not_printable_reaches_no_terminal() -> None:
    assert plain.clean("a\nb\x1b[31m\x00") == "a; b [31m "


def test_that_the_folder_is_gone_comes_before_all_else_of_an_app_that_runs_on() -> None:
    ready = transition(record(), Verdict("Ready", "ReconciliationSucceeded", "runs generation 1"), NOON)
    with closing(SqliteStore.in_memory()) as store:
        store.save(with_missing(ready, "its folder is gone", NOON))
        (shown,) = status_document(store, {"running": True}, NOON, None)["apps"]
    assert shown["summary"] == "Ready"
    assert screens.message(shown, NOON) == "its folder is gone"
