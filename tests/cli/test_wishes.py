"""The commands with which a person has one app stopped, updated, gone back with, removed or purged."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from controller.api.client import ApiClient, ServiceUnreachable
from controller.api.server import ApiServer
from controller.cli import serve
from controller.control.verbs import WISHES
from controller.engine.docker_engine import DockerEngine
from controller.model.errors import StateUnusable
from controller.model.facts import LEFT, REMOVE, RESTART, ROLLBACK, STOPPED, SUSPENDED
from controller.model.plan import Action
from controller.model.record import Quarantine, Record, Verdict
from controller.status.lock import StateLock
from controller.status.store import SqliteStore
from controller.status.transition import transition
from fakes.build import NOON, record, target

Homeport = Callable[..., Result]
OLD, NOW = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32


def change(state: Path, *records: Record, **facts: str) -> None:
    """Put records and facts into a state that no service has."""
    with SqliteStore(state) as store:
        for one in records:
            store.save(one)
        for key, value in facts.items():
            store.put(key, value)


def fact(state: Path, key: str) -> str | None:
    with SqliteStore.open_readonly(state) as store:
        return store.get(key)


def typed(answer: str, *arguments: str) -> tuple[int, str]:
    """Call the command at a real terminal on which a person types the answer; its exit code and what it showed."""
    person, terminal = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "controller", *arguments],
            stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as child:  # fmt: skip
            os.write(person, f"{answer}\n".encode())
            shown, _ = child.communicate(timeout=60)
        return child.returncode, shown
    finally:
        os.close(person)
        os.close(terminal)


# -- with a service -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", sorted(set(WISHES) - {"adopt", "rollback", "remove"}))
@pytest.mark.usefixtures("service")
def test_the_service_does_it_and_what_it_did_is_printed(homeport: Homeport, word: str) -> None:
    result = homeport(word, "web")
    assert (result.exit_code, result.stdout) == (0, "wait           web (by the service)\n")
    assert json.loads(homeport(word, "web", "-o", "json").stdout)["actions"][0]["kind"] == "wait"


def test_a_rollback_is_asked_of_the_service_with_its_revision(homeport: Homeport, service: Any) -> None:
    service.store.save(
        record("web", target=target(revision=NOW), revision=NOW, history=(target(revision=OLD),))
    )
    assert homeport("rollback", "web", "abab").exit_code == 0
    assert service.store.get(ROLLBACK + "web") == OLD
    result = homeport("rollback", "web", "0123")
    assert (result.exit_code, "abababababab (generation 1)" in result.stderr) == (1, True)


@pytest.mark.usefixtures("service")
def test_nothing_to_adopt_is_said(homeport: Homeport) -> None:
    result = homeport("adopt", "web")
    assert (result.exit_code, "nothing to adopt" in result.stderr) == (1, True)


def test_the_last_line_of_a_stop_is_what_the_app_is_now(homeport: Homeport, service: Any) -> None:
    why = "stopped by `homeport stop`; `homeport start web` starts it again"
    stopped = transition(record("web", stopped=True), Verdict("Stopped", "Stopped", why), NOON)
    service.store.save(stopped)
    service.describe = lambda: {"running": True, "engine": {"reachable": True}}
    service.sweep = lambda *_, **__: (Action("stop", "web", "main"), Action("skip", "web", why))
    result = homeport("stop", "web")
    assert result.stdout.splitlines()[-1] == f"skip           web ({why})"
    assert result.stderr == "web is Stopped\n", "and not once more why"
    assert homeport("stop", "web", "-o", "json").stderr == ""


def leaning(name: str, word: str = "Ready", **fields: Any) -> Record:
    """What runs of this app was applied with `web` as its provider."""
    applied = target("main", requires=("web",))
    return transition(
        record(name, **{"requires": ("web",), "target": applied} | fields), Verdict(word, word, ""), NOON
    )


def test_a_stop_and_a_restart_say_which_apps_require_it(homeport: Homeport, service: Any) -> None:
    service.store.save(leaning("shop"))
    result = homeport("stop", "web")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        0,
        "web is required by shop: it runs on, Degraded until `homeport start web`",
    )
    service.store.save(leaning("blog", "Degraded"))
    service.store.save(leaning("halt", stopped=True))
    first = homeport("restart", "web").stderr.splitlines()[0]
    assert first.startswith("web is required by blog, shop: they run on, Degraded until web is healthy again")
    for command in (("start", "web"), ("update", "web"), ("stop", "shop")):
        assert "required by" not in homeport(*command).stderr


def test_a_stop_says_nothing_of_apps_that_were_never_started_or_run_without_it(
    homeport: Homeport, service: Any
) -> None:
    service.store.save(leaning("new", "Waiting", target=None))
    service.store.save(leaning("edited", "Invalid", target=target("main")))
    assert "required by" not in homeport("stop", "web").stderr


@pytest.mark.parametrize("word", ["RolledBack", "Invalid"])
def test_a_stop_says_that_apps_whose_word_is_another_one_run_on(
    homeport: Homeport, service: Any, word: str
) -> None:
    before = Quarantine(2, target("main", requires=("web",)), "ApplyFailed", "it failed")
    service.store.save(leaning("shop", word, quarantine=before if word == "RolledBack" else None))
    first = homeport("stop", "web").stderr.splitlines()[0]
    assert first == "web is required by shop: it runs on without it until `homeport start web`"


@pytest.mark.parametrize("word", ["stop", "start", "restart"])
def test_of_a_suspended_app_it_is_only_said_that_it_is(homeport: Homeport, service: Any, word: str) -> None:
    service.store.put(SUSPENDED + "web", "1")
    service.store.save(
        transition(record("web", suspended=True), Verdict("Suspended", "Suspended", "by a person"), NOON)
    )
    service.store.save(leaning("shop"))
    result = homeport(word, "web")
    assert (result.exit_code, result.stdout) == (1, "")
    told = "homeport: web is suspended and left exactly as it is; say `homeport resume web` first\n"
    assert result.stderr == told


@pytest.fixture
def unreadable(apps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree and the state of a person whom the socket lets in, and neither folder does."""
    is_dir = Path.is_dir

    def denied(path: Path) -> bool:
        if apps in path.parents:
            raise PermissionError(13, "Permission denied")
        return is_dir(path)

    def closed(folder: Path) -> SqliteStore:
        raise StateUnusable(f"{folder}: Permission denied")

    monkeypatch.setattr(Path, "is_dir", denied)
    monkeypatch.setattr(SqliteStore, "open_readonly", closed)


