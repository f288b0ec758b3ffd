"""Files that are none, folders of odd names, and bombs, in the tree of the real service: told, and nobody is harmed."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from rig.engine import children
from rig.hostile import COMPOSE_BOMBS, ENV_BOMBS
from rig.pair import put_provider
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine


def make_socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{path.name}")  # a socket's path must be short
    finally:
        os.close(here)


NO_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (os.mkfifo, "is not a regular file"),
    "socket": (make_socket, "is not a regular file"),
    "device": (lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5)), "is not a regular file"),
    "folder": (Path.mkdir, "is not a regular file"),
    "loop": (lambda path: path.symlink_to(path.name), "is a link that leads nowhere"),
    "zero": (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
}


def memory(home: Home) -> int:
    """MiB that the service has taken at most."""
    assert home.process is not None
    status = Path(f"/proc/{home.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def put_aside(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.fault("B07")
def test_what_is_no_file_in_an_inputs_place_is_told_by_name_and_what_runs_goes_on(home: Home) -> None:
    broken = {
        f"{kind}{number}": (name, kind)
        for kind in NO_FILES
        for number, name in enumerate(("manifest.json", "docker-compose.yaml", ".env"))
    }
    for short in ("good", "victim", *broken):
        home.put(short, files={".env": "A=1\n"})
    for short, (name, kind) in broken.items():
        path = home.apps / home.name(short) / name
        path.unlink()
        NO_FILES[kind][0](path)
    # An icon is a picture for people: nobody opens it.
    os.mkfifo(home.apps / home.name("good") / "icon.svg")
    home.start()
    home.wait("good", "Ready", timeout=60)
    home.wait("victim", "Ready", timeout=60)
    before = home.ids()
    assert {name.split("-")[1] for name in before} == {"good", "victim"}
    for short, (name, kind) in broken.items():
        ready = ready_of(home.wait(short, "Invalid", timeout=60))
        assert ready["message"].startswith(f"{name}: {NO_FILES[kind][1]}"), ready
        assert ready["reason"] == "SourceInvalid"
    compose = home.apps / home.name("victim") / "docker-compose.yaml"
    for make, message in NO_FILES.values():
        put_aside(compose)
        make(compose)
        wait_until(
            lambda text=message: text in ready_of(home.status("victim") or {}).get("message", ""), message, 60
        )
        put_aside(compose)
        compose.write_text(SLEEPER)
        home.wait("victim", "Ready", timeout=60)
    assert home.ids() == before
    for short, (name, _) in broken.items():
        path = home.apps / home.name(short) / name
        put_aside(path)
        shutil.copy(home.apps / home.name("good") / name, path)
        path.write_text(path.read_text().replace(home.name("good"), home.name(short)))
    for short in broken:
        home.wait(short, "Ready", timeout=90)
    assert before.items() <= home.ids().items()


@pytest.mark.fault("B07")
def test_a_hook_script_that_is_no_file_fails_its_hook_and_holds_no_worker(home: Home) -> None:
    put_provider(home)
    scripts = home.apps / home.name("db") / "scripts"
    os.mkfifo(scripts / "pipe.sh")
    (scripts / "out.sh").symlink_to("/etc/passwd")
    for short, script in (("ok", "install"), ("pipe", "pipe"), ("out", "out")):
        home.put(short, requires=[{"app": home.name("db"), "on_install": f"scripts/{script}.sh"}])
    home.settings["workers"] = "1"
    home.start()
    home.wait("ok", "Ready", timeout=60)
    for short, words in (("pipe", "is not a regular file"), ("out", "leads out of the folder")):
        ready = ready_of(home.wait(short, "Failed", timeout=60))
        assert ready["reason"] == "HookFailed"
        assert words in ready["message"]
        assert not home.containers(short)
    assert "root:" not in home.log_file.read_text()


ODD_NAMES = (b"-rf", b"a b", b"a\nb", b"\xff\xfe", b"x" * 255, b"Web", b"w\xd0\xb5b", b"\x1b[31m", b"$(id)")


@pytest.mark.fault("B07")
def test_folders_of_odd_names_are_told_once_and_left_alone(home: Home) -> None:
    home.put("good")
    for name in ODD_NAMES:
        shutil.copytree(os.fsencode(home.apps / home.name("good")), os.fsencode(home.apps) + b"/" + name)
    home.start()
    home.wait("good", "Ready", timeout=60)
    told = [line["message"] for line in home.log("tree.ignored")]
    assert len(told) == 1
    assert told[0].count("is not an app name") == len(ODD_NAMES)
    assert told[0].isprintable()
    before = home.ids()
    assert {name.removeprefix(home.prefix) for name in before} == {"good-main-1"}
    (home.apps / "a b").rename(home.apps / home.name("mended"))
    manifest = home.apps / home.name("mended") / "manifest.json"
    manifest.write_text(manifest.read_text().replace(home.name("good"), home.name("mended")))
    home.wait("mended", "Ready", timeout=60)
    assert before.items() <= home.ids().items()
    assert {os.fsencode(entry.name) for entry in home.apps.iterdir()} >= set(ODD_NAMES) - {b"a b"}


HONEST = (
    "x-env: &env {A: '1', B: '2', C: '3'}\n"
    "x-logging: &logging {driver: json-file, options: {max-size: 1m}}\n"
    "x-base: &base {image: homeport/sample:1, init: true, network_mode: none, stop_grace_period: 0s, logging: *logging}\n"
    + "".join(f"x-part{n}: &part{n} {{<<: *base, environment: {{<<: *env, N: '{n}'}}}}\n" for n in range(25))
    + "services:\n  main:\n    <<: *part1\n    command: [sleep, '100000']\n"
    + "".join(f"  off{n}:\n    <<: *part{n}\n    profiles: [never]\n" for n in range(2, 25))
)


@pytest.mark.slow
@pytest.mark.fault("B06")
def test_bombs_cost_neither_the_service_nor_its_neighbours_anything(home: Home) -> None:
    home.put("good")
    home.put("victim")
    home.start()
    home.wait("good", "Ready", timeout=60)
    home.wait("victim", "Ready", timeout=60)
    before, taken = home.ids(), memory(home)
    refused = {
        "aliases": (COMPOSE_BOMBS["lists of aliases"], "", "is too large once its aliases are expanded"),
        "merges": (COMPOSE_BOMBS["merges"], "", "is too large once its aliases are expanded"),
        "itself": (COMPOSE_BOMBS["an alias of itself"], "", "stands within itself"),
        "deep": (COMPOSE_BOMBS["a deep list in a flow"], "", "is nested too deep"),
        "keys": (COMPOSE_BOMBS["a million keys"], "", "is too large once its aliases are expanded"),
        "vars": (SLEEPER, ENV_BOMBS["ten lines for gigabytes"], "have more than 1048576 characters"),
    }
    for short, (compose, env, _) in refused.items():
        home.put(short, compose, {".env": env})
    # What is small to us and asks Compose for gigabytes.
    home.put("child", SLEEPER + "x-a: [" + '"$A",' * 20_000 + "]\n", {".env": "A=" + "x" * 100_000 + "\n"})
    sparse = home.put("sparse")
    os.truncate(sparse / "docker-compose.yaml", 1 << 30)
    folder = home.apps / home.name("victim")
    (folder / "docker-compose.yaml").write_text(COMPOSE_BOMBS["lists of aliases"])
    # Neighbours are served meanwhile.
    home.put("later", HONEST)
    home.wait("later", "Ready", timeout=90)
    for short, (_, _, message) in refused.items():
        ready = ready_of(home.wait(short, "Invalid", timeout=90))
        assert message in ready["message"]
    assert "at most 1048576 are read" in ready_of(home.wait("sparse", "Invalid", timeout=90))["message"]
    assert "is too large" in ready_of(home.wait("victim", "Invalid", timeout=90))["message"]
    child = ready_of(home.wait("child", "Failed", timeout=120))
    assert child["message"] == "Compose broke off over the files; its limit is 1 GiB of memory"
    assert memory(home) - taken < 64
    assert before.items() <= home.ids().items()
    assert not [name for name in home.ids() if name not in before and "-later-" not in name]
    # The last good one is there again with one edit, and the bomb can be taken out.
    (folder / "docker-compose.yaml").write_text(SLEEPER)
    home.wait("victim", "Ready", timeout=60)
    shutil.rmtree(home.apps / home.name("child"))
    wait_until(lambda: home.status("child") is None, "the bomb is forgotten", 60)
    assert home.process is not None
    wait_until(
        lambda: not children(home.process.pid if home.process else 0), "no child of Compose is left", 60
    )
    assert home.ids().items() >= before.items()
