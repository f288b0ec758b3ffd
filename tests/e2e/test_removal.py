"""Taking apps out: what goes, what stays, what holds it, and in which order."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rig.engine import api
from rig.pair import PROVIDER, put_consumer, put_provider
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

NETWORKED = SLEEPER.replace("    network_mode: none\n", "")
KEEPER = (
    NETWORKED
    + "    volumes: ['files:/files', 'more:/more']\n"
    + "volumes:\n  files: {name: furtka_@keep_files, external: true}\n"
    + "  more: {name: furtka_@keep_more, external: true}\n"
)


def networks(home: Home) -> list[str]:
    with api(home.engine) as client:
        return [n["Name"] for n in client.networks() if n["Name"].startswith(home.prefix)]


def volumes(home: Home) -> list[str]:
    with api(home.engine) as client:
        return sorted(v["Name"] for v in client.volumes()["Volumes"] or [] if f"_{home.prefix}" in v["Name"])


def removals(home: Home) -> list[str]:
    """Names of the apps whose removals ended, in that order."""
    return [line["app"].removeprefix(home.prefix) for line in home.log("app.removed")]


@pytest.mark.fault("G01")
def test_what_is_removed_leaves_its_volumes_which_are_listed_until_a_person_purges_them(home: Home) -> None:
    home.start()
    folder = home.put("keep", KEEPER, volumes=["files", "more"])
    home.wait("keep", "Ready")
    name, files, more = (
        home.name("keep"),
        f"furtka_{home.name('keep')}_files",
        f"furtka_{home.name('keep')}_more",
    )
    assert networks(home)
    in_use = home.run("purge", name, "files", "--yes")
    assert in_use.returncode == 1
    assert f"{files} is used by app {name}" in in_use.stderr

    shutil.rmtree(folder)
    wait_until(lambda: removals(home) == ["keep"], "it is removed")
    assert (home.containers("keep"), networks(home), volumes(home)) == ({}, [], [files, more])
    for told in (home.run("status", name), home.run("doctor")):
        assert files in told.stdout
        assert more in told.stdout

    for wrong in (["other"], ["files", "other"], [f"furtka_{home.name('more')}_files"]):
        refused = home.run("purge", name, *wrong, "--yes")
        assert refused.returncode == 1
        assert "is no volume of" in refused.stderr
        assert more in refused.stderr, "it says what can be purged"
    assert home.run("purge", name, "files").returncode == 2, "nobody is there to be asked"
    assert volumes(home) == [files, more]
    assert home.run("purge", name, "files", "--yes").returncode == 0
    assert volumes(home) == [more]
    told = home.run("status", name)
    assert files not in told.stdout
    assert more in told.stdout

    home.stop()
    assert home.run("purge", name, more, "--yes").returncode == 0
    assert volumes(home) == []
    assert home.run("status", name).returncode == 2, "nothing is known of it any more"


@pytest.mark.fault("G05")
def test_a_removed_provider_that_is_required_runs_on_and_goes_when_nobody_requires_it(home: Home) -> None:
    put_provider(home)
    consumer = put_consumer(home) or home.apps / home.name("app")
    home.put("other")
    home.start()
    for short in ("db", "app", "other"):
        home.wait(short, "Ready")
    before = home.ids()
    shutil.rmtree(home.apps / home.name("db"))
    assert home.name("app") in ready_of(home.wait("db", "RemovalBlocked"))["message"]
    assert home.ids() == before
    manifest = consumer / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "requires": []}))
    wait_until(lambda: removals(home) == ["db"], "nobody requires it any more", 20)
    home.wait("app", "Ready")
    assert home.ids("app").items() <= before.items()


@pytest.mark.fault("G05")
def test_a_provider_and_its_consumer_that_go_together_go_in_order(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    for short in ("one", "two"):
        home.put(short)
    home.start()
    for short in ("app", "one", "two"):
        home.wait(short, "Ready")
    for short in ("db", "app"):
        shutil.rmtree(home.apps / home.name(short))
    wait_until(lambda: len(removals(home)) == 2, "both are removed", 20)
    assert removals(home) == ["app", "db"]
    assert not home.containers("db")
    assert not home.containers("app")
    assert home.word("one") == home.word("two") == "Ready"


@pytest.mark.fault("G03")
def test_an_approval_lets_go_what_was_listed_and_a_folder_that_is_back_stays(home: Home) -> None:
    shorts = [f"n{number}" for number in range(5)]
    for short in shorts:
        home.put(short)
    home.start()
    for short in shorts:
        home.wait(short, "Ready")
    before = home.ids()
    for short in shorts[:4]:
        (home.apps / home.name(short)).rename(home.apps.parent / short)
    for short in shorts[:4]:
        home.wait(short, "Held")
    (home.apps.parent / "n0").rename(home.apps / home.name("n0"))
    home.wait("n0", "Ready")
    listed = home.run("prune").stdout
    assert [short for short in shorts if home.name(short) in listed] == ["n1", "n2", "n3"]
    assert home.ids() == before
    assert home.run("prune", "--approve").returncode == 0
    wait_until(lambda: sorted(removals(home)) == ["n1", "n2", "n3"], "these are removed")
    home.run("reconcile")
    assert home.ids() == {n: i for short in ("n0", "n4") for n, i in before.items() if home.name(short) in n}


@pytest.mark.fault("G02")
def test_a_renamed_app_is_removed_once_and_then_installed_once_and_the_log_says_so(home: Home) -> None:
    home.start()
    folder = home.put("old")
    home.put("other")
    home.wait("old", "Ready")
    home.wait("other", "Ready")
    text = folder.joinpath("manifest.json").read_text().replace(home.name("old"), home.name("new"))
    folder.rename(home.apps / home.name("new"))
    (home.apps / home.name("new") / "manifest.json").write_text(text)
    home.wait("new", "Ready")
    assert removals(home) == ["old"]
    assert not home.containers("old")
    told = [(line["app"].removeprefix(home.prefix), line["event"]) for line in home.log() if line.get("app")]
    first = told.index(("new", "action.done"))
    assert told.index(("old", "app.removed")) < first
    assert told.count(("new", "action.done")) == 1
    said = " ".join(line.get("message", "") for line in home.log(short="new"))
    assert f"its folder was {home.name('old')} until now" in said


# -- by command -----------------------------------------------------------------------------------------


def removed_folders(home: Home) -> list[str]:
    aside: Path = home.apps / ".removed"
    return sorted(entry.name for entry in aside.iterdir()) if aside.exists() else []


def test_remove_takes_an_app_down_and_keeps_its_folder_aside_unless_it_is_required(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    home.start()
    home.wait("app", "Ready")
    before = home.ids()
    refused = home.run("remove", home.name("db"), "--yes")
    assert refused.returncode != 0
    assert f"required by {home.name('app')}" in refused.stderr
    assert home.run("remove", home.name("app")).returncode == 2, "nobody is there to be asked"
    assert home.ids() == before

    done = home.run("remove", home.name("app"), "--yes")
    assert done.returncode == 0, done.stderr
    assert "compose_down" in done.stdout
    assert ".removed" in done.stdout
    assert not home.containers("app")
    assert home.status("app") is None
    assert not (home.apps / home.name("app")).exists()
    (kept,) = removed_folders(home)
    assert kept.startswith(home.name("app"))
    assert (home.apps / ".removed" / kept / "manifest.json").exists()

    home.stop()
    done = home.run("remove", home.name("db"), "--yes")
    assert done.returncode == 0, done.stderr
    assert "No service runs" in done.stderr
    assert not home.containers()
    assert home.status("db") is None
    assert len(removed_folders(home)) == 2
    assert volumes(home) == [f"furtka_{home.name('db')}_data"]
    assert home.name("db") in home.run("doctor").stdout

    home.put("db", PROVIDER, volumes=["data"])
    home.start()
    home.wait("db", "Ready")
    home.run("reconcile")
    assert home.word("db") == "Ready", "it is not removed once more"
    assert len(home.containers("db")) == 1


def test_remove_with_no_service_refuses_what_is_required_and_leaves_no_wish_behind(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    home.start()
    home.wait("app", "Ready")
    before = home.ids()
    home.stop()
    refused = home.run("remove", home.name("db"), "--yes")
    assert refused.returncode != 0
    assert f"required by {home.name('app')}" in refused.stderr
    home.start()
    home.run("reconcile")
    assert home.ids() == before
    assert home.word("db") == "Ready"
