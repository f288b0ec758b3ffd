"""Secrets stay where they are needed: forty of them, by every way in, and none in what others can read."""

from __future__ import annotations

import base64
import json
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli.main import cli
from controller.engine import document as documents
from controller.engine.redaction import redact
from controller.source import dotenv
from rig.engine import api
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

pytestmark = pytest.mark.fault("H01")

CHECK = "    healthcheck: {test: [CMD-SHELL, 'echo \"is $$SICK\"; exit 1'], interval: 1s, retries: 1}\n"
CRASH = """\
services:
  main:
    image: homeport/sample:1
    command: ["sh", "-c", "env; env >&2; cat /run/secrets/*; echo arg ${CMD}; exit 3"]
    network_mode: none
    env_file: .env
    secrets: [inner, file]
    stop_grace_period: 0s
secrets: {inner: {environment: INNER}, file: {file: ./key}}
"""
HOOK_FAILS = (
    'echo "TOKEN=$HOOK_SECRET"; echo "it is $FURTKA_CONSUMER_ENV_HOOKENV" >&2; echo \'OUT\' >&2; exit 1\n'
)


class Canaries:
    """Secrets of all kinds, each with a mark of its own that is in nothing else."""

    def __init__(self) -> None:
        self.marks: list[str] = []

    def new(self, form: str = "{}") -> str:
        """One more secret; `{}` in its form becomes the mark."""
        mark = f"q7Z{len(self.marks):02d}w"
        self.marks.append(mark)
        return form.replace("{}", mark)

    def of_all_kinds(self) -> dict[str, str]:
        """By keys of an `.env`."""
        forms = [
            "{}", "{}!", "pa ss {}", "{}" + "x" * 5000, "$apr1$saltsalt${}$tailtail", "'{}'", '"{}"', "{}=={}",
            "first {}\nsecond {}", "-----BEGIN KEY-----\n{}\n{}{}\n-----END KEY-----\n", "back\\slash{}", "${NOT}{}",
            "ünïcode{}", "{}\t{}", "#{}", "postgres://user:{}@host:5432/db?x={}",
        ]  # fmt: skip
        found = {f"KIND_{number}": self.new(form) for number, form in enumerate(forms)}
        found["ENCODED"] = base64.b64encode(b"\0\xff secret").decode() + self.new()
        return found

    def found_in(self, text: str) -> list[str]:
        return [mark for mark in self.marks if mark in text]


def env_of(values: dict[str, str]) -> str:
    return "".join(f"{key}={dotenv.encode(value)}\n" for key, value in values.items())


def put_apps(home: Home, canaries: Canaries) -> dict[str, str]:
    """One app for each way in which a secret comes near a text of ours; the words they have to reach."""
    new = canaries.new
    everything = canaries.of_all_kinds()
    home.put(
        "web", SLEEPER + "    env_file: .env\n", {".env": env_of({**everything, "NAME": home.name("web")})}
    )
    home.put("port", SLEEPER + '    ports: ["${PORT}:80"]\n', {".env": f"PORT={new()}\n"})
    home.put("size", SLEEPER + '    mem_limit: "${SIZE}"\n', {".env": f"SIZE={new('{} of it')}\n"})
    home.put("quote", SLEEPER, {".env": f'A="{new()} and no end\n'})
    home.put("cmd", SLEEPER.replace('"sleep"', '"/no/${CMD}"'), {".env": f"CMD={new()}\n"})
    home.put("workdir", SLEEPER + "    user: '${WHO}'\n", {".env": f"WHO={new()}\n"})
    home.put("crash", CRASH, {
        ".env": env_of({**{f"C{n}": new("secret {}") for n in range(4)}, "CMD": new(), "INNER": new()}), "key": new() + "\n",
    })  # fmt: skip
    home.put("sick", SLEEPER + "    environment: [SICK]\n" + CHECK, {".env": f"SICK={new()}\n"})
    home.put(
        "pull",
        SLEEPER.replace("homeport/sample:1", "127.0.0.1:9/${TAG}:1"),
        {".env": f"PULL={new()}\nTAG=x\n"},
    )
    hook = HOOK_FAILS.replace("$HOOK_SECRET", new()).replace("OUT", new())
    made = f"echo MADE={new()}; echo 'FURTKA_JSON: {{\"ALSO\": \"{new()}\"}}'; echo 'lost {new()}'\n"
    bad = f"echo 'PATH={new()}'; echo 'bad-{new()}=1'\n"
    home.put("db", SLEEPER, {"scripts/fails.sh": hook, "scripts/makes.sh": made, "scripts/bad.sh": bad})
    for short, script in (("fails", "fails"), ("makes", "makes"), ("badkey", "bad")):
        requires = [{"app": home.name("db"), "on_install": f"scripts/{script}.sh"}]
        compose = SLEEPER + ("    environment: [MADE, ALSO]\n" if short == "makes" else "")
        home.put(short, compose, {".env": f"HOOKENV={new()}\n"}, requires=requires)
    return {
        "web": "Ready", "port": "Invalid", "size": "Invalid", "quote": "Invalid", "cmd": "Failed", "workdir": "Failed",
        "crash": "Failed", "sick": "Progressing Degraded Failed", "pull": "Failed", "db": "Ready", "fails": "Failed",
        "makes": "Ready", "badkey": "Failed",
    }  # fmt: skip


