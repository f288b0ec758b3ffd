"""Behind the same socket is another engine, or the same one without its disk: nothing is done on it unasked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rig.engine import PrivateEngine, build_sample_image
from rig.pair import in_provider, put_consumer, put_provider
from rig.service import Home
from rig.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.fault("D06"), pytest.mark.slow]


@pytest.fixture
def home(private_engine: PrivateEngine, tmp_path: Path) -> Home:
    """Two apps, one with a volume and a password in it, run on an engine of their own."""
    home = Home(tmp_path, private_engine.host, "d-")
    put_provider(home)
    put_consumer(home)
    home.put("plain")
    home.start()
    for short in ("db", "app", "plain"):
        home.wait(short, "Ready")
    return home


def running(home: Home, short: str) -> bool:
    containers = home.containers(short)
    return bool(containers) and all(c["State"]["Running"] for c in containers.values())


def test_an_engine_without_its_disk_is_left_as_it_is_until_the_disk_is_back(
    home: Home, private_engine: PrivateEngine
) -> None:
    data = private_engine.directory / "data"
    env = (home.apps / home.name("app") / ".env").read_bytes()
    created = {name: i.split("@")[0] for name, i in home.ids().items()}
    try:
        private_engine.shut_down()
        subprocess.run(["mount", "-t", "tmpfs", "none", str(data)], check=True)
        private_engine.start()
        build_sample_image(private_engine.host)
        (strange,) = wait_until(lambda: home.log("engine.strange"), "it is said", 60)
        assert "furtka_d-db_data" in strange["message"]
        assert "homeport reconcile --new-engine" in strange["message"]
        status = home.run("status")
        assert status.stdout.count("Unknown") == 3
        assert "none of the 3 apps on record" in status.stdout
        assert "Apps tree:" not in status.stdout, "it is the engine, and said once"
        asked = home.run("reconcile")
        assert asked.returncode == 3
        assert "--new-engine" in asked.stderr
        aside = home.apps.parent / "aside"
        shutil.move(home.apps / home.name("plain"), aside)
        looks = len(home.log())
        home.stop()
        home.start()
        wait_until(
            lambda: [line for line in home.log()[looks:] if line["event"] == "engine.strange"], "again"
        )
        home.run("reconcile")
        assert not home.containers()
        assert home.status("plain") is not None, "and nothing is forgotten of what cannot be removed here"
        shutil.move(aside, home.apps / home.name("plain"))

        private_engine.shut_down()
        subprocess.run(["umount", "--lazy", str(data)], check=True)
        private_engine.start()
        for short in ("db", "app", "plain"):
            wait_until(lambda s=short: running(home, s), f"{short} runs", 60)
            home.wait(short, "Ready", timeout=60)
        assert home.log("engine.known")
        assert {name: i.split("@")[0] for name, i in home.ids().items()} == created
        assert (home.apps / home.name("app") / ".env").read_bytes() == env
        assert in_provider(home, "cat", "/data/installs").count("\n") == 1
    finally:
        home.stop()


@pytest.mark.parametrize("asked_of_the_service", [True, False])
def test_after_a_wipe_one_word_installs_everything_anew(
    home: Home, private_engine: PrivateEngine, asked_of_the_service: bool
) -> None:
    try:
        private_engine.shut_down()
        subprocess.run(["umount", "--lazy", str(private_engine.directory / "data")], check=False)
        shutil.rmtree(private_engine.directory / "data")
        private_engine.start()
        build_sample_image(private_engine.host)
        wait_until(lambda: home.log("engine.strange"), "it is said", 60)
        assert not home.containers()
        home.stop()
        if not asked_of_the_service:
            done = home.run("reconcile", "--new-engine")
        home.start()
        if asked_of_the_service:
            done = home.run("reconcile", "--new-engine")
        assert done.returncode == 0, done.stdout + done.stderr
        for short in ("db", "app", "plain"):
            home.wait(short, "Ready", timeout=60)
        assert in_provider(home, "cat", "/data/installs").count("\n") == 1, "a new volume, a new password"
        again = home.run("reconcile", "--new-engine")
        assert again.returncode != 0
        assert "the one on record" in again.stderr
        before, said = home.ids(), len(home.log("engine.strange"))
        home.stop()
        home.start()
        home.run("reconcile")
        assert home.ids() == before
        assert len(home.log("engine.strange")) == said
    finally:
        home.stop()
