"""Inputs are a closed set: a change of any of them arrives in the container, a change of anything else is not seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rig.engine import PrivateEngine
from rig.process import cpu_seconds, watch_count
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

SERVICE = SLEEPER.removeprefix("services:\n").removeprefix("  main:\n")
"""A service's fields, for compose files with several services."""


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def renamed_over(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.replace(path)


def another_folder_in_its_place(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.mkdir()
    (new / "word").write_text(text)
    path.rename(path.with_name(f".{path.name}.old"))
    new.rename(path)
    shutil.rmtree(path.with_name(f".{path.name}.old"))


def removed_and_made_anew(path: Path, text: str) -> None:
    shutil.rmtree(path)
    path.mkdir()
    (path / "word").write_text(text)


def split(ids: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Of `Home.ids`, by container: their identities, and when each was started."""
    pairs = {name: value.split("@") for name, value in ids.items()}
    return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}


def restarted(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """The services that were started again; their containers have to be the same as before."""
    (ids, then), (new_ids, now) = split(before), split(after)
    assert ids == new_ids, "nothing was re-created"
    return {name.split("-")[-2] for name in then if then[name] != now[name]}


def settled(home: Home, short: str, generation: int) -> None:
    """Waits until this generation of the inputs is there, runs and is Ready."""
    wait_until(
        lambda: (
            home.word(short) == "Ready" and (home.status(short) or {})["observedGeneration"] == generation
        ),
        f"generation {generation} is Ready",
    )


def running(home: Home, short: str) -> set[str]:
    """The services of which a container runs."""
    return {name.split("-")[-2] for name, c in home.containers(short).items() if c["State"]["Running"]}


def causes(home: Home, kind: str, short: str) -> list[str]:
    return [line["message"] for line in home.log("action.done", short) if line["kind"] == kind]


MOUNTING = f"""\
services:
  main:
{SERVICE}    volumes: ["./word:/word:ro", "./folder:/folder:ro", "./own:/own"]
  side:
{SERVICE.replace("network_mode: none", "network_mode: service:main")}
  other:
{SERVICE}    volumes: ["./other.conf:/other.conf:ro"]
"""


def test_a_mounted_path_that_changed_restarts_just_the_services_that_see_it(home: Home) -> None:
    home.start()
    files = {"word": "0", "folder/word": "0", "own/word": "0", "other.conf": "0"}
    folder = home.put("mounts", MOUNTING, files)
    home.wait("mounts", "Ready")
    generation = 1
    ways: list[tuple[str, Callable[[Path, str], None]]] = [
        ("word", in_place),
        ("word", renamed_over),
        ("folder", another_folder_in_its_place),
        ("folder", removed_and_made_anew),
        ("own", another_folder_in_its_place),
    ]
    for number, (name, change) in enumerate(ways, 1):
        before, done = home.ids("mounts"), len(causes(home, "restart", "mounts"))
        change(folder / name, str(number))
        inside = "/word" if name == "word" else f"/{name}/word"
        wait_until(
            lambda seen=inside, said=str(number): home.inside("mounts", seen) == said,
            f"{change.__name__} of {name} arrives",
        )
        generation += name == "word"
        settled(home, "mounts", generation)
        assert restarted(before, home.ids("mounts")) == {"main", "side"}
        (cause,) = causes(home, "restart", "mounts")[done:]
        assert str(folder / name) in cause, "once, and for that"
    assert len(causes(home, "compose_up", "mounts")) == 1
    # The sidecar was started after the one whose network it shares.
    started = split(home.ids("mounts"))[1]
    assert started[f"{home.name('mounts')}-main-1"] < started[f"{home.name('mounts')}-side-1"]


CONTENTS = """\
    configs: [from_file, inline]
    secrets: [secret_file, secret_env]
configs:
  from_file: {file: ./from_file.conf}
  inline: {content: "word=${WORD}"}
secrets:
  secret_file: {file: ./secret.txt}
  secret_env: {environment: WORD}
"""


def test_configs_and_secrets_of_every_origin_arrive_after_a_change(home: Home) -> None:
    home.start()
    files = {"from_file.conf": "a", "secret.txt": "b", ".env": "WORD=c\n"}
    folder = home.put("copied", SLEEPER + CONTENTS, files)
    home.wait("copied", "Ready")

    def inside() -> list[str]:
        paths = ("/from_file", "/inline", "/run/secrets/secret_file", "/run/secrets/secret_env")
        return [home.inside("copied", path) for path in paths]

    expected = ["a", "word=c", "b", "c"]
    assert inside() == expected
    for number, (name, text, change) in enumerate(
        (
            ("from_file.conf", "a2", {0: "a2"}),
            ("secret.txt", "b2", {2: "b2"}),
            (".env", "WORD=c2\n", {1: "word=c2", 3: "c2"}),
            ("docker-compose.yaml", SLEEPER + CONTENTS.replace("word=$", "now=$"), {1: "now=c2"}),
        ),
        2,
    ):
        (folder / name).write_text(text)
        for index, value in change.items():
            expected[index] = value
        wait_until(lambda: inside() == expected, f"the change of {name} arrives")
        settled(home, "copied", number)
    log = home.log_file.read_text()
    assert "c2" not in [word for line in home.log(short="copied") for word in line["message"].split()]
    assert "word=c" not in log


NAMING = """\
include: [{path: part/compose.yaml, env_file: part/part.env}]
services:
  main:
    extends: {file: base.yaml, service: base}
    env_file: [first.env, {path: later.env, required: false}]
"""
NAMED = {
    "part/compose.yaml": "services:\n  part:\n" + SERVICE + "    environment: {INCLUDED: '${PART}'}\n",
    "part/part.env": "PART=1\n",
    "base.yaml": "services:\n  base:\n" + SERVICE + "    environment: {EXTENDED: '1'}\n",
    "docker-compose.override.yaml": "services: {main: {environment: {OVERRIDE: '1'}}}\n",
}


def test_files_that_the_compose_file_names_arrive_after_a_change_and_when_they_appear(home: Home) -> None:
    home.start()
    folder = home.put("named", NAMING, NAMED)
    status = home.wait("named", "Invalid")
    assert ready_of(status)["reason"] == "Incomplete"
    assert "first.env" in ready_of(status)["message"]
    (folder / "first.env").write_text("FIRST=1\n")
    home.wait("named", "Ready")
    assert home.env_of("named").items() >= {"FIRST": "1", "EXTENDED": "1", "OVERRIDE": "1"}.items()
    generation = (home.status("named") or {})["generation"]

    for name, service, key in (
        ("first.env", "main", "FIRST"),
        ("base.yaml", "main", "EXTENDED"),
        ("docker-compose.override.yaml", "main", "OVERRIDE"),
        ("part/compose.yaml", "part", "ADDED"),
        ("part/part.env", "part", "INCLUDED"),
        ("later.env", "main", "LATER"),
    ):
        file = folder / name
        if key == "LATER":
            text = "LATER=2\n"
        elif key == "ADDED":
            text = file.read_text().replace("{INCLUDED", "{ADDED: '2', INCLUDED")
        else:
            text = (
                file.read_text().replace("1", "2")
                if key != "EXTENDED"
                else file.read_text().replace("'1'", "'2'")
            )
        renamed_over(file, text)
        wait_until(
            lambda s=service, k=key: home.env_of("named", s).get(k) == "2", f"the change of {name} arrives"
        )
        generation += 1
        settled(home, "named", generation)


DATA = """\
    volumes: ["./data:/data", "./state.db:/state.db", "./app.conf:/app.conf:ro"]
"""


@pytest.mark.fault("A09")
def test_what_is_written_into_mounted_data_is_never_seen(home: Home) -> None:
    home.settings["rescan"] = "0.5"
    home.start()
    folder = home.put("data", SLEEPER + DATA, {"data/.keep": "", "state.db": "0", "app.conf": "0"})
    home.wait("data", "Ready")
    assert home.process is not None
    pid, before = home.process.pid, home.ids("data")
    looks = (home.status("data") or {})["generation"], len(home.log()), watch_count(pid)
    used = cpu_seconds(pid)
    began = time.monotonic()
    for number in range(100):
        part = folder / "data" / f"part{number}"
        part.mkdir()
        (part / "0").touch()
        for file in range(1, 1000):
            os.link(part / "0", part / str(file))  # as many names and events, and a tenth of the disk's work
        (folder / "state.db").write_text(str(number))
    assert cpu_seconds(pid) - used < (time.monotonic() - began) / 4, "0.02 of it when this was written"
    (folder / "data" / "part0").rename(folder / "data" / "moved")
    shutil.rmtree(folder / "data" / "part1")
    renamed_over(folder / "state.db", "new")
    # An input is still seen at once; whatever the data had caused would have come before it.
    (folder / "app.conf").write_text("1")
    settled(home, "data", looks[0] + 1)
    assert [line["event"] for line in home.log()[looks[1] :]] == [
        "app.changed",
        "app.progressing",
        "action.done",
        "app.ready",
    ]
    assert restarted(before, home.ids("data")) == {"main"}
    assert watch_count(pid) == looks[2]
    assert home.inside("data", "/state.db") == "new"
    shutil.rmtree(folder / "data")


QUIET = f"""\
services:
  main:
{SERVICE}    volumes: ["./app.conf:/app.conf:ro", "./data:/data"]
    env_file: [extra.env]
  side:
{SERVICE.replace("network_mode: none", "network_mode: service:main")}
  job:
{SERVICE.replace('"sleep", "100000"', '"true"')}    restart: "no"
"""
QUIET_FILES = {"app.conf": "conf\n", "extra.env": "A=1\n", ".env": "B=1\n", "data/.keep": ""}
INPUTS = ("manifest.json", "docker-compose.yaml", "app.conf", "extra.env", ".env")


def there_and_back_by_git(folder: Path) -> None:
    """To a branch with other inputs and back, faster than anybody may act on it."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", "-C", str(folder)]
    for arguments in (["init", "-q"], ["add", *INPUTS], ["commit", "-qm", "1"], ["checkout", "-qb", "other"]):
        subprocess.run([*git, *arguments], check=True)
    for name in INPUTS:
        (folder / name).write_text("{}")
    for arguments in (["commit", "-qam", "2"], ["checkout", "-q", "-"]):
        subprocess.run([*git, *arguments], check=True)


@pytest.mark.fault("A11")
def test_what_changes_nothing_in_the_end_touches_no_container(home: Home) -> None:
    home.settings |= {"rescan": "0.5", "settle": "1"}
    home.start()
    folder = home.put("quiet", QUIET, QUIET_FILES)
    home.wait("quiet", "Ready")
    before, done = home.ids("quiet"), len(home.log("action.done", "quiet"))

    for name in INPUTS:
        file = folder / name
        os.utime(file)
        file.chmod(0o600)
        file.write_bytes(file.read_bytes())
        renamed_over(file, file.read_text())
        for dropping in (f".{name}.swp", f"{name}~", f"#{name}#", f".#{name}", "4913", f"{name}.orig"):
            (folder / dropping).write_text("dropping")
    there_and_back_by_git(folder)
    home.run("reconcile", home.name("quiet"))
    home.stop()
    home.start()
    home.run("reconcile")
    home.kill9()
    home.start()
    home.run("reconcile")

    settled(home, "quiet", 1)
    assert home.ids("quiet") == before
    assert len(home.log("action.done", "quiet")) == done
    assert not home.log("app.changed")


def test_a_restart_of_the_engine_re_creates_nothing(private_engine: PrivateEngine, tmp_path: Path) -> None:
    home = Home(tmp_path, private_engine.host, "k-")
    home.put("always", QUIET.replace("init: true", "init: true\n    restart: always", 2), QUIET_FILES)
    home.put("never", QUIET, QUIET_FILES)
    home.start()
    try:
        for short in ("always", "never"):
            home.wait(short, "Ready")
        for end in (private_engine.kill9, private_engine.shut_down):
            before, lost, back = home.ids(), len(home.log("engine.lost")), len(home.log("engine.back"))
            end()
            wait_until(lambda said=lost: len(home.log("engine.lost")) > said, "the log says so", 20)
            private_engine.start()
            wait_until(lambda said=back: len(home.log("engine.back")) > said, "the log says so", 30)
            home.run("reconcile")
            for short in ("always", "never"):
                wait_until(lambda s=short: running(home, s) == {"main", "side"}, f"{short} runs", 30)
                settled(home, short, 1)
            assert split(home.ids())[0] == split(before)[0]
    finally:
        home.stop()