@pytest.mark.parametrize("word", sorted(set(WISHES) - {"adopt", "rollback"}))
def test_who_may_ask_the_service_need_not_be_able_to_read_the_state(
    homeport: Homeport, service: Any, unreadable: None, word: str
) -> None:
    service.store.save(record("shop") if word == "remove" else leaning("shop"))
    asked: list[tuple[str, ...]] = []

    def sweep(apps: tuple[str, ...], *_: object, **__: object) -> tuple[Action, ...]:
        asked.append(apps)
        return (Action(word, "web", "main"),)

    service.sweep = sweep
    result = homeport(word, "web", *(["--yes"] if word == "remove" else []))
    assert (result.exit_code, asked) == (0, [("web",)]), result.output
    assert ("web is required by shop" in result.stderr) is (word in ("stop", "restart"))
    assert result.stderr.splitlines()[-1].startswith("web is ")


@pytest.mark.usefixtures("unreadable")
def test_volumes_are_purged_by_who_may_ask_and_cannot_read_the_state(
    homeport: Homeport, service: Any
) -> None:
    service.store.save(record("web", volumes=("furtka_web_data",), own_volumes=("web_cache",)))
    service.store.put(LEFT + "gone", '["furtka_gone_data"]')
    assert homeport("purge", "web", "data", "cache", "--yes").exit_code == 0
    assert homeport("purge", "gone", "data", "--yes").exit_code == 0
    assert service.purged == ["furtka_web_data", "web_cache", "furtka_gone_data"]
    assert homeport("purge", "wbe", "data", "--yes").exit_code == 2


@pytest.mark.usefixtures("service")
def test_what_is_done_stays_done_where_the_service_goes_before_it_is_told(
    homeport: Homeport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_client: ApiClient) -> dict[str, Any]:
        raise ServiceUnreachable("it has ended")

    monkeypatch.setattr(ApiClient, "status", gone)
    result = homeport("reconcile", "web")
    assert (result.exit_code, "it has ended" in result.stderr) == (0, True)


# -- without one ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_engine")
def test_without_service_and_engine_the_wish_is_kept_for_the_next_start(
    homeport: Homeport, recorded: Path
) -> None:
    result = homeport("stop", "web")
    assert result.exit_code == 3
    assert "No service runs" in result.stderr
    assert fact(recorded, STOPPED + "web") == "1"
    assert homeport("start", "web").exit_code == 3
    assert fact(recorded, STOPPED + "web") is None