@contextmanager
def watching_processes() -> Iterator[set[str]]:
    """The command lines of all processes of the machine, looked at all the time."""
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    try:
                        seen.add((process / "cmdline").read_bytes().decode(errors="replace"))
                    except OSError:
                        continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(10)


@pytest.mark.slow
@pytest.mark.engine
def test_no_secret_is_where_others_can_read_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = Canaries()
    config = tmp_path / "docker"
    config.mkdir(mode=0o700)
    login = base64.b64encode(canaries.new("user:{}").encode()).decode()
    canaries.marks.append(login)
    (config / "config.json").write_text(json.dumps({"auths": {"127.0.0.1:9": {"auth": login}}}))
    (config / "config.json").chmod(0o600)
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    monkeypatch.setenv("HOMEPORT_TEST_CANARY", canaries.new())
    words = put_apps(home, canaries)
    mine = {path for path in home.apps.rglob("*") if path.is_file()}
    assert len(canaries.marks) >= 40
    temporary = set(Path("/tmp").iterdir())
    with watching_processes() as commands:
        home.start()
        for short, word in words.items():
            home.wait(short, *word.split(), timeout=60)
        wait_until(
            lambda: "exit" in str(home.status("crash")) and home.log("app.failed", "crash"), "it crashed", 40
        )
        for key, value in home.environment().items():
            monkeypatch.setenv(key, value)
        said = "".join(CliRunner().invoke(cli, question).output for question in questions(home, words))
    assert any("docker-compose" in command for command in commands)
    # What runs got them: the test looks for what is really there.
    assert canaries.marks[5] in str(home.env_of("web"))
    assert home.env_of("makes")["MADE"] in canaries.marks

    everything = {
        # What a container was told to run is its author's word; these are ours.
        "a command line": "\n".join(c for c in commands if "docker-compose" in c or "controller" in c),
        "the answers": said,
        "the log": home.log_file.read_text(),
        "the status": json.dumps([home.status(short) for short in words]),
    }
    for path in home.state.glob("homeport.*"):
        if path.is_file():
            everything[path.name] = path.read_bytes().decode(errors="replace")
    with api(home.engine) as client:
        everything["labels"] = json.dumps(
            [c["Config"]["Labels"] for c in home.containers().values()]
            + [(client.volumes()["Volumes"] or [])]
        )
    for path in [*tmp_path.rglob("*"), *(set(Path("/tmp").iterdir()) - temporary)]:
        if (
            path.is_file()
            and path not in mine
            and home.state not in path.parents
            and path.stat().st_mode & (stat.S_IROTH | stat.S_IRGRP)
        ):
            everything[str(path)] = path.read_bytes().decode(errors="replace")
    assert stat.S_IMODE(home.state.stat().st_mode) == 0o700  # nobody else gets to what is in it
    leaks = {where: found for where, text in everything.items() if (found := canaries.found_in(text))}
    assert not leaks
    # And what they say is still worth reading.
    text = everything["the log"]
    assert "***" in text
    for short in ("cmd", "port", "crash"):
        assert home.name(short) in text
    assert "mem_limit" in str(home.status("size"))
    assert home.name("web") in said


def questions(home: Home, words: dict[str, str]) -> list[list[str]]:
    common = [
        ["status", "-o", "json"],
        ["status", "-o", "wide"],
        ["events", "-o", "json"],
        ["plan"],
        ["validate"],
        ["doctor"],
    ]
    each = [[verb, home.name(short)] for short in words for verb in ("why", "history")]
    return common + each + [["why", home.name(short), "-o", "json"] for short in words]


@pytest.mark.engine
def test_a_value_that_is_only_in_a_command_is_hidden_in_the_words_of_its_failure(home: Home) -> None:
    home.put("web", SLEEPER.replace('"sleep"', '"/no/${CMD}"'), {".env": "CMD=hunter2-and-more\n"})
    home.start()
    message = str(home.wait("web", "Failed", timeout=60))
    assert "hunter2" not in message + home.log_file.read_text()
    assert "/no/***" in message


def test_names_images_and_mounted_paths_stay_readable_although_a_value_equals_them() -> None:
    document = json.dumps({
        "name": "shop-app",
        "services": {"database": {
            "image": "postgres:16", "container_name": "shop-db", "environment": {"USER": "database", "PASSWORD": "hunter2"},
            "volumes": [{"type": "bind", "source": "/mnt/data/shop", "target": "/d"}],
        }},
        "networks": {"backend": {"name": "shop-net"}}, "volumes": {"storage": {"name": "shop-vol"}},
    })  # fmt: skip
    env = {"A": "shop-app", "B": "database", "C": "postgres:16", "D": "/mnt/data", "E": "shop-net", "F": "shop-vol",
           "G": "shop-db", "H": "backend", "I": "of-the-env"}  # fmt: skip
    secrets = documents.secret_values(document, env)
    assert set(secrets) == {"hunter2", "of-the-env"}
    told = "service database of shop-app: image postgres:16, /mnt/data/shop, shop-net: no hunter2, of-the-env"
    assert redact(told, secrets) == told.replace("hunter2", "***").replace("of-the-env", "***")
