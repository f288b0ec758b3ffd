"""The commands that people type, on apps that really run: with the service, and the important ones without it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence

import docker.errors
import pytest

from rig.engine import api
from rig.pair import put_consumer, put_provider
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

VALUES = SLEEPER + '    environment: {WORD: "${WORD:-none}", SECRET: "${SECRET:-}"}\n'
SETTINGS = [
    {"name": "WORD", "label": "Word"},
    {"name": "SECRET", "label": "Secret", "type": "password"},
    {"name": "COUNT", "label": "Count", "type": "number", "default": "1"},
]
DATA = SLEEPER + "    volumes: ['data:/data']\nvolumes: {data: {name: furtka_@vol_data, external: true}}\n"


def fine(home: Home, *command: str) -> str:
    """What a command prints that must succeed."""
    done = home.run(*command)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def runs(home: Home, short: str) -> bool:
    return any(c["State"]["Running"] for c in home.containers(short).values())


def volume_is_there(home: Home, name: str) -> bool:
    with api(home.engine) as client:
        try:
            client.inspect_volume(name)
        except docker.errors.NotFound:
            return False
    return True


def good(home: Home, short: str, generation: int) -> None:
    """Waits until what runs counts as good: only such a revision is gone back to by itself."""
    wait_until(
        lambda: any(
            entry["generation"] == generation and entry["good"]
            for entry in json.loads(fine(home, "history", home.name(short), "-o", "json"))["revisions"]
        ),
        f"generation {generation} is good",
        20,
    )


def test_a_command_about_one_app_with_no_service_looks_at_no_other(home: Home) -> None:
    home.put("one")
    home.put("two")
    home.start()
    home.wait("one", "Ready")
    home.wait("two", "Ready")
    home.stop()
    for short in ("one", "two"):  # both were edited meanwhile
        file = home.apps / home.name(short) / "docker-compose.yaml"
        file.write_text(file.read_text() + "    environment: {A: b}\n")
    before = home.ids("two")
    fine(home, "stop", home.name("one"))
    assert not runs(home, "one")
    assert home.ids("two") == before
    home.start()
    wait_until(lambda: home.env_of("two").get("A") == "b", "the service takes up the other edit", 30)


def test_stop_start_and_restart_do_that_and_nothing_else(home: Home) -> None:
    home.put("app")
    home.put("other")
    home.start()
    name = home.name("app")
    home.wait("app", "Ready")
    home.wait("other", "Ready")
    other, first = home.ids("other"), home.ids("app")

    fine(home, "restart", name)
    second = home.ids("app")
    assert second != first
    assert [i.split("@")[0] for i in second.values()] == [i.split("@")[0] for i in first.values()]
    fine(home, "reconcile")
    assert home.ids("app") == second, "once"

    fine(home, "stop", name)
    assert (home.word("app"), runs(home, "app")) == ("Stopped", False)
    (home.apps / name / "docker-compose.yaml").write_text(SLEEPER + "    labels: {edited: 'yes'}\n")
    wait_until(lambda: (home.status("app") or {})["generation"] == 2, "the edit was seen")
    assert home.run("restart", name).returncode == 1, "it is to be started, not restarted"
    home.stop()
    home.start()
    home.wait("app", "Stopped")
    fine(home, "reconcile")
    assert not runs(home, "app"), "stopped is stopped, whatever happens"
    fine(home, "start", name)
    home.wait("app", "Ready")
    assert home.containers("app")[f"{name}-main-1"]["Config"]["Labels"]["edited"] == "yes"
    assert home.ids("other") == other


def test_stop_start_and_restart_work_without_the_service_and_it_keeps_to_them(home: Home) -> None:
    home.put("app")
    home.start()
    name = home.name("app")
    home.wait("app", "Ready")
    home.stop()
    first = home.ids("app")
    fine(home, "restart", name)
    assert home.ids("app") != first
    fine(home, "stop", name)
    assert not runs(home, "app")
    home.start()
    home.wait("app", "Stopped")
    home.stop()
    fine(home, "start", name)
    assert runs(home, "app")
    home.start()
    home.wait("app", "Ready")


def test_set_arrives_in_the_container_and_its_value_nowhere_else(home: Home) -> None:
    folder = home.put("app", VALUES, {".env": "# mine\nWORD=one\n"}, settings=SETTINGS)
    home.start()
    name = home.name("app")
    home.wait("app", "Ready")
    said = fine(home, "set", name, "WORD=two words", "SECRET=p$w-hidden")
    assert "WORD, SECRET" in said
    wait_until(lambda: home.env_of("app").get("SECRET") == "p$w-hidden", "it arrived")
    assert home.env_of("app")["WORD"] == "two words"
    assert (folder / ".env").read_text().startswith("# mine\n")
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    home.wait("app", "Ready")
    before = home.ids("app")
    assert "nothing to change" in fine(home, "set", name, "WORD=two words")

    wrong: Sequence[tuple[str, int]] = (
        ("word=x", 2), ("PATH=/x", 2), ("COMPOSE_FILE=x", 2), ("WORD=a\nb", 2), ("COUNT=many", 1),
    )  # fmt: skip
    for pair, code in wrong:
        done = home.run("set", name, pair)
        assert (done.returncode, done.stdout) == (code, ""), pair
        assert pair.split("=")[0] in done.stderr
    fine(home, "reconcile")
    assert home.ids("app") == before

    for command in (["status", "-o", "json"], ["events", "-o", "json"], ["why", name], ["history", name]):
        said += fine(home, *command)
    assert "hidden" not in said + home.log_file.read_text()

    home.stop()
    fine(home, "set", name, "WORD=three")
    assert home.run("wait", name, "--timeout", "1s").returncode == 1, "nobody has taken it in"
    home.start()
    wait_until(lambda: home.env_of("app").get("WORD") == "three", "set while it was down")


def test_wait_logs_events_and_update_answer_with_the_codes_that_are_documented(home: Home) -> None:
    home.put(
        "app", SLEEPER.replace('["sleep", "100000"]', '["sh", "-c", "echo it is up; exec sleep 100000"]')
    )
    (home.put("torn") / "manifest.json").write_text("{")
    home.start()
    name, torn = home.name("app"), home.name("torn")
    assert fine(home, "wait", name, "--for", "Ready", "--timeout", "20s") == f"{name} is Ready.\n"
    late = home.run("wait", torn, "--for", "Ready", "--timeout", "1s")
    assert (late.returncode, "is Invalid: manifest.json" in late.stderr) == (1, True)
    assert fine(home, "wait", torn, "--for", "Ready,Invalid") == f"{torn} is Invalid.\n"

    wait_until(lambda: "it is up" in fine(home, "logs", name), "its log is printed")
    assert "it is up" in fine(home, "logs", name, "main", "--tail", "1")
    assert home.run("logs", name, "nosuch").returncode == 2
    assert "app.ready" in fine(home, "events", name, "--since", "1h")
    assert home.run("reconcile", torn).returncode == 0, "skipped is no error"
    assert home.run("validate", str(home.apps / torn)).returncode == 1
    assert home.run("purge", name, "data", "--yes").returncode == 1

    close = name[:-1] + "q"
    for command in (
        "why",
        "status",
        "stop",
        "set",
        "wait",
        "logs",
        "history",
        "remove",
        "reconcile",
        "suspend",
    ):
        extra = {"set": ["A=b"], "remove": ["--yes"]}.get(command, [])
        done = home.run(command, close, *extra)
        assert (done.returncode, f"Did you mean {name}" in done.stderr) == (2, True), command
    home.stop()
    home.engine = "unix:///nonexistent/docker.sock"
    for command in ("restart", "stop", "reconcile", "logs"):
        assert home.run(command, name).returncode == 3, command


def test_rollback_goes_back_holds_until_an_edit_and_works_without_the_service(home: Home) -> None:
    def text(number: int) -> str:
        return SLEEPER + f"    environment: {{EDIT: '{number}'}}\n"

    folder = home.put("app", text(1))
    home.start()
    name = home.name("app")
    for number in (1, 2):
        (folder / "docker-compose.yaml").write_text(text(number))
        wait_until(lambda n=number: home.env_of("app").get("EDIT") == str(n), f"edit {number} runs")
        good(home, "app", number)
    assert home.run("rollback", name, "9").returncode == 1
    fine(home, "rollback", name)
    home.wait("app", "RolledBack")
    assert home.env_of("app")["EDIT"] == "1"
    home.stop()
    home.start()
    fine(home, "reconcile")
    assert (home.word("app"), home.env_of("app")["EDIT"]) == ("RolledBack", "1")
    (folder / "docker-compose.yaml").write_text(text(3))
    wait_until(lambda: home.env_of("app").get("EDIT") == "3", "an edit ends it")
    home.wait("app", "Ready")
    good(home, "app", 3)

    home.stop()
    fine(home, "rollback", name, "1")
    assert home.env_of("app")["EDIT"] == "1"
    home.start()
    home.wait("app", "RolledBack")
    assert home.env_of("app")["EDIT"] == "1"
    fine(home, "reconcile", name)
    home.wait("app", "Ready")
    assert home.env_of("app")["EDIT"] == "3", "the person who names it has it tried again"


@pytest.mark.parametrize("service", ["running", "down"])
def test_remove_keeps_folder_and_volume_and_purge_deletes_the_volume(home: Home, service: str) -> None:
    home.put("vol", DATA, {"notes.txt": "mine"}, volumes=["data"])
    home.put("app", requires=[{"app": home.name("vol")}])
    home.start()
    vol, app = home.name("vol"), home.name("app")
    volume = f"furtka_{vol}_data"
    home.wait("app", "Ready")
    if service == "down":
        home.stop()
    refused = home.run("remove", vol, "--yes")
    assert (refused.returncode, f"required by {app}" in refused.stderr) == (1, True)
    assert home.run("remove", app).returncode == 2, "nobody can be asked"
    assert home.run("purge", vol, "data", "--yes").returncode == 1, "it is in use"
    assert len(home.containers()) == 2

    fine(home, "remove", app, "--yes")
    assert f"its folder is kept in {home.apps}/.removed/{vol}" in fine(home, "remove", vol, "--yes")
    assert not home.containers()
    assert (home.apps / ".removed" / vol / "notes.txt").read_text() == "mine"
    assert volume_is_there(home, volume)
    assert volume in fine(home, "status", vol)
    assert home.run("purge", vol, "other", "--yes").returncode == 1
    assert fine(home, "purge", vol, "data", "--yes") == f"{volume}: deleted\n"
    assert not volume_is_there(home, volume)
    assert home.run("status", vol).returncode == 2
    if service == "running":
        assert len(home.log("app.removed")) == 2


def test_what_is_suspended_is_left_alone_until_it_is_resumed_whoever_was_there_to_hear_it(home: Home) -> None:
    folder = home.put("app")
    home.start()
    name = home.name("app")
    home.wait("app", "Ready")
    home.stop()
    fine(home, "suspend", name)
    home.start()
    home.wait("app", "Suspended")
    before = home.ids("app")
    (folder / "docker-compose.yaml").write_text(SLEEPER + "    labels: {edited: 'yes'}\n")
    wait_until(lambda: (home.status("app") or {})["generation"] == 2, "the edit was seen")
    fine(home, "reconcile", name)
    for word in ("stop", "start", "restart"):
        assert home.run(word, name).returncode == 1
    assert home.ids("app") == before
    fine(home, "resume", name)
    home.wait("app", "Ready")
    assert runs(home, "app"), "nothing that was refused comes true"
    assert home.ids("app") != before

    fine(home, "suspend", name)
    home.wait("app", "Suspended")
    shutil.rmtree(folder)
    home.wait("app", "Held")
    assert f"{name}: removal held" in fine(home, "prune")
    home.stop()
    assert name in fine(home, "prune", "--approve")
    assert runs(home, "app")
    home.start()
    wait_until(lambda: not home.containers("app"), "let go")


def test_a_command_about_one_app_does_not_wait_for_another_that_hangs(home: Home) -> None:
    put_provider(home, install="sleep 1000\n")
    put_consumer(home)
    home.put("calm")
    home.start()
    home.wait("calm", "Ready")
    home.wait("db", "Ready")
    wait_until(lambda: home.log("app.progressing", "app"), "the hook of another app hangs")
    assert fine(home, "reconcile", home.name("calm")) == ""
