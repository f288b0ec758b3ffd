"""`homeport wait`, `history` and `logs`."""

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

import click
import pytest
from click.testing import Result

from controller.cli.questions import duration
from controller.model.ports import Store
from controller.model.record import Event, Quarantine, Record
from controller.source.reading import load_folder
from controller.status.store import SqliteStore
from fakes.build import at, record, target
from rig.cleanup import EngineCleanup
from rig.engine import api

Homeport = Callable[..., Result]


# -- wait -----------------------------------------------------------------------------------------------------


def taken_in(store: Store, apps: Path) -> Record:
    """The record of `web`, as of what its folder says now."""
    known = store.record("web")
    assert known is not None
    return replace(known, revision=load_folder(apps / "web").revision)


def test_wait_is_over_at_once_when_the_word_is_there(homeport: Homeport, apps: Path, recorded: Path) -> None:
    with SqliteStore(recorded) as store:
        store.save(taken_in(store, apps))
    assert homeport("wait", "web").stdout == "web is Ready.\n"
    assert homeport("wait", "old", "--for", "Ready, Held").stdout == "old is Held.\n"


def test_a_wait_that_no_service_answers_says_so(homeport: Homeport, apps: Path, recorded: Path) -> None:
    result = homeport("wait", "old", "--for", "Held")
    assert (result.exit_code, result.stdout) == (0, "old is Held.\n")
    assert result.stderr == "The service is not running; this is what it last recorded.\n"
    result = homeport("wait", "old", "--timeout", "0s")
    assert (
        result.stderr
        == "homeport: not Ready in 0s: old is Held: too many at once (the service is not running)\n"
    )


def test_an_edit_that_nobody_takes_in_is_not_what_was_waited_for(
    homeport: Homeport, apps: Path, recorded: Path
) -> None:
    with SqliteStore(recorded) as store:
        store.save(taken_in(store, apps))
    (apps / "web" / ".env").write_text("COUNT=9\n")
    result = homeport("wait", "web", "--timeout", "1s")
    assert (result.exit_code, result.stdout) == (1, "")
    at_once, in_the_end = result.stderr.splitlines()
    assert at_once == (
        "web is Ready: that was before its files changed, which nobody has taken in yet (the service is not running)"
    )
    assert in_the_end == f"homeport: not Ready in 1s: {at_once}"


@pytest.mark.usefixtures("recorded")
def test_a_wait_that_is_over_time_says_what_there_is_instead(homeport: Homeport) -> None:
    result = homeport("wait", "old", "--timeout", "0s")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "not Ready in 0s: old is Held: too many at once" in result.stderr


def test_wait_sees_what_the_service_records_and_says_each_change_once(
    homeport: Homeport, apps: Path, service: Any
) -> None:
    ready = taken_in(service.store, apps)
    why = replace(ready.conditions[0], status="False", reason="DependencyMissing", message="db is missing")
    service.store.save(replace(ready, conditions=(why,)))
    later = threading.Timer(1.0, lambda: service.store.save(ready))
    later.start()
    try:
        result = homeport("wait", "web", "--timeout", "30s")
    finally:
        later.join()
    assert (result.exit_code, result.stdout) == (0, "web is Ready.\n")
    assert result.stderr == "web is Waiting: db is missing\n"


def test_an_app_that_is_not_on_record_yet_is_waited_for(homeport: Homeport) -> None:
    result = homeport("wait", "web", "--timeout", "0s")
    assert (result.exit_code, "it was never looked at" in result.stderr) == (1, True)


def test_what_was_edited_and_not_taken_in_yet_is_waited_for(
    homeport: Homeport, apps: Path, service: Any
) -> None:
    result = homeport("wait", "web", "--timeout", "0s")
    assert (result.exit_code, "which nobody has taken in yet\n" in result.stderr) == (1, True)
    service.store.save(taken_in(service.store, apps))
    assert homeport("wait", "web", "--timeout", "0s").exit_code == 0


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("wrong", [("--for", "ready"), ("--for", ""), ("--timeout", "soon")])
def test_a_word_or_a_time_that_is_none_is_wrong_use(homeport: Homeport, wrong: tuple[str, str]) -> None:
    assert homeport("wait", "web", *wrong).exit_code == 2


def test_durations() -> None:
    assert [duration(text) for text in ("30s", "5m", "1h")] == [
        timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=1),
    ]  # fmt: skip
    for text in ("", "5", "m", "-1s", "1.5h"):
        with pytest.raises(click.BadParameter):
            duration(text)


# -- events ---------------------------------------------------------------------------------------------------


@pytest.fixture
def twelve(state: Path) -> Path:
    """A state in which twelve things happened."""
    with SqliteStore(state) as store:
        store.save(record("web"))
        for second in range(12):
            store.tell(Event(at(second), "web", "app.changed", "info", f"edit {second}"))
    return state


