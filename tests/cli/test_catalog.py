"""`install`, `init` and `schema` as a person calls them."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from controller.cli.main import cli

Homeport = Callable[..., Result]
SAMPLES = Path(__file__).parents[2] / "manifests"


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    folder = tmp_path / "apps"
    folder.mkdir()
    return folder


@pytest.fixture
def homeport(apps: Path, monkeypatch: pytest.MonkeyPatch) -> Homeport:
    monkeypatch.setenv("HOMEPORT_APPS", str(apps))
    monkeypatch.setenv("HOMEPORT_STATE", str(apps.parent / "state"))
    monkeypatch.setenv("HOMEPORT_CATALOG", str(SAMPLES))
    monkeypatch.chdir(apps.parent)
    return lambda *arguments: CliRunner().invoke(cli, list(arguments), prog_name="homeport")


def test_install_shows_the_order_and_what_happens_next(homeport: Homeport, apps: Path) -> None:
    result = homeport("install", "notebook", "--yes", "--set", "PORT=18099")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"To be installed into {apps}, in this order:",
        f"  keybox    1.0.0  from {SAMPLES / 'keybox'}",
        f"  notebook  1.0.0  from {SAMPLES / 'notebook'}",
        "Filled in for notebook: PORT",
        "Installed keybox and notebook. A running service starts what it finds: `homeport status`.",
        "Until it runs: `homeport wait notebook --for Ready`",
    ]
    assert {entry.name for entry in apps.iterdir()} == {"keybox", "notebook"}
    assert homeport("validate").exit_code == 0


def test_install_names_what_has_to_be_filled_in_and_where(homeport: Homeport, apps: Path) -> None:
    result = homeport("install", "guestbook", "-y")
    assert "To be filled in for guestbook: GUESTBOOK_OWNER is a placeholder" in result.stdout
    assert (
        f"GUESTBOOK_OWNER in {apps / 'guestbook' / '.env'}: `homeport set guestbook GUESTBOOK_OWNER=…`"
        in result.stdout
    )


def test_install_without_a_terminal_needs_a_yes(homeport: Homeport, apps: Path) -> None:
    result = homeport("install", "hello")
    assert (result.exit_code, list(apps.iterdir())) == (2, [])
    assert "--yes" in result.stderr


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1)])
def test_install_asks_on_a_terminal(homeport: Homeport, apps: Path, answer: str, code: int) -> None:
    person, terminal = pty.openpty()
    try:
        os.write(person, answer.encode())
        command = [sys.executable, "-m", "controller", "install", "notebook"]
        ended = subprocess.run(
            command,
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=Path(__file__).parents[2],
        )
    finally:
        os.close(person)
        os.close(terminal)
    assert "Install these 2 apps? [y/N]" in ended.stdout
    assert ended.returncode == code
    assert {entry.name for entry in apps.iterdir()} == ({"keybox", "notebook"} if code == 0 else set())


def test_a_refusal_is_1_and_has_a_line_for_each_reason(homeport: Homeport, apps: Path) -> None:
    broken = apps.parent / "web"
    broken.mkdir()
    (broken / "manifest.json").write_text('{"name": "web"}')
    result = homeport("install", "./web", "--yes")
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert "homeport: web: manifest.json: version: is missing" in lines
    assert all(line.startswith("homeport: web: ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("helo",), "did you mean hello?"),
        (("./nothing",), "no such folder"),
        (("hello", "--set", "PORT"), "KEY=VALUE"),
        (("hello", "--set", "PORT=s3cret"), "must be a number"),
        (("hello", "--set", "other.A=s3cret"), "other is not being installed"),
    ],
)
def test_wrong_use_of_install_is_2_and_shows_no_value(
    homeport: Homeport, apps: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = homeport("install", "--yes", *arguments)
    assert (result.exit_code, list(apps.iterdir())) == (2, [])
    assert said in result.stderr
    assert "s3cret" not in result.output


def test_a_catalog_flag_wins_over_the_environment(homeport: Homeport, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert homeport("install", "hello", "--yes", "--catalog", "other").exit_code == 2
    arguments = ("--catalog", "other", "--catalog", str(SAMPLES))
    assert homeport("install", "hello", "--yes", *arguments).exit_code == 0


def test_without_a_catalog_a_name_leads_to_the_ways_to_give_one(
    homeport: Homeport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOMEPORT_CATALOG")
    result = homeport("install", "hello", "--yes")
    assert result.exit_code == 2
    assert "--catalog" in result.stderr
    assert "./hello" in result.stderr


def test_init_writes_a_manifest_that_validates(homeport: Homeport, tmp_path: Path) -> None:
    shutil.copytree(
        SAMPLES / "guestbook", tmp_path / "guestbook", ignore=shutil.ignore_patterns("manifest.json")
    )
    result = homeport("init", "guestbook")
    written = tmp_path / "guestbook" / "manifest.json"
    assert (result.exit_code, result.stdout) == (0, written.read_text())
    assert f"Wrote {written}" in result.stderr
    assert homeport("validate", "guestbook").exit_code == 0
    again = homeport("init", "guestbook")
    assert (again.exit_code, "is there already; edit it" in again.stderr) == (1, True)


def test_init_as_json_says_what_to_check(homeport: Homeport, tmp_path: Path) -> None:
    folder = tmp_path / "My App"
    folder.mkdir()
    (folder / "compose.yaml").write_text("services: {a: {image: x}}\n")
    document = json.loads(homeport("init", "My App", "-o", "json").stdout)
    assert document["file"] == str(folder / "manifest.json")
    assert document["manifest"]["name"] == "my-app"
    assert document["check"][0].startswith("name: the app is my-app; rename the folder")


def test_init_of_the_folder_one_is_in_takes_its_name(
    homeport: Homeport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "compose.yaml").write_text("services: {a: {image: x}}\n")
    monkeypatch.chdir(tmp_path / "web")
    assert json.loads(homeport("init", ".").stdout)["name"] == "web"


def test_init_follows_the_setting_of_the_volume_prefix(
    homeport: Homeport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEPORT_VOLUME_PREFIX", "box")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "compose.yaml").write_text(
        "services: {}\nvolumes: {box_web_data: {external: true}}\n"
    )
    assert json.loads(homeport("init", "web").stdout)["volumes"] == ["data"]


def test_init_of_a_name_that_no_app_can_have_is_2(homeport: Homeport, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    assert homeport("init", "web", "--name", "No Name").exit_code == 2


def test_schema_prints_a_json_schema(homeport: Homeport) -> None:
    document = json.loads(homeport("schema").stdout)
    assert document["$schema"].startswith("https://json-schema.org/")
    assert "name" in document["required"]