def test_without_a_service_the_command_sweeps_that_app_alone(
    homeport: Homeport, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sweep(
        settings: object, apps: tuple[str, ...], dry_run: bool, *, lift: bool = False, **_: object
    ) -> list[Action]:
        assert (apps, dry_run, lift) == (("web",), False, False)
        assert fact(recorded, RESTART + "web") is not None
        return [Action("restart", "web"), Action("error", "web", "it is gone")]

    monkeypatch.setattr(serve, "sweep", sweep)
    result = homeport("restart", "web")
    assert (result.exit_code, result.stdout) == (1, "restart        web\nerror          web (it is gone)\n")


# -- remove ---------------------------------------------------------------------------------------------------


def test_remove_without_a_yes_and_without_a_terminal_is_wrong_use(homeport: Homeport, recorded: Path) -> None:
    result = homeport("remove", "web", stdin="y\n")
    assert (result.exit_code, "--yes" in result.stderr) == (2, True)
    assert fact(recorded, REMOVE + "web") is None


def test_what_others_require_is_not_removed(homeport: Homeport, recorded: Path) -> None:
    change(recorded, record("consumer", requires=("web",)))
    result = homeport("remove", "web", "--yes")
    assert (result.exit_code, "required by consumer" in result.stderr) == (1, True)
    assert fact(recorded, REMOVE + "web") is None


@pytest.mark.usefixtures("no_engine", "homeport")
def test_remove_asks_at_a_terminal(recorded: Path) -> None:
    code, shown = typed("n", "remove", "web")
    assert (code, "Remove web?" in shown) == (1, True)
    assert fact(recorded, REMOVE + "web") is None
    assert typed("y", "remove", "web")[0] == 3  # no engine: kept for later
    assert fact(recorded, REMOVE + "web") is not None


# -- purge ----------------------------------------------------------------------------------------------------


@pytest.fixture
def removed(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Volumes that an engine was told to remove; `web` has one of them, and `gone` left two."""
    names: list[str] = []
    monkeypatch.setattr(DockerEngine, "remove_volume", lambda _, name: names.append(name), raising=False)
    with SqliteStore(recorded) as store:
        web = store.record("web")
        assert web is not None
        store.save(replace(web, volumes=("p_web_data",)))
        store.put(LEFT + "gone", '["p_gone_a", "p_gone_b"]')
    return names


def test_what_was_purged_is_no_longer_left_and_is_told(
    homeport: Homeport, recorded: Path, removed: list[str]
) -> None:
    result = homeport("purge", "gone", "a", "--yes")
    assert (result.exit_code, result.stdout, removed) == (0, "p_gone_a: deleted\n", ["p_gone_a"])
    assert fact(recorded, LEFT + "gone") == '["p_gone_b"]'
    (event,) = json.loads(homeport("events", "gone", "-o", "json").stdout)["events"]
    assert (event["event"], event["fields"]) == ("volume.purged", {"volume": "p_gone_a"})


def test_a_volume_of_another_app_is_not_purged(homeport: Homeport, removed: list[str]) -> None:
    result = homeport("purge", "gone", "a", "p_web_data", "--yes")
    assert (result.exit_code, removed) == (1, [])
    assert "What can be purged: p_gone_a, p_gone_b" in result.stderr


def test_purge_without_a_yes_and_without_a_terminal_is_wrong_use(
    homeport: Homeport, removed: list[str]
) -> None:
    assert homeport("purge", "web", "data", stdin="web\n").exit_code == 2
    assert removed == []


@pytest.mark.usefixtures("no_engine", "homeport", "removed")
def test_purge_wants_the_name_of_the_app_typed(recorded: Path) -> None:
    code, shown = typed("yes", "purge", "gone", "a")
    assert code == 1
    assert "p_gone_a" in shown
    assert "nothing was deleted" in shown
    assert fact(recorded, LEFT + "gone") == '["p_gone_a", "p_gone_b"]'


def test_a_running_service_purges(homeport: Homeport, service: Any) -> None:
    service.store.put(LEFT + "gone", '["p_gone_a"]')
    assert homeport("purge", "gone", "a", "--yes", "-o", "json").exit_code == 0
    assert service.purged == ["p_gone_a"]


@pytest.mark.usefixtures("removed")
def test_status_of_an_app_that_is_gone_says_what_it_left(homeport: Homeport) -> None:
    result = homeport("status", "gone")
    assert result.exit_code == 0
    assert "gone is not installed" in result.stdout
    assert "homeport purge gone p_gone_a p_gone_b" in result.stdout
    document = json.loads(homeport("status", "gone", "-o", "json").stdout)
    assert (document["apps"], document["left"]) == ([], {"gone": ["p_gone_a", "p_gone_b"]})
    assert "homeport purge gone" in homeport("doctor").stdout


def test_a_service_that_is_about_to_listen_is_waited_for(
    homeport: Homeport, recorded: Path, unserved: Any
) -> None:
    answering = unserved
    server = ApiServer(answering, recorded / "homeport.sock")
    with StateLock(recorded):
        late = threading.Timer(0.5, server.start)
        late.start()
        try:
            done = homeport("reconcile", "web")
        finally:
            late.join()
            server.stop()
    assert (done.exit_code, "by the service" in done.stdout) == (0, True)
