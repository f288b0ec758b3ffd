"""Edits as editors and people make them: each is picked up, once; what changes no byte makes no action."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rig.service import MANIFEST, SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine


def in_place(file: Path, text: str) -> None:
    file.write_text(text)


def write_and_rename(file: Path, text: str) -> None:
    new = file.with_name(f".goutputstream-{file.name}")
    new.write_text(text)
    new.replace(file)


def vim(file: Path, text: str) -> None:
    """The backup dance: test file, rename to backup, write anew, remove backup; a swap file all the while."""
    swap = file.with_name(f".{file.name}.swp")
    swap.write_bytes(b"b0VIM")
    probe = file.with_name("4913")
    probe.touch()
    probe.unlink()
    backup = file.with_name(f"{file.name}~")
    file.rename(backup)
    file.write_text(text)
    backup.unlink()
    swap.unlink()


def sed_i(file: Path, text: str) -> None:
    new = file.with_name("sedAbC123")
    new.write_text(text)
    new.rename(file)


def git_checkout(file: Path, text: str) -> None:
    """The file is unlinked and written anew, as git does."""
    file.unlink()
    file.write_text(text)


SAVES: list[Callable[[Path, str], None]] = [in_place, write_and_rename, vim, sed_i, git_checkout]


@pytest.mark.fault("A08")
def test_each_way_to_save_is_picked_up_once(home: Home) -> None:
    home.settings["settle"] = "0.5"  # a busy machine may take a while between the truncation and the text
    home.start()
    folder = home.put(
        "edit", SLEEPER + '    environment: {FROM_ENV: "${WORD:-none}"}\n', {".env": "WORD=start\n"}
    )
    home.wait("edit", "Ready")
    compose, env = folder / "docker-compose.yaml", folder / ".env"
    manifest = folder / "manifest.json"
    generation = 1
    for number, save in enumerate(SAVES):
        for file, text in (
            (
                compose,
                SLEEPER + f'    environment: {{FROM_ENV: "${{WORD:-none}}", EDIT: "{save.__name__}"}}\n',
            ),
            (env, f"WORD=w{number}\n"),
            (manifest, json.dumps({**json.loads(manifest.read_text()), "version": f"2.0.{number}"})),
        ):
            save(file, text)
            generation += 1
            wait_until(
                lambda wanted=generation: (home.status("edit") or {}).get("observedGeneration") == wanted,
                f"{save.__name__} of {file.name} is generation {generation}",
            )
        assert home.wait("edit", "Ready")["version"] == f"2.0.{number}"
        values = home.env_of("edit")
        assert (values["EDIT"], values["FROM_ENV"]) == (save.__name__, f"w{number}")
    assert len(home.log("app.changed", "edit")) == generation - 1
    ups = [line for line in home.log("action.done", "edit") if line["kind"] == "compose_up"]
    assert len(ups) <= generation, "no edit is acted on twice"


@pytest.mark.fault("A08")
def test_what_changes_no_byte_makes_no_action(home: Home) -> None:
    home.settings["rescan"] = "0.5"
    home.start()
    folder = home.put("same", files={".env": "A=1\n"})
    home.wait("same", "Ready")
    wait_until(lambda: (home.status("same") or {})["observedGeneration"] == 1, "observed")
    before, actions = home.ids("same"), len(home.log("action.done", "same"))
    for name in ("manifest.json", "docker-compose.yaml", ".env"):
        file = folder / name
        os.utime(file)
        file.chmod(0o600)
        vim(file, file.read_text())
    (folder / "notes.txt~").write_text("dropping")
    (folder / "data").mkdir()
    (folder / "data" / "big.db").write_text("data")
    home.run("reconcile", home.name("same"))
    assert home.ids("same") == before
    assert len(home.log("action.done", "same")) == actions
    assert not home.log("app.changed", "same")


@pytest.mark.parametrize("last", ["manifest.json", "html/index.html"])
@pytest.mark.fault("A07")
def test_a_folder_that_is_copied_slowly_is_never_started_half(home: Home, last: str) -> None:
    home.settings["settle-new"] = "0.6"
    home.start()
    files = {
        "manifest.json": json.dumps(MANIFEST | {"name": home.name("slow"), "display_name": "slow"}),
        "docker-compose.yaml": SLEEPER
        + "    env_file: [extra.env]\n    volumes: ['./html/index.html:/i.html:ro']\n",
        "extra.env": "EXTRA=1\n",
        "html/index.html": "hello\n",
    }
    order = [path for path in files if path != last] + [last]
    folder = home.apps / home.name("slow")
    for path in order:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
        time.sleep(0.2)  # the pauses of a slow copy are what is tested, nothing is waited for
        file.write_text(files[path])
        time.sleep(0.8)
        if path != last:
            assert not home.containers("slow"), f"started before {last} was there"
    home.wait("slow", "Ready")
    assert home.env_of("slow")["EXTRA"] == "1"
    assert len([line for line in home.log("action.done", "slow") if line["kind"] == "compose_up"]) == 1


def test_a_required_setting_waits_for_a_person(home: Home) -> None:
    settings = [{"name": "OWNER", "label": "Owner", "required": True}]
    compose = SLEEPER + '    environment: {OWNER: "${OWNER:?}"}\n'
    home.start()
    folder = home.put("form", compose, {".env.example": "# who\nOWNER=changeme\n"}, settings=settings)
    status = home.wait("form", "NeedsConfiguration")
    assert "OWNER" in ready_of(status)["message"]
    env = folder / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    env.write_text("# who\nOWNER=me\n")
    home.wait("form", "Ready")
    assert home.env_of("form")["OWNER"] == "me"


def test_a_git_checkout_of_a_whole_tree_changes_only_what_differs(home: Home) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", "-C", str(home.apps)]
    one, two = home.put("one"), home.put("two")
    subprocess.run(["git", "init", "-q", str(home.apps)], check=True)
    subprocess.run([*git, "add", one.name, two.name], check=True)
    subprocess.run([*git, "commit", "-qm", "1"], check=True)
    home.start()
    home.wait("one", "Ready")
    home.wait("two", "Ready")
    before = home.ids("one")
    compose = two / "docker-compose.yaml"
    compose.write_text(compose.read_text() + "    labels: {v: '2'}\n")
    wait_until(lambda: (home.status("two") or {}).get("observedGeneration") == 2, "applied")
    subprocess.run([*git, "checkout", "-q", "--", "."], check=True)
    wait_until(lambda: (home.status("two") or {}).get("observedGeneration") == 3, "A, B, A is 1, 2, 3")
    home.wait("two", "Ready")
    assert home.ids("one") == before
    shutil.rmtree(home.apps / ".git")