@pytest.mark.usefixtures("twelve")
@pytest.mark.parametrize(
    ("arguments", "first"), [([], 0), (["--tail", "all"], 0), (["--tail", "3"], 9), (["--tail", "99"], 0)]
)
def test_the_last_of_what_happened(homeport: Homeport, arguments: list[str], first: int) -> None:
    told = homeport("events", "web", *arguments).stdout.splitlines()
    assert [line.rpartition("edit ")[2] for line in told] == [str(second) for second in range(first, 12)]


@pytest.mark.usefixtures("twelve")
def test_none_of_what_happened_and_what_is_no_number(homeport: Homeport) -> None:
    assert homeport("events", "--tail", "0").stdout == ""
    for wrong in ("-1", "some", "1.5"):
        assert homeport("events", "--tail", wrong).exit_code == 2


@pytest.mark.usefixtures("homeport")
@pytest.mark.parametrize(
    ("arguments", "first"),
    [([], 2), (["--tail", "1"], 11), (["--tail", "all"], 0), (["--since", "2026-01-01T12:00:00Z"], 0)],
)
def test_who_follows_what_happens_is_told_the_last_of_it_first(
    twelve: Path, arguments: list[str], first: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "controller", "events", "-f", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(first, 12)]
        with SqliteStore(twelve) as store:
            store.tell(Event(at(12), "web", "app.changed", "info", "edit 12"))
        told.append(child.stdout.readline())
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read()
    assert [line.strip().rpartition("edit ")[2] for line in told] == [str(n) for n in range(first, 13)]
    assert rest == ""


# -- history --------------------------------------------------------------------------------------------------


def test_history_marks_what_runs_and_tells_what_is_kept_out(homeport: Homeport, state: Path) -> None:
    now, old = (
        target(revision="sha256:" + "cd" * 32),
        target(revision="sha256:" + "ab" * 32, good=False),
    )
    now = replace(now, generation=2, version="1.1")
    kept_out = Quarantine(3, now, "HealthCheckFailed", "main is unhealthy")
    with SqliteStore(state) as store:
        store.save(record("web", target=now, history=(old,), quarantine=kept_out))
    lines = homeport("history", "web").stdout.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["GENERATION", "REVISION", "VERSION", "APPLIED", "GOOD"],
        ["*", "2", "cdcdcdcdcdcd", "1.1", "2026-01-01T11:00:00Z", "good"],
        ["1", "abababababab", "-", "2026-01-01T11:00:00Z", "-"],
    ]
    assert lines[3] == "Generation 3 is not tried again (HealthCheckFailed): main is unhealthy"
    document = json.loads(homeport("history", "web", "-o", "json").stdout)
    assert [known["current"] for known in document["revisions"]] == [True, False]
    assert document["quarantine"]["generation"] == 3


def test_an_app_without_history_says_so(homeport: Homeport) -> None:
    assert homeport("history", "web").stdout == "web was never applied.\n"


# -- logs -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_engine")
def test_logs_without_an_engine_is_3(homeport: Homeport) -> None:
    assert homeport("logs", "web").exit_code == 3


@pytest.mark.usefixtures("no_engine")
def test_a_service_that_there_is_not_is_wrong_use(homeport: Homeport, state: Path) -> None:
    with SqliteStore(state) as store:
        store.save(record("web", desired_services={"main": {}}, observed_services={"side": {}}))
    result = homeport("logs", "web", "mian")
    assert (result.exit_code, "it has main, side" in result.stderr) == (2, True)
    assert homeport("logs", "web", "side").exit_code == 3


@pytest.mark.engine
@pytest.mark.usefixtures("homeport")
def test_logs_are_what_compose_prints(
    apps: Path, app_prefix: str, engine_cleanup: EngineCleanup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine_cleanup.host)
    app = f"{app_prefix}web"
    (apps / app).mkdir()
    with api(engine_cleanup.host) as client:
        for number, service in enumerate(("main", "side"), 1):
            made = client.create_container(
                "homeport/sample:1",
                ["sh", "-c", f"echo one {service}; echo two {service}"],
                name=f"{app}-{service}-1",
                labels={
                    "com.docker.compose.project": app,
                    "com.docker.compose.service": service,
                    "com.docker.compose.container-number": "1",
                    "com.docker.compose.oneoff": "False",
                    "com.docker.compose.config-hash": str(number),
                },
            )
            client.start(made)
            client.wait(made)

    def logs(*arguments: str) -> tuple[int, list[str]]:
        done = subprocess.run(
            [sys.executable, "-m", "controller", "logs", app, *arguments],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, sorted(line.rpartition("| ")[2] for line in done.stdout.splitlines())

    assert logs() == (0, ["one main", "one side", "two main", "two side"])
    assert logs("main", "--tail", "1") == (0, ["two main"])


@pytest.mark.engine
def test_where_there_are_no_containers_the_logs_say_so(
    homeport: Homeport,
    apps: Path,
    app_prefix: str,
    engine_cleanup: EngineCleanup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine_cleanup.host)
    app = f"{app_prefix}none"
    (apps / app).mkdir()
    result = homeport("logs", app)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{app} has no containers. `homeport why {app}` says how it stands.\n"
