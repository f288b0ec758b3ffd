"""The library's two calls, and the commands without a service."""

from __future__ import annotations

import json
import shutil

import pytest

from controller import has_errors, reconcile
from rig.service import SLEEPER, Home

pytestmark = pytest.mark.engine

PROVIDER = SLEEPER + "    volumes: ['data:/data']\nvolumes: {data: {name: furtka_@db_data, external: true}}\n"


def put_apps(home: Home) -> None:
    requires = [{"app": home.name("db"), "on_install": "scripts/i.sh", "on_start": "scripts/s.sh"}]
    home.put("app", SLEEPER + '    environment: {K: "${KEY:?}"}\n', requires=requires)
    home.put("db", PROVIDER, {"scripts/i.sh": "echo KEY=value\n", "scripts/s.sh": "true\n"}, volumes=["data"])
    broken = home.put("broken")
    (broken / "manifest.json").write_text("{")


def lines(home: Home) -> list[str]:
    app, db = home.name("app"), home.name("db")
    return [
        f"ensure_volume  furtka_{db}_data",
        f"compose_up     {db}",
        f"hook           {app}:{db}:on_install (scripts/i.sh)",
        f"hook           {app}:{db}:on_start (scripts/s.sh)",
        f"compose_up     {app}",
    ]


def test_one_call_reconciles_a_whole_tree_and_returns_the_actions(home: Home) -> None:
    put_apps(home)
    planned = reconcile(home.apps, dry_run=True, state=home.state)
    assert not home.containers(), "a dry run touches nothing"
    assert not (home.apps / home.name("app") / ".env").exists()
    actions = reconcile(home.apps, state=home.state)
    for found in (planned, actions):
        assert sorted(str(a) for a in found if a.kind not in ("skip", "wait")) == sorted(lines(home))
        (skip,) = [a for a in found if a.kind == "skip"]
        assert str(skip).startswith(f"skip           {home.name('broken')} (manifest.json: ")
        assert not has_errors(found)
    assert [str(a) for a in actions if a.kind in ("hook", "compose_up")] == lines(home)[1:], "providers first"
    assert home.env_of("app")["K"] == "value"
    assert [a.kind for a in reconcile(home.apps, state=home.state)] == ["skip"], "nothing else is due"


def test_an_error_is_an_error_line_and_exit_status_1(home: Home) -> None:
    put_apps(home)
    (home.apps / home.name("db") / "scripts" / "i.sh").write_text("exit 7\n")
    done = home.run("reconcile")
    assert done.returncode == 1, done.stderr
    assert f"error          {home.name('app')} (HookFailed: " in done.stdout
    assert "exit status 7" in done.stdout


def test_a_dry_run_needs_no_engine(home: Home) -> None:
    put_apps(home)
    home.engine = "unix:///nonexistent/docker.sock"
    done = home.run("reconcile", "--dry-run")
    assert sorted(line for line in done.stdout.splitlines() if not line.startswith("skip")) == sorted(
        lines(home)
    )
    assert done.stderr, "it says that no engine was asked"
    assert home.run("reconcile").returncode == 3


def test_run_once_ends_when_all_is_at_rest_and_says_how_it_ended(home: Home) -> None:
    home.put("one")
    done = home.run("run", "--once", "--settle-new=0")
    assert (done.returncode, "Ready" in done.stdout) == (0, True), done.stderr
    assert home.run("stop", home.name("one")).returncode == 0
    done = home.run("run", "--once")
    assert (done.returncode, "Stopped" in done.stdout) == (0, True), "a person wants it so"
    assert home.run("start", home.name("one")).returncode == 0
    shutil.rmtree(home.apps / home.name("one"))
    (home.put("two") / "manifest.json").write_text("{")
    assert home.run("run", "--once", "--settle-new=0", "--removal-settle=0.2").returncode == 1
    assert not home.containers()


def test_a_tree_that_is_not_there_is_told_and_is_not_fine(home: Home) -> None:
    home.apps.rmdir()
    for command in (["run", "--once"], ["reconcile"]):
        done = home.run(*command)
        assert (done.returncode, f"`mkdir -p {home.apps}` makes it" in done.stdout) == (1, True), done


def test_the_commands_agree_with_each_other_while_the_service_runs(home: Home) -> None:
    home.start()
    home.put("one")
    home.wait("one", "Ready")
    document = json.loads(home.run("status", "-o", "json").stdout)
    assert document["service"]["running"] is True
    assert document["service"]["engine"]["reachable"] is True
    (app,) = document["apps"]
    assert (app["name"], app["summary"], app["generation"], app["observedGeneration"]) == (
        home.name("one"),
        "Ready",
        1,
        1,
    )
    service = app["observed"]["services"]["main"]
    assert service["configHash"] == app["desired"]["services"]["main"]["configHash"]
    assert (service["state"], service["containers"]) == ("running", [f"{home.name('one')}-main-1"])
    assert home.run("plan").returncode == 0
    assert "app.ready" in home.run("events").stdout
    assert home.run("suspend", home.name("one")).returncode == 0
    home.wait("one", "Suspended")
    assert home.run("resume", home.name("one")).returncode == 0
    home.wait("one", "Ready")
    assert home.run("validate", str(home.apps / home.name("one"))).returncode == 0
    assert home.run("version").returncode == 0
    assert "ok" in home.run("doctor").stdout
