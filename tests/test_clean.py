"""`make clean` knows the volumes of all apps that the state knows, and says what it leaves."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from controller.model.facts import LEFT
from controller.status.store import SqliteStore
from fakes.build import record
from rig.waiting import wait_until

SCRIPT = Path(__file__).parents[1] / "deploy" / "clean.py"


@pytest.fixture
def clean() -> Any:
    spec = importlib.util.spec_from_file_location("homeport_clean", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_volumes_of_apps_that_were_removed_before_are_known(
    clean: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean, "STATE", tmp_path / "state")
    assert clean._volumes_on_record() == set()
    with SqliteStore(tmp_path / "state") as store:
        store.save(record("web", volumes=("furtka_web_data",), own_volumes=("web_cache",)))
        store.put(LEFT + "gone", '["furtka_gone_data"]')
    assert clean._volumes_on_record() == {"furtka_web_data", "furtka_gone_data"}


def test_a_state_that_cannot_be_read_keeps_nothing_else_from_being_cleaned(
    clean: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clean, "STATE", tmp_path)
    (tmp_path / "homeport.db").write_text("rubbish " * 1000)
    assert clean._volumes_on_record() == set()
    assert "volumes of removed apps stay" in capsys.readouterr().err


def test_what_is_left_is_said_with_how_to_take_it_away(
    clean: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean, "ENGINE", tmp_path / "dockerd.pid")
    assert clean._left([]) == ""
    assert (
        clean._left(["homeport/sample:1"])
        == "clean: left: the image homeport/sample:1 (`docker image rm homeport/sample:1`)"
    )
    assert clean._left(["a", "b"]) == "clean: left: the images a b (`docker image rm a b`)"
    (tmp_path / "dockerd.pid").write_text(f"{os.getpid()}\n")
    assert clean._left([]) == "", "another process has that number by now"
    dockerd = tmp_path / "dockerd"
    shutil.copy(shutil.which("sleep") or "", dockerd)
    with subprocess.Popen([dockerd, "60"]) as child:
        try:
            (tmp_path / "dockerd.pid").write_text(f"{child.pid}\n")
            wait_until(lambda: clean._left([]), "it is seen to run")
            assert clean._left(["a"]).endswith(
                "), and the Docker engine that was started for it (`kill $(cat var/engine/dockerd.pid)`)"
            )
        finally:
            child.kill()


def test_images_that_are_built_of_the_apps_are_known(
    clean: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean, "APPS", tmp_path)
    for app, text in {
        "web": "services: {main: {build: .}, side: {build: ., image: 'own:1'}, db: {image: 'db:1'}, set: {build: ., image: '$X'}}",
        "torn": "services: {main",
        "odd": "services: {main: }",
        "none": "[]",
    }.items():
        (tmp_path / app).mkdir()
        (tmp_path / app / "docker-compose.yaml").write_text(text)
    assert clean._built() == ["web-main", "own:1"]


def test_where_no_tree_and_no_state_is_the_engine_is_known_in_the_same_way(tmp_path: Path) -> None:
    shutil.copy(SCRIPT.parents[1] / "Makefile", tmp_path)
    pidfile = tmp_path / "var" / "engine" / "dockerd.pid"
    pidfile.parent.mkdir(parents=True)
    dockerd = tmp_path / "dockerd"
    shutil.copy(shutil.which("sleep") or "", dockerd)

    def said(pid: str) -> str:
        pidfile.write_text(f"{pid}\n")
        return subprocess.run(
            ["make", "clean"], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    assert said("") == ""
    assert said(str(os.getpid())) == "", "another process has that number by now"
    with subprocess.Popen([dockerd, "60"]) as child:
        try:
            wait_until(
                lambda: "kill $(cat var/engine/dockerd.pid)" in said(str(child.pid)), "it is seen to run"
            )
        finally:
            child.kill()


def test_the_names_that_are_said_are_those_that_are_made(clean: Any) -> None:
    deploy = SCRIPT.parent
    assert f'IMAGE = "{clean.IMAGE}"' in (deploy / "sample-image" / "build.py").read_text()
    assert "pidfile=$var/engine/dockerd.pid" in (deploy / "ensure-engine").read_text()
