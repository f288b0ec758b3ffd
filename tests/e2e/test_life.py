"""An app's life as a person sees it: drop a folder in, edit it, take it out."""

from __future__ import annotations

import shutil

import pytest

from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine


def test_an_app_comes_up_changes_and_goes(home: Home) -> None:
    home.start()
    folder = home.put("one")
    home.wait("one", "Ready")
    first = home.ids("one")
    assert len(first) == 1

    compose = folder / "docker-compose.yaml"
    compose.write_text(compose.read_text() + "    environment: {EDIT: '1'}\n")
    wait_until(lambda: home.containers("one") and home.env_of("one").get("EDIT") == "1", "the edit arrived")
    assert home.wait("one", "Ready")["generation"] == 2
    assert home.ids("one") != first

    shutil.rmtree(folder)
    wait_until(lambda: not home.containers("one"), "the app is gone")
    wait_until(lambda: home.log("app.removed", "one"), "the removal is told")
    assert home.word("one") == ""
    told = [line["event"] for line in home.log(short="one")]
    for event in (
        "app.discovered",
        "app.progressing",
        "action.done",
        "app.ready",
        "app.changed",
        "app.removing",
        "app.removed",
    ):
        assert event in told
    assert home.stop() == 0


@pytest.mark.fault("G02")
def test_a_folder_put_back_within_the_quiet_period_stops_nothing(home: Home) -> None:
    home.settings["removal-settle"] = "5"
    home.start()
    folder = home.put("flap")
    home.wait("flap", "Ready")
    before = home.ids("flap")
    aside = folder.with_name(f".{folder.name}")
    folder.rename(aside)
    wait_until(lambda: home.log("app.missing", "flap"), "it is missed")
    aside.rename(folder)
    home.run("reconcile", home.name("flap"))
    assert home.ids("flap") == before
    assert not home.log("app.removing", "flap")


@pytest.mark.fault("G01")
def test_volumes_stay_when_an_app_is_removed(home: Home) -> None:
    home.start()
    compose = (
        SLEEPER
        + "    volumes: ['files:/files']\nvolumes: {files: {name: furtka_@vol_files, external: true}}\n"
    )
    folder = home.put("vol", compose, volumes=["files"])
    home.wait("vol", "Ready")
    shutil.rmtree(folder)
    (removed,) = wait_until(lambda: home.log("app.removed", "vol"), "it is removed")
    assert removed["volumes"] == [f"furtka_{home.name('vol')}_files"]
    from rig.engine import api

    with api(home.engine) as client:
        volume = client.inspect_volume(f"furtka_{home.name('vol')}_files")
    assert volume["Labels"]["io.homeport.app"] == home.name("vol")


@pytest.mark.fault("B01")
@pytest.mark.fault("G01")
def test_a_broken_manifest_leaves_the_app_running(home: Home) -> None:
    home.start()
    folder = home.put("torn")
    home.wait("torn", "Ready")
    before = home.ids("torn")
    manifest = folder / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole[:40])
    status = home.wait("torn", "Invalid")
    assert "manifest.json" in ready_of(status)["message"]
    manifest.write_text(whole)
    home.wait("torn", "Ready")
    assert home.ids("torn") == before
