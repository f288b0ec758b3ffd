"""Apps that ran before the service knew of them: by hand, from elsewhere, or with its memory lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rig.pair import in_provider, put_consumer, put_provider
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

SEVERAL = (
    SLEEPER.replace("    network_mode: none\n", "")
    + """\
    environment: {WORD: "${WORD:-none}"}
    env_file: [more.env]
    volumes: ["./site:/site:ro", "data:/data", "own:/own"]
  side:
    image: homeport/sample:1
    command: ["sleep", "100000"]
    init: true
    network_mode: service:main
    stop_grace_period: 0s
  job: {image: "homeport/sample:1", command: ["true"], network_mode: none, restart: "no"}
volumes: {data: {name: "furtka_@hand_data"}, own: {}}
"""
)


def compose(home: Home, folder: Path, *arguments: str) -> None:
    """As a person does in that folder."""
    binary = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    assert binary is not None
    subprocess.run([binary, *arguments], cwd=folder, env=home.environment(), check=True, capture_output=True)


def test_an_app_that_was_started_by_hand_is_taken_over_as_it_runs(home: Home) -> None:
    files = {".env": "WORD=word\n", "more.env": "MORE=1\n", "site/index.html": "hello\n"}
    folder = home.put("hand", SEVERAL, files, volumes=["data"])
    compose(home, folder, "up", "-d")
    before = home.ids("hand")
    assert len(before) == 3
    home.start()
    home.wait("hand", "Ready")
    home.run("reconcile")
    after = home.ids("hand")
    job = f"{home.name('hand')}-job-1"
    assert {name: after[name] for name in before if name != job} == {
        name: before[name] for name in before if name != job
    }
    assert after[job].split("@")[0] == before[job].split("@")[0], "nothing is created anew"
    assert home.word("hand") == "Ready"
    assert not home.failures()


def test_a_stack_beside_the_apps_that_never_had_a_manifest_outlives_its_folder(home: Home) -> None:
    stack = home.put("stack")
    compose(home, stack, "up", "-d")
    before = home.ids("stack")
    (stack / "manifest.json").unlink()
    home.put("other")
    home.start()
    home.wait("other", "Ready")
    home.wait("stack", "Invalid")
    stack.rename(home.apps.parent / "away")
    wait_until(lambda: home.log("app.removed", "stack"), "it is forgotten")
    assert home.ids("stack") == before
    assert home.word("other") == "Ready"


@pytest.mark.fault("D11")
def test_a_project_from_elsewhere_is_left_alone_until_a_person_adopts_it(home: Home, tmp_path: Path) -> None:
    elsewhere = home.put("twin", into=tmp_path)
    compose(home, elsewhere, "up", "-d")
    before = home.ids("twin")
    home.put("twin")
    home.put("other")
    home.start()
    home.wait("other", "Ready")
    ready = ready_of(home.wait("twin", "Invalid"))
    assert ready["reason"] == "NameConflict"
    assert "homeport adopt" in ready["message"]
    assert home.ids("twin") == before
    assert home.run("adopt", home.name("other")).returncode != 0, "there is nothing to adopt"

    adopted = home.run("adopt", home.name("twin"))
    assert adopted.returncode == 0, adopted.stderr
    home.wait("twin", "Ready")
    (line,) = home.log("app.adopted", "twin")
    assert str(elsewhere) in line["message"]
    assert home.ids("twin") == before, "what runs is the same as what is wanted"
    home.stop()
    home.start()
    home.run("reconcile")
    assert home.word("twin") == "Ready", "it is ours from now on"
    assert home.ids("twin") == before
    shutil.rmtree(home.apps / home.name("twin"))
    wait_until(lambda: not home.containers("twin"), "and is removed like any other", 15)


@pytest.mark.fault("F03")
def test_with_the_state_lost_what_has_a_folder_is_kept_and_what_has_none_is_an_orphan(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    home.put("lone")
    home.start()
    for short in ("app", "lone"):
        home.wait(short, "Ready")
    before = home.ids()
    assert home.stop() == 0
    assert home.ids() == before, "the service stops, and no app with it"
    shutil.rmtree(home.state)
    shutil.rmtree(home.apps / home.name("lone"))
    home.start()
    for short in ("db", "app"):
        home.wait(short, "Ready")
    ready = ready_of(home.wait("lone", "Orphaned"))
    assert f"homeport remove {home.name('lone')}" in ready["message"]
    home.run("reconcile")
    assert home.run("prune").stdout.count(home.name("lone")) == 0
    assert home.ids() == before
    assert in_provider(home, "cat", "/data/installs").count("\n") == 1, "its password is the one of then"

    removed = home.run("remove", home.name("lone"), "--yes")
    assert removed.returncode == 0, removed.stderr
    assert not home.containers("lone")
    assert home.status("lone") is None
    assert home.ids() == {name: i for name, i in before.items() if home.name("lone") not in name}
