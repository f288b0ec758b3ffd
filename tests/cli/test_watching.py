"""`status --watch`, and what is shown while a command waits for what is done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from controller.cli import progress
from controller.cli.layout import Page
from controller.cli.watching import Pace
from controller.clock import SystemClock
from controller.model.activity import Activity
from controller.model.plan import Action
from controller.model.record import Condition, Event
from controller.settings import Settings
from controller.status.store import SqliteStore
from fakes.build import record
from rig.terminal import Terminal
from rig.waiting import wait_until

Homeport = Callable[..., Result]
ENTERED, LEFT, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


def change(state: Path, name: str, reason: str, message: str, **fields: Any) -> None:
    now = SystemClock().now()
    conditions = (
        Condition("Ready", "False", reason, message, now, 1),
        Condition("Reconciling", "True", fields.pop("reconciling", "Progressing"), message, now, 1),
    )
    with SqliteStore(state) as store:
        store.save(record(name, conditions=conditions, last_reconcile=now, **fields))


def has(text: str) -> Callable[[list[str]], bool]:
    return lambda lines: text in "\n".join(lines)


@pytest.mark.usefixtures("homeport")
def test_a_watched_status_shows_what_changes_and_leaves_the_terminal_as_it_was(recorded: Path) -> None:
    with Terminal("status", "--watch") as terminal:
        terminal.wait_for(has("all; is well"), "the first look")
        change(recorded, "web", "Progressing", "compose_up web: first start")
        terminal.wait_for(has("compose_up web: first start"), "what was written meanwhile")
        terminal.interrupt()
        assert terminal.end() == 0
        assert terminal.raw.count(ENTERED) == terminal.raw.count(LEFT) == 1
        assert terminal.raw.rindex(CURSOR) > terminal.raw.index(ENTERED)
        assert b"Traceback" not in terminal.raw


@pytest.mark.usefixtures("homeport")
def test_a_watched_status_counts_down_to_the_next_try_and_to_the_end_of_a_deadline(recorded: Path) -> None:
    now = SystemClock().now()
    failed = {"reconciling": "ProgressingWithRetry", "next_try": now + timedelta(seconds=90)}
    change(recorded, "web", "PullFailed", "no such image", **failed)
    change(recorded, "old", "Progressing", "health check is starting", deadline=now + timedelta(seconds=60))
    with Terminal("status", "--watch") as terminal:
        seen: set[str] = set()
        terminal.wait_for(lambda lines: _counted(lines, "next try in ", seen) > 2, "three numbers of seconds")
        left: set[str] = set()
        terminal.wait_for(lambda lines: _counted(lines, "starting (", left) > 2, "three numbers of seconds")
        terminal.interrupt()


def _counted(lines: list[str], before: str, seen: set[str]) -> int:
    for line in lines:
        if before in line:
            seen.add(line.split(before)[1].split("s")[0])
    return len(seen)


def test_a_watched_status_is_drawn_at_once_for_news_and_once_a_second_for_what_time_changes() -> None:
    pace = Pace()
    looks = [
        (0.0, "a"),
        (0.25, "a"),
        (0.5, "a"),
        (0.75, "b"),
        (1.0, "b"),
        (1.5, "b"),
        (1.75, "b"),
        (2.0, "b"),
    ]
    assert [now for now, shown in looks if pace.is_due(shown, now)] == [0.0, 0.75, 1.75]


@pytest.mark.usefixtures("homeport", "recorded")
def test_a_watched_status_is_drawn_anew_for_another_size() -> None:
    with Terminal("status", "--watch", columns=80) as terminal:
        terminal.wait_for(has("MESSAGE"), "the narrow table")
        assert not has("VERSION")(terminal.lines)
        terminal.resize(140, 30)
        terminal.wait_for(has("VERSION"), "the wide table")
        terminal.interrupt()


@pytest.mark.usefixtures("homeport", "recorded")
def test_more_apps_than_the_terminal_has_rows_are_said() -> None:
    with Terminal("status", "--watch", rows=4) as terminal:
        terminal.wait_for(has("lines more"), "what is not seen")
        terminal.interrupt()


@pytest.mark.usefixtures("homeport")
def test_elsewhere_a_watched_status_is_a_line_for_each_change(recorded: Path) -> None:
    change(recorded, "old", "Progressing", "starting", deadline=SystemClock().now() + timedelta(seconds=60))
    with subprocess.Popen(
        [sys.executable, "-m", "controller", "status", "--watch"], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        first = [child.stdout.readline() for _ in range(2)]
        change(recorded, "web", "Progressing", "compose_up web: first start")
        third = child.stdout.readline()
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read()
    assert [line.split()[1:3] for line in first] == [["old", "Progressing"], ["web", "Ready"]]
    assert third.split("  ", 1)[1] == "web  Progressing  compose_up web: first start\n"
    assert (rest, child.returncode) == ("", 0)


@pytest.mark.usefixtures("homeport")
def test_a_watched_status_as_json_is_a_document_for_each_change_and_no_more(recorded: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "controller", "status", "web", "--watch", "-o", "json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        first = "".join(iter(child.stdout.readline, "}\n"))
        assert '"Ready"' in first
        threading.Event().wait(2.5)  # in which looks are made that find nothing new
        change(recorded, "web", "Progressing", "compose_up web: first start")
        second = "".join(iter(child.stdout.readline, "}\n"))
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read()
    assert "compose_up web: first start" in second
    assert (rest, child.returncode) == ("", 0)


# -- while a command waits ------------------------------------------------------------------------------------


def test_a_command_tells_what_happens_meanwhile_and_what_became_of_it(
    homeport: Homeport, service: Any
) -> None:
    told = Event(SystemClock().now() + timedelta(seconds=5), "web", "action.done", "info", "restart web")
    other = replace(told, app="old", message="of another app")

    def sweep(*_: object, **__: object) -> tuple[Action, ...]:
        service.store.tell(other)
        service.store.tell(told)
        return (Action("restart", "web"),)

    service.sweep = sweep
    service.describe = lambda: {"running": True, "engine": {"reachable": True}}
    result = homeport("restart", "web")
    assert (result.exit_code, result.stdout) == (0, "restart        web\n")
    lines = result.stderr.splitlines()
    assert lines[0].split(maxsplit=1)[1] == "web           action.done        restart web"
    assert lines[1:] == ["web is Ready: all; is well"]


def test_where_nothing_was_to_be_done_that_is_said_with_why(homeport: Homeport, service: Any) -> None:
    waiting = record("web", conditions=(
        Condition("Ready", "False", "DependencyMissing", "db is missing", SystemClock().now(), 1),
    ))  # fmt: skip
    service.store.save(waiting)
    service.describe = lambda: {"running": True, "engine": {"reachable": True}}
    service.sweep = lambda *_, **__: ()
    result = homeport("start", "web")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "web is Waiting: db is missing\n")
    assert json.loads(homeport("start", "web", "-o", "json").stdout) == {"actions": []}
    assert homeport("reconcile").stderr == "0 of 2 apps are Ready; old is Held, web is Waiting.\n"


def test_live_progress_has_a_line_for_each_app_that_is_on_its_way_and_leaves_nothing(
    apps: Path, state: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SystemClock().now()
    resting = {"name": "db", "summary": "Ready", "conditions": [], "activity": None}
    pulling = {
        "name": "web", "summary": "Progressing", "conditions": [],
        "activity": {"what": "pull image:1", "detail": "1 of 2 layers", "sinceTime": now.isoformat()},
    }  # fmt: skip
    assert progress.rows(resting, now, Page(80)) == []
    assert progress.rows(pulling, now, Page(80)) == ["web: pull image:1, 1 of 2 layers, 0s so far"]
    looked = threading.Event()

    def look() -> list[dict[str, Any]]:
        looked.set()
        return [resting, pulling]

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    before = threading.active_count()
    with progress.shown(Settings(apps=apps, state=state), (), look) as above:
        assert above is not None
        above.write("a line that stays\n")
        assert looked.wait(10)
        wait_until(lambda: "pull image:1" in capfd.readouterr().err, "the live line")
    assert threading.active_count() == before


def test_a_sweep_of_our_own_is_looked_at_while_it_runs(apps: Path, recorded: Path) -> None:
    activity = Activity()
    look = progress.of_ourselves(Settings(apps=apps, state=recorded), activity)
    assert {app["name"]: app["activity"] for app in look()} == {"old": None, "web": None}
    activity.begin("web", "compose_up web", SystemClock().now())
    (step,) = [app["activity"] for app in look() if app["name"] == "web"]
    assert step["what"] == "compose_up web"
