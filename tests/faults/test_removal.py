"""Apps that go, on purpose or by accident, while other things go wrong: what is data stays, and nothing goes half."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rig.engine import SAMPLE_IMAGE, PrivateEngine, api
from rig.pair import PROVIDER, hook_processes, in_provider, put_consumer, put_provider
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

STUBBORN = SLEEPER.replace('["sleep", "100000"]', '["sh", "-c", "trap \'\' TERM; sleep 100000"]').replace(
    "init: true", "init: false"
)
"""It has to be killed when its time to stop is over."""
NETWORKED = STUBBORN.replace("    network_mode: none\n", "").replace("period: 0s", "period: 2s")


def networks(home: Home) -> list[str]:
    with api(home.engine) as client:
        return [n["Name"] for n in client.networks() if n["Name"].startswith(home.prefix)]


def others(before: dict[str, str], home: Home, *gone: str) -> dict[str, str]:
    """Of these containers those of apps that did not go."""
    return {name: at for name, at in before.items() if not any(home.name(short) in name for short in gone)}


# -- one app goes -------------------------------------------------------------------------------------


@pytest.mark.fault("G01")
def test_an_app_moved_out_of_the_tree_goes_and_its_data_stays(home: Home, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    mounts = f"    volumes: ['files:/files', '{data}:/data', './inside:/inside']\n"
    volume = "volumes:\n  files: {name: furtka_@data_files, external: true}\n"
    folder = home.put("data", SLEEPER + mounts + volume, volumes=["files"])
    home.put("calm")
    home.start()
    for short in ("data", "calm"):
        home.wait(short, "Ready")
    with api(home.engine) as client:
        write = client.exec_create(
            f"{home.name('data')}-main-1",
            ["sh", "-c", "for d in files data inside; do echo token >/$d/token; done"],
        )
        client.exec_start(write["Id"])
        images = {image["Id"] for image in client.images()}
    before = home.ids()

    shutil.move(folder, tmp_path / "aside")
    wait_until(lambda: home.log("app.removed", "data"), "it is removed")
    assert home.ids() == others(before, home, "data")
    assert (data / "token").read_text() == "token\n"
    assert (tmp_path / "aside" / "inside" / "token").read_text() == "token\n"
    with api(home.engine) as client:
        assert {image["Id"] for image in client.images()} >= images
        assert any(SAMPLE_IMAGE in (image["RepoTags"] or ()) for image in client.images())

    shutil.move(tmp_path / "aside", folder)
    home.wait("data", "Ready")
    for path in ("/files/token", "/data/token", "/inside/token"):
        assert home.inside("data", path) == "token\n", "it finds what it left"


@pytest.mark.fault("G01")
@pytest.mark.parametrize("file", ["docker-compose.yaml", "manifest.json"])
def test_a_folder_that_lost_one_file_is_no_app_that_was_removed(home: Home, file: str) -> None:
    folder = home.put("torn")
    home.start()
    home.wait("torn", "Ready")
    before = home.ids()
    (folder / file).rename(home.apps.parent / file)
    status = home.wait("torn", "Invalid")
    assert file.removesuffix(".yaml") in ready_of(status)["message"]
    home.run("reconcile")
    assert home.ids() == before
    assert not home.log("app.removing")
    (home.apps.parent / file).rename(folder / file)
    home.wait("torn", "Ready")
    assert home.ids() == before


@pytest.mark.fault("G02")
def test_a_folder_that_goes_and_comes_a_hundred_times_stops_nothing(home: Home) -> None:
    home.settings["removal-settle"] = "5"
    folder = home.put("flap")
    home.put("calm")
    home.start()
    for short in ("flap", "calm"):
        home.wait(short, "Ready")
    before = home.ids()
    aside = home.apps.parent / "aside"
    for _ in range(100):
        folder.rename(aside)
        aside.rename(folder)
    for said in range(1, 3):
        shutil.move(folder, aside)
        wait_until(lambda n=said: len(home.log("app.missing", "flap")) >= n, "it is missed")
        shutil.copytree(aside, folder)  # another folder with the same content: git checkout, rsync
        shutil.rmtree(aside)
        home.run("reconcile", home.name("flap"))
    home.wait("flap", "Ready")
    assert home.ids() == before
    assert not home.log("app.removing")
    assert (home.status("flap") or {})["generation"] == 1


# -- many go ------------------------------------------------------------------------------------------


@pytest.mark.fault("G03")
def test_a_stray_folder_among_all_that_vanish_unlocks_nothing_and_a_yes_covers_what_was_listed(
    home: Home,
) -> None:
    home.settings["settle-new"] = "2"
    for short in ("one", "two"):
        home.put(short)
    home.start()
    for short in ("one", "two"):
        home.wait(short, "Ready")
    before = home.ids()
    for short in ("one", "two"):
        shutil.rmtree(home.apps / home.name(short))
    home.put("stray")
    for short in ("one", "two"):
        message = ready_of(home.wait(short, "Held"))["message"]
        assert "nothing is removed" in message
        assert "homeport prune --approve" in message
    home.wait("stray", "Ready")
    assert home.ids().items() >= before.items()
    assert home.run("prune", "--approve").returncode == 0
    wait_until(lambda: len(home.log("app.removed")) == 2, "these two are removed")
    assert list(home.containers()) == [f"{home.name('stray')}-main-1"]


@pytest.mark.fault("G03")
def test_a_tree_swept_clean_but_for_a_stray_folder_removes_nothing(home: Home) -> None:
    home.settings["settle-new"] = "2"
    for short in ("one", "two"):
        home.put(short)
    home.start()
    for short in ("one", "two"):
        home.wait(short, "Ready")
    before = home.ids()
    aside = home.apps.parent / "aside"
    aside.mkdir()
    for entry in home.apps.iterdir():  # as `git clean -fdx` and another branch: its marker, too
        entry.rename(aside / entry.name)
    home.put("stray")
    for short in ("one", "two"):
        home.wait(
            short, "Unknown", "Held"
        )  # whether our marker was written anew in the middle of it is chance
    assert home.ids().items() >= before.items()
    for entry in aside.iterdir():
        entry.replace(home.apps / entry.name)
    for short in ("one", "two", "stray"):
        home.wait(short, "Ready")
    assert home.ids().items() >= before.items()
    assert not home.log("app.removing")


# -- cut off in between -------------------------------------------------------------------------------


@pytest.mark.fault("G04")
@pytest.mark.slow  # a container that has to be killed, and a crash at each step of its removal
def test_a_removal_that_is_killed_at_its_start_in_the_middle_or_at_its_end_is_finished_later(
    home: Home,
) -> None:
    cleanup = "echo once >>/data/removed; until [ -e /data/go ]; do sleep 0.1; done\n"
    home.put("db", PROVIDER, {"scripts/remove.sh": cleanup}, volumes=["data"])
    compose = (
        NETWORKED
        + "    volumes: ['files:/files']\n"
        + "volumes: {files: {name: furtka_@app_files, external: true}}\n"
    )
    requires = [{"app": home.name("db"), "on_remove": "scripts/remove.sh"}]
    folder = home.put("app", compose, requires=requires, volumes=["files"])
    home.put("calm")
    home.start()
    for short in ("db", "app", "calm"):
        home.wait(short, "Ready")
    before = home.ids()
    shutil.rmtree(folder)

    moments = (
        ("it has begun", lambda: home.log("app.removing", "app")),
        ("its container is told to stop", lambda: home.log("app.removing", "app")),
        ("its containers are gone and its hook runs", lambda: hook_processes(home)),
    )
    for what, reached in moments:
        wait_until(reached, what, 20)
        home.kill9()
        assert home.word("app") == "Removing", "it is still listed"
        home.start()
    in_provider(home, "touch", "/data/go")
    wait_until(lambda: home.log("app.removed", "app"), "it is gone for good", 30)
    assert home.status("app") is None
    assert home.ids() == others(before, home, "app")
    assert networks(home) == []
    with api(home.engine) as client:
        assert client.inspect_volume(f"furtka_{home.name('app')}_files")
    home.kill9()
    home.start()
    home.run("reconcile")
    assert home.status("app") is None
    assert home.ids() == others(before, home, "app")


@pytest.mark.fault("G04")
def test_a_removal_waits_for_an_engine_that_is_down(private_engine: PrivateEngine, tmp_path: Path) -> None:
    home = Home(tmp_path, private_engine.host, "g-")
    for short in ("goes", "stays"):
        home.put(short)
    home.start()
    try:
        for short in ("goes", "stays"):
            home.wait(short, "Ready")
        private_engine.kill9()
        wait_until(lambda: home.log("engine.lost"), "the log says so", 20)
        shutil.rmtree(home.apps / home.name("goes"))
        home.run(
            "reconcile", home.name("goes")
        )  # nothing is done, nor decided, while nobody knows whose engine it is
        assert home.status("goes"), "it is not forgotten"
        assert not home.log("app.removed")
        private_engine.start()
        wait_until(lambda: home.log("app.removed", "goes"), "it is removed now", 60)
        assert not home.containers("goes")
        assert home.status("goes") is None
        wait_until(
            lambda: all(c["State"]["Running"] for c in home.containers("stays").values()),
            "the other runs",
            30,
        )
        home.wait("stays", "Ready", timeout=30)
    finally:
        home.stop()


# -- providers and consumers --------------------------------------------------------------------------


@pytest.mark.fault("G05")
def test_a_consumer_taken_out_while_its_hook_runs_goes_when_the_hook_has_ended(home: Home) -> None:
    install = "echo begun >>/data/installs\nuntil [ -e /data/go ]; do sleep 0.1; done\necho DB_USER=u\n"
    put_provider(home, install=install)
    put_consumer(home)
    home.put("calm")
    home.start()
    for short in ("db", "calm"):
        home.wait(short, "Ready")
    wait_until(lambda: hook_processes(home), "the hook runs")
    before = home.ids()
    shutil.rmtree(home.apps / home.name("app"))
    home.put("new")
    home.wait("new", "Ready")  # nobody waits for it
    assert home.status("app"), "it is not forgotten while something of it runs"
    in_provider(home, "touch", "/data/go")
    wait_until(lambda: home.log("app.removed", "app"), "it is gone")
    assert home.status("app") is None
    assert not home.containers("app")
    assert not hook_processes(home)
    assert home.ids().items() >= before.items()
    assert not (home.apps / home.name("app")).exists(), "no file of it was written again"


@pytest.mark.fault("G05")
def test_what_a_provider_gave_stays_in_env_when_the_provider_is_gone(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    home.put("calm")
    home.start()
    for short in ("app", "calm"):
        home.wait(short, "Ready")
    folder = home.apps / home.name("app")
    env, before = (folder / ".env").read_bytes(), home.ids()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"requires": []}))
    shutil.rmtree(home.apps / home.name("db"))
    wait_until(lambda: home.log("app.removed", "db"), "it is removed", 20)
    home.wait("app", "Ready")
    assert (folder / ".env").read_bytes() == env
    assert home.ids() == others(before, home, "db")
    assert home.env_of("app")["USER_"] == home.name("app")
