"""Apps from a catalog, and folders that people bring along: installed by command, run by the service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rig.pair import CONSUMER, INSTALL, PROVIDER
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine


@pytest.fixture
def catalog(home: Home) -> Path:
    """A catalog of its own beside the tree."""
    folder = home.apps.parent / "catalog"
    folder.mkdir()
    return folder


def tree(home: Home) -> set[str]:
    """What is in the apps tree, except the service's own files."""
    return {entry.name for entry in home.apps.iterdir()} - {".homeport", ".homeport.lock"}


def test_install_brings_providers_first_runs_their_hooks_and_all_is_ready(home: Home, catalog: Path) -> None:
    settings = [{"name": "OWNER", "label": "Owner", "required": True}]
    requires = [{"app": home.name("db"), "on_install": "scripts/install.sh"}]
    home.put("db", PROVIDER, {"scripts/install.sh": INSTALL}, into=catalog, volumes=["data"])
    compose = CONSUMER.replace("environment: {", 'environment: {OWNER_: "${OWNER:?}", ')
    home.put("app", compose, into=catalog, requires=requires, settings=settings)
    home.start()
    db, app = home.name("db"), home.name("app")
    done = home.run("install", app, "--catalog", str(catalog), "--set", "OWNER=s3cret me", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.index(f"  {db}") < done.stdout.index(f"  {app}"), "providers first"
    assert "s3cret" not in done.stdout + done.stderr
    waited = home.run("wait", app, "--for", "Ready", "--timeout", "30s")
    assert (waited.returncode, waited.stdout) == (0, f"{app} is Ready.\n")
    home.wait("db", "Ready")
    env = home.env_of("app")
    assert (env["OWNER_"], env["USER_"], env["PASSWORD_"]) == ("s3cret me", app, 'p$w "q')
    assert (home.apps / app / ".env").stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in home.log_file.read_text()
    assert home.run("install", app, "--catalog", str(catalog), "--yes").returncode == 1, "it is there already"


def test_what_cannot_be_installed_is_refused_with_its_chain_and_nothing_is_written(
    home: Home, catalog: Path
) -> None:
    x, y, z = (home.name(short) for short in "xyz")
    home.put("x", into=catalog, requires=[{"app": y}])
    home.put("y", into=catalog, requires=[{"app": x}])
    home.put("z", into=catalog, requires=[{"app": "nobody-has-it"}])
    home.start()
    before = tree(home)
    for app, chain in ((x, f"{x} -> {y} -> {x}"), (z, f"{z} needs nobody-has-it")):
        done = home.run("install", app, "--catalog", str(catalog), "--yes")
        assert done.returncode == 1
        assert chain in done.stderr
    assert home.run("install", "nobody-has-it", "--catalog", str(catalog), "--yes").returncode == 2
    assert tree(home) == before


def test_an_install_that_is_killed_leaves_a_dot_folder_that_no_app_comes_from(
    home: Home, catalog: Path
) -> None:
    big = home.put("big", into=catalog)
    for number in range(2000):
        (big / f"file{number}").write_bytes(b"x" * 10_000)
    home.start()
    with subprocess.Popen(
        [sys.executable, "-m", "controller", "install", str(big), "--yes"],
        env=home.environment(), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        wait_until(lambda: list(home.apps.glob(".homeport-install-*/*/file1")), "it copies", interval=0.001)
        os.kill(process.pid, signal.SIGKILL)
    (left,) = tree(home)
    assert left.startswith(".homeport-install-")
    home.run("reconcile")
    assert home.status("big") is None
    assert not home.containers()
    assert home.run("install", str(big), "--yes").returncode == 0
    home.wait("big", "Ready")


def test_init_makes_a_manifest_for_a_compose_file_that_runs_when_it_is_dropped_in(home: Home) -> None:
    folder = home.apps.parent / home.name("bare")
    folder.mkdir()
    compose = SLEEPER + '    environment: {GREETING: "${GREETING:-hello}", TOKEN: "${API_TOKEN:?}"}\n'
    compose += f"    volumes: ['data:/data']\nvolumes: {{data: {{name: furtka_{folder.name}_data, external: true}}}}\n"
    (folder / "compose.yaml").write_text(compose)
    assert home.run("validate", str(folder)).returncode == 1
    assert home.run("init", str(folder)).returncode == 0
    assert home.run("init", str(folder)).returncode == 1, "a manifest that is there is not touched"
    checked = home.run("validate", str(folder))
    assert (checked.returncode, f"{folder.name}: fine" in checked.stdout) == (0, True), checked.stderr
    assert json.loads((folder / "manifest.json").read_text())["volumes"] == ["data"]
    home.start()
    folder.rename(home.apps / folder.name)
    status = home.wait("bare", "NeedsConfiguration")
    assert "API_TOKEN" in ready_of(status)["message"]
    assert home.run("set", folder.name, "API_TOKEN=t0ken").returncode == 0
    home.wait("bare", "Ready")
    assert home.env_of("bare")["TOKEN"] == "t0ken"


def test_schema_prints_what_is_shipped(home: Home) -> None:
    shipped = Path(__file__).parents[2] / "manifests" / "manifest.schema.json"
    assert home.run("schema").stdout == shipped.read_text()
