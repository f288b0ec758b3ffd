"""Who else can write an app's files: strangers are refused, the people and groups of real home servers are not."""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli.main import cli
from controller.clock import SystemClock
from controller.model.desired import Absent, Desired, Invalid, Present, Trust, Unreadable
from controller.model.errors import AppError
from controller.source import rights
from controller.source.tree import AppsTree
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until
from security.test_policy import app

pytestmark = [
    pytest.mark.fault("H03"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away"),
]

ALICE, STRANGER = 61000, 61001
"""Two users of whom no database knows anything."""
MEMBER = "games"
"""A user of every Debian, whose own group has the same name."""

Change = Callable[[Path], None]


def load(root: Path, trust: Trust | None = None) -> Desired:
    tree = AppsTree(
        root, SystemClock(), root.parent / "state", known=set, root_id=lambda: None, remember_root_id=None,
        **({"trust": trust} if trust else {}),
    )  # fmt: skip
    return tree.load("web")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "my apps"
    root.mkdir(mode=0o755)
    files = {
        ".env": "A=1\n",
        "scripts/lib/hook.sh": "true\n",
        "more/part.yaml": "services: {}\n",
        "data/file": "x",
    }
    app(root / "web", SLEEPER + "include: [more/part.yaml]\n", **files)
    return root


def give(*paths: str, user: int, group: int = -1) -> Change:
    """Give these, or the whole tree, to a user."""

    def act(root: Path) -> None:
        for path in [root / path for path in paths] or [root, *root.rglob("*")]:
            os.chown(path, user, group)

    return act


def mode(path: str, bits: int) -> Change:
    return lambda root: (root / path).chmod(bits)


def all_of(*changes: Change) -> Change:
    def act(root: Path) -> None:
        for change in changes:
            change(root)

    return act


def of_umask_002(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        path.chmod(0o775 if path.is_dir() else 0o664)


def _member() -> tuple[int, int]:
    entry = pwd.getpwnam(MEMBER)
    return entry.pw_uid, entry.pw_gid


FINE: dict[str, Change] = {
    "as root makes it": lambda root: None,
    "all of one person": give(user=ALICE, group=ALICE),
    "one person's, umask 002": all_of(give(user=ALICE, group=ALICE), of_umask_002),
    "one person's app in a tree of root": give("web", "web/compose.yaml", "web/manifest.json", user=ALICE),
    "root's app in one person's tree": give(".", user=ALICE),
    "one file of the tree's owner in root's app": give(".", "web/compose.yaml", user=ALICE),
    ".env of another (a warning)": give("web/.env", user=STRANGER),
    "data that everyone can write": all_of(mode("web/data", 0o777), mode("web/data/file", 0o666)),
    "a setgid folder for a group": all_of(
        give("web", user=0, group=_member()[1]), mode("web", 0o2775), give("web/compose.yaml", user=_member()[0])
    ),
    "only for its owner": all_of(mode("web", 0o700), mode("web/.env", 0o600)),
}  # fmt: skip
REFUSED: dict[str, tuple[Change, str]] = {
    "the tree is open to everyone": (mode(".", 0o777), "my apps"),
    "the tree is a folder like /tmp": (mode(".", 0o1777), "my apps"),
    "the app is open to everyone": (mode("web", 0o777), "web"),
    "the manifest": (mode("web/manifest.json", 0o666), "manifest.json"),
    "the compose file": (mode("web/compose.yaml", 0o646), "compose.yaml"),
    ".env": (mode("web/.env", 0o602), ".env"),
    "an included file": (mode("web/more/part.yaml", 0o666), "more/part.yaml"),
    "the folder of an included file": (mode("web/more", 0o777), "more"),
    "a script": (mode("web/scripts/lib/hook.sh", 0o777), "scripts/lib/hook.sh"),
    "the folder of scripts": (mode("web/scripts", 0o777), "scripts"),
    "a compose file of a stranger": (give("web/compose.yaml", user=STRANGER), "compose.yaml"),
    "a folder of a stranger": (give("web/scripts", user=STRANGER), "scripts"),
    "a file of one whom the folder's group does not let in": (
        all_of(give("web/compose.yaml", user=_member()[0]), mode("web", 0o755)), "compose.yaml",
    ),
    "a link to what everyone can write": (
        all_of(
            lambda root: (root / "web/compose.yaml").rename(root.parent / "elsewhere.yaml"),
            lambda root: (root / "web/compose.yaml").symlink_to(root.parent / "elsewhere.yaml"),
            mode("../elsewhere.yaml", 0o666),
        ),
        "compose.yaml",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FINE)
def test_the_trees_that_people_have_are_taken(root: Path, case: str) -> None:
    FINE[case](root)
    assert isinstance(load(root), Present), load(root)


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_stranger_can_write_is_refused_with_its_path_and_the_fix(root: Path, case: str) -> None:
    change, named = REFUSED[case]
    change(root)
    found = load(root)
    assert isinstance(found, Invalid)
    assert found.reason == "UntrustedPath"
    assert found.problems[0].file.endswith(named)
    assert isinstance(load(root, Trust(any_writer=True)), Present)
    for problem in found.problems:
        fix = problem.rule.rpartition("say: ")[2]
        subprocess.run(shlex.split(fix), check=True)
    assert isinstance(load(root), Present)


def test_a_script_that_a_stranger_can_write_is_not_read_for_a_hook(root: Path) -> None:
    tree = AppsTree(
        root, SystemClock(), root.parent / "state", known=set, root_id=lambda: None, remember_root_id=None
    )
    assert tree.read_script("web", "scripts/lib/hook.sh") == b"true\n"
    (root / "web/scripts/lib").chmod(0o777)
    with pytest.raises(AppError, match="everyone on this machine can write") as caught:
        tree.read_script("web", "scripts/lib/hook.sh")
    assert caught.value.reason == "HookFailed"


def test_a_change_of_rights_is_seen_by_the_scan(root: Path) -> None:
    tree = AppsTree(
        root, SystemClock(), root.parent / "state", known=set, root_id=lambda: None, remember_root_id=None
    )
    tree.load("web")
    seen = [tree.signatures()["web"]]
    for path, bits in ((".", 0o777), (".", 0o755), ("web", 0o777), ("web/compose.yaml", 0o666)):
        (root / path).chmod(bits)
        seen.append(tree.signatures()["web"])
    assert all(one != other for one, other in pairwise(seen))


def test_a_root_that_cannot_be_looked_at_says_nothing_of_rights(tmp_path: Path) -> None:
    assert isinstance(load(tmp_path / "none"), Unreadable)
    (tmp_path / "apps").mkdir()
    assert isinstance(load(tmp_path / "apps"), Absent)


@pytest.fixture
def open_parent(tmp_path: Path) -> Iterator[Path]:
    parent = tmp_path / "open"
    parent.mkdir()
    parent.chmod(0o777)
    yield parent
    parent.chmod(0o755)


def test_doctor_says_in_which_folders_everyone_could_put_an_app(
    open_parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = open_parent / "apps"
    apps.mkdir()
    apps.chmod(0o1777)
    monkeypatch.setenv("HOMEPORT_APPS", str(apps))
    monkeypatch.setenv("HOMEPORT_STATE", str(open_parent.parent / "state"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")
    said = CliRunner().invoke(cli, ["doctor"]).output
    assert f"everyone on this machine can write to {apps}" in said
    assert f"chmod o-w {open_parent}\n" in said
    assert "can write to /tmp," not in said  # sticky: nobody can put another folder in the place of ours


@pytest.mark.engine
def test_an_app_that_everyone_can_write_is_not_acted_on_and_what_runs_goes_on(home: Home) -> None:
    home.put("other")
    folder = home.put("web")
    home.start()
    home.wait("web", "Ready", timeout=60)
    home.wait("other", "Ready", timeout=60)
    before = home.ids()
    folder.chmod(0o777)
    (folder / "docker-compose.yaml").write_text(SLEEPER + "    environment: {EVIL: '1'}\n")
    status = home.wait("web", "Invalid", timeout=60)
    condition = ready_of(status)
    assert condition["reason"] == "UntrustedPath"
    assert f"chmod o-w {folder}" in condition["message"]
    assert f"chmod o-w {folder}" in home.run("why", home.name("web")).stdout
    assert home.ids() == before
    # Healed is what was applied, not what a stranger wrote.
    container = home.containers("web")[f"{home.name('web')}-main-1"]
    os.kill(container["State"]["Pid"], 9)
    wait_until(lambda: home.ids("web") not in ({}, before), "the killed container is started again", 60)
    wait_until(lambda: home.env_of("web"), "it runs", 60)
    assert "EVIL" not in home.env_of("web")
    # By a person's word, and by it alone.
    folder.chmod(0o755)
    wait_until(
        lambda: home.env_of("web").get("EVIL") == "1", "the edit is applied once the folder is guarded", 30
    )
    home.wait("web", "Ready", timeout=60)
    others = {name: value for name, value in before.items() if name.startswith(home.name("other"))}
    assert home.ids("other") == others


def test_an_included_file_in_a_folder_of_everyone_is_not_trusted(tmp_path: Path) -> None:
    folder, shared = tmp_path / "apps" / "web", tmp_path / "shared"
    folder.mkdir(parents=True)
    shared.mkdir()
    (shared / "base.yaml").write_text("services: {}")
    (shared / "base.yaml").chmod(0o644)
    assert not rights.strangers(rights.Reach.of(folder, [shared / "base.yaml"]))
    shared.chmod(0o777)
    assert "shared" in str(rights.strangers(rights.Reach.of(folder, [shared / "base.yaml"]))[0])
