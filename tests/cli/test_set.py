"""`homeport set`: a person's edit of `.env`."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from controller.source.reading import MOST_NAMED
from controller.status.lock import StateLock
from fakes.tree import manifest

Homeport = Callable[..., Result]
SETTINGS = [
    {"name": "PORT", "type": "number"},
    {"name": "MEDIA", "type": "path"},
    {"name": "TOKEN", "type": "password", "required": True},
]


@pytest.fixture
def unserved(apps: Path) -> Path:
    """The `.env` of the app `web`, with a comment. No service runs."""
    (apps / "web" / "manifest.json").write_text(json.dumps(manifest("web", settings=SETTINGS)))
    (apps / "web" / "docker-compose.yaml").write_text("services:\n  main:\n    image: x\n")
    file = apps / "web" / ".env"
    file.write_text("# mine\nPORT=1\nOTHER=kept  # why\n")
    return file


@pytest.fixture
def env(unserved: Path, state: Path) -> Iterator[Path]:
    """The same while a service runs."""
    with StateLock(state):
        yield unserved


def test_keys_are_printed_and_values_never(homeport: Homeport, env: Path) -> None:
    result = homeport("set", "web", "PORT=8080", "NEW=a=b", "OTHER=kept")
    assert (result.exit_code, result.stdout) == (0, "web: changed PORT, NEW\n")
    assert env.read_text() == '# mine\nPORT=8080\nOTHER=kept  # why\nNEW="a=b"\n'
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert homeport("set", "web", "PORT=8080").stdout == "web: nothing to change\n"


@pytest.mark.usefixtures("unserved")
def test_a_change_that_no_service_takes_up_is_told_of(homeport: Homeport, state: Path) -> None:
    assert homeport("set", "web", "PORT=8080").stderr == (
        "The service is not running; this takes effect at its next start.\n"
    )
    assert homeport("set", "web", "PORT=8080").stderr == "", "nothing to take up"
    with StateLock(state):
        assert homeport("set", "web", "PORT=8081").stderr == ""


def test_a_key_alone_is_read_from_standard_input(homeport: Homeport, env: Path) -> None:
    result = homeport("set", "web", "TOKEN", "PORT=2", "NEW", stdin="s3cret \nother\n")
    assert (result.exit_code, result.stdout) == (0, "web: changed PORT, TOKEN, NEW\n")
    assert 'TOKEN="s3cret "' in env.read_text()
    assert "NEW=other" in env.read_text()


def test_a_key_that_nothing_names_is_set_and_told_with_what_may_have_been_meant(
    homeport: Homeport, env: Path
) -> None:
    result = homeport("set", "web", "PROT=s3cret", "XYZZY=s3cret", "PORT=2", "OTHER=new")
    assert (result.exit_code, result.stdout) == (0, "web: changed PROT, XYZZY, PORT, OTHER\n")
    slip, strange = result.stderr.splitlines()
    assert slip.startswith("web: warning: PROT is set, but neither")
    assert slip.endswith("; did you mean PORT?")
    assert strange.startswith("web: warning: XYZZY is set, but neither")
    assert strange.endswith("names it")
    assert "PROT=s3cret" in env.read_text()
    assert homeport("set", "web", "PROT=3").stderr == "", "from now on it is one of his"


@pytest.mark.parametrize(
    "text",
    ["environment: [XYZZY]", "environment: {X: '${XYZZY:-1}'}", "labels: {a: '$XYZZY'}", "env_file: .env"],
)
def test_a_key_that_a_compose_file_names_or_hands_over_is_nothing_to_tell(
    homeport: Homeport, env: Path, text: str
) -> None:
    (env.parent / "docker-compose.yaml").write_text(f"services:\n  main:\n    image: x\n    {text}\n")
    assert homeport("set", "web", "XYZZY=1").stderr == ""


def test_a_key_that_a_hook_in_a_provider_names_is_nothing_to_tell(
    homeport: Homeport, env: Path, apps: Path
) -> None:
    provider = apps / "db"
    provider.mkdir()
    (provider / "install.sh").write_text("createdb $FURTKA_CONSUMER_ENV_DB_NAME $PGDATA\n")
    (provider / "other.sh").write_text("echo $FURTKA_CONSUMER_ENV_NOT_ASKED_FOR\n")
    asked = [{"app": "db", "on_install": "install.sh"}, {"app": "gone", "on_start": "start.sh"}]
    (env.parent / "manifest.json").write_text(json.dumps(manifest("web", requires=asked)))
    assert "did you mean DB_NAME?" in homeport("set", "web", "DB_NAMES=shop").stderr
    assert homeport("set", "web", "DB_NAME=shop").stderr == ""
    for key in ("NOT_ASKED_FOR", "PGDATA"):
        assert f"{key} is set, but neither" in homeport("set", "web", f"{key}=1").stderr


def test_of_an_app_of_very_many_files_a_slip_alone_is_told(homeport: Homeport, env: Path) -> None:
    names = [f"files/{number}" for number in range(MOST_NAMED + 1)]
    (env.parent / "files").mkdir()
    for name in names:
        (env.parent / name).write_text("XYZZY=${XYZZY}" if name == names[-1] else "")
    mounts = "".join(f"      - ./{name}:/{name}:ro\n" for name in names)
    (env.parent / "docker-compose.yaml").write_text(
        f"services:\n  main:\n    image: x\n    volumes:\n{mounts}"
    )
    assert homeport("set", "web", "XYZZY=1").stderr == ""
    assert "did you mean TOKEN?" in homeport("set", "web", "TOKNE=1").stderr


def test_a_slip_is_told_also_where_a_container_is_handed_all_keys(homeport: Homeport, env: Path) -> None:
    (env.parent / "docker-compose.yaml").write_text("services: {main: {image: x, env_file: [.env]}}\n")
    result = homeport("set", "web", "TOKNE=1")
    assert (
        result.stderr
        == "web: warning: TOKNE is set, and is no setting of manifest.json; did you mean TOKEN?\n"
    )


@pytest.mark.parametrize(
    ("pairs", "stdin"),
    [
        (("lower=1",), ""),
        (("=1",), ""),
        (("COMPOSE_FILE=x",), ""),
        (("PATH=/x",), ""),
        (("NEW=a\nb",), ""),
        (("NEW=a\rb",), ""),
        (("NEW=1", "NEW=2"), ""),
        (("NEW", "NEW=2"), "1\n"),
        (("NEW",), "one\ntwo\n"),
        (("NEW", "MORE"), "one\n"),
    ],
)
def test_what_no_env_file_should_hold_is_wrong_use(
    homeport: Homeport, env: Path, pairs: tuple[str, ...], stdin: str
) -> None:
    before = env.read_bytes()
    assert homeport("set", "web", *pairs, stdin=stdin).exit_code == 2
    assert env.read_bytes() == before


@pytest.mark.parametrize(
    ("pair", "rule"),
    [
        ("PORT=s3cret", "PORT: must be a number"),
        ("MEDIA=s3cret", "MEDIA: must be an absolute path"),
        ("TOKEN=changeme", "TOKEN: is a placeholder"),
        ("TOKEN=", "TOKEN: is required and empty"),
    ],
)
def test_a_value_that_its_setting_does_not_take_is_refused_with_the_rule(
    homeport: Homeport, env: Path, pair: str, rule: str
) -> None:
    before = env.read_bytes()
    result = homeport("set", "web", "NEW=1", pair)
    assert (result.exit_code, rule in result.stderr) == (1, True)
    assert "s3cret" not in result.output
    assert env.read_bytes() == before


def test_a_folder_that_is_no_valid_app_is_left_alone(homeport: Homeport, env: Path) -> None:
    (env.parent / "manifest.json").write_text("{")
    result = homeport("set", "web", "PORT=2")
    assert (result.exit_code, "manifest.json" in result.stderr) == (1, True)
    assert "PORT=1" in env.read_text()


@pytest.mark.usefixtures("homeport")
def test_a_value_that_is_typed_is_not_shown(env: Path) -> None:
    person, terminal = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "controller", "set", "web", "TOKEN"],
            stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        ) as child:  # fmt: skip
            shown = b""
            while b"TOKEN: " not in shown:
                shown += os.read(person, 1024)
            os.write(person, b"s3cret\n")
            while b"changed" not in shown:
                shown += os.read(person, 1024)
            assert child.wait(timeout=60) == 0
    finally:
        os.close(person)
        os.close(terminal)
    assert b"s3cret" not in shown
    assert "TOKEN=s3cret" in env.read_text()
