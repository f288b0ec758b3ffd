"""The watcher on real folders: what people and tools do, and what breaks it."""

from __future__ import annotations

import ctypes
import errno
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD, Mask, WatchDescriptor

from controller.source.droppings import is_dropping
from controller.source.watcher import TreeWatcher

PATIENCE = 5.0
INPUTS = ("manifest.json", "docker-compose.yml", ".env", "scripts", "scripts/hook.sh")


class Tree:
    """An apps tree with a watcher on it, and the keys that it told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keys: queue.Queue[str] = queue.Queue()
        self.markers = count()
        self.broken = False
        self.watcher = TreeWatcher(self.folders, self.keys.put, self.is_input)

    def folders(self, _app: str = "") -> list[tuple[Path, str]]:
        if self.broken:
            raise PermissionError(errno.EACCES, "Permission denied")
        found = [(self.root, "")]
        for app in self.root.iterdir() if self.root.is_dir() else ():
            if app.is_dir() and app.name[0] not in "._":
                found += [(folder, app.name) for folder in (app, app / "scripts") if folder.is_dir()]
        return found

    def is_input(self, app: str, path: str) -> bool:
        return path in INPUTS

    def app(self, name: str, at: Path | None = None) -> Path:
        folder = (at or self.root) / name
        (folder / "scripts").mkdir(parents=True)
        (folder / "data").mkdir()
        for file in ("manifest.json", "docker-compose.yml", ".env", "scripts/hook.sh"):
            (folder / file).write_text("x=1\n")
        return folder

    def told(self) -> set[str]:
        """All keys told for what was done until now: events come in order, so that of a new file ends them."""
        marker = f"marker{next(self.markers)}"
        (self.root / marker).touch()
        keys = set()
        while (key := self.keys.get(timeout=PATIENCE)) != marker:
            keys.add(key)
        return {key for key in keys if not key.startswith("marker")}

    def wait_for(self, key: str) -> None:
        while self.keys.get(timeout=PATIENCE) != key:
            pass


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    (tmp_path / "apps").mkdir()
    tree = Tree(tmp_path / "apps")
    tree.app("one")
    tree.app("two")
    tree.watcher.start()
    try:
        yield tree
    finally:
        tree.watcher.stop()


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "homeport-watcher"]


# -- what people and tools do --


@pytest.mark.fault("A08")
def test_vim_saves_by_way_of_a_backup(tree: Tree) -> None:
    env = tree.root / "one" / ".env"
    (env.parent / "4913").touch()
    (env.parent / "4913").unlink()
    (env.parent / ".env.swp").write_text("swap")
    assert tree.told() == set()

    env.rename(env.with_name(".env~"))
    env.write_text("x=2\n")
    env.with_name(".env~").unlink()

    assert tree.told() == {"one"}


@pytest.mark.fault("A08")
def test_sed_replaces_a_file(tree: Tree) -> None:
    subprocess.run(["sed", "-i", "s/1/2/", "docker-compose.yml"], cwd=tree.root / "two", check=True)

    assert tree.told() == {"two"}


@pytest.mark.fault("A08")
def test_git_unlinks_and_writes_anew(tree: Tree) -> None:
    (tree.root / ".git").mkdir()
    (tree.root / ".git" / "index.lock").touch()
    for app in ("one", "two"):
        for file in ("manifest.json", "scripts/hook.sh"):
            (tree.root / app / file).unlink()
            (tree.root / app / file).write_text("new")

    assert tree.told() == {"one", "two"}


def test_a_rename_tells_both_names(tree: Tree) -> None:
    (tree.root / "one").rename(tree.root / "three")
    assert tree.told() == {"one", "three"}

    (tree.root / "three" / ".env").write_text("x=3\n")
    assert tree.told() == {"three"}


def test_a_folder_moved_in_is_watched(tree: Tree, tmp_path: Path) -> None:
    tree.app("three", at=tmp_path).rename(tree.root / "three")
    assert tree.told() == {"three"}

    (tree.root / "three" / "scripts" / "hook.sh").write_text("new")
    assert tree.told() == {"three"}


@pytest.mark.fault("A04")
def test_a_folder_moved_out_is_not_watched(tree: Tree, tmp_path: Path) -> None:
    (tree.root / "one").rename(tmp_path / "away")
    assert tree.told() == {"one"}

    (tmp_path / "away" / ".env").write_text("x=3\n")
    assert tree.told() == set()


def test_what_was_put_into_a_new_folder_is_not_missed(tree: Tree) -> None:
    (tree.root / "one" / "scripts" / "hook.sh").unlink()
    (tree.root / "one" / "scripts").rmdir()
    tree.told()

    (tree.root / "one" / "scripts").mkdir()
    (tree.root / "one" / "scripts" / "hook.sh").write_text("at once")
    assert tree.told() == {"one"}

    (tree.root / "one" / "scripts" / "hook.sh").write_text("later")
    assert tree.told() == {"one"}


def test_an_app_removed_and_made_anew_is_watched(tree: Tree) -> None:
    shutil.rmtree(tree.root / "one")
    tree.app("one")
    assert tree.told() == {"one"}

    (tree.root / "one" / ".env").write_text("x=3\n")
    assert tree.told() == {"one"}


@pytest.mark.fault("A08")
def test_reading_and_data_tell_nothing(tree: Tree) -> None:
    (tree.root / "one" / ".env").read_text()
    (tree.root / "one" / "data" / "db").write_text("rows")
    (tree.root / "one" / "data" / "deeper").mkdir()
    (tree.root / "one" / "notes.txt").write_text("mine")
    (tree.root / "one" / "uploads").mkdir()
    (tree.root / "one" / "manifest.json.bak").write_text("old")
    (tree.root / "_shelf").mkdir()
    (tree.root / ".sync").mkdir()
    (tree.root / "notes.txt~").touch()

    assert tree.told() == set()


def test_an_app_may_be_named_like_a_dropping(tree: Tree) -> None:
    (tree.root / "sedating").mkdir()
    (tree.root / "sedation1").mkdir()
    (tree.root / "sedative").touch()
    (tree.root / "sedABCDEF").touch()
    (tree.root / "sedGHIJKL").mkdir()

    assert tree.told() == {"sedating", "sedation1", "sedative", "sedGHIJKL"}


# -- what breaks it --


@pytest.mark.fault("A04")
def test_a_root_removed_and_made_anew_is_picked_up_by_sync(tree: Tree) -> None:
    shutil.rmtree(tree.root)
    tree.wait_for("")
    tree.watcher.sync()
    assert "root" in tree.watcher.healthy()

    tree.app("one")
    tree.watcher.sync()
    tree.wait_for("")
    assert tree.watcher.healthy() == ""

    tree.told()
    (tree.root / "one" / ".env").write_text("x=3\n")
    assert tree.told() == {"one"}


@pytest.mark.fault("A04")
def test_a_root_replaced_is_picked_up_by_sync(tree: Tree, tmp_path: Path) -> None:
    tree.broken = True
    tree.root.rename(tmp_path / "old")
    tree.root.mkdir()
    tree.wait_for("")
    assert "listed: Permission denied" in tree.watcher.healthy()

    tree.broken = False
    tree.app("two")
    tree.watcher.sync()
    tree.wait_for("two")
    (tmp_path / "old" / "one" / ".env").write_text("x=3\n")
    assert tree.watcher.healthy() == ""
    assert "one" not in tree.told()


@pytest.mark.fault("A02")
def test_the_limit_of_watches_is_said(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> int:
        ctypes.set_errno(errno.ENOSPC)
        return -1

    monkeypatch.setattr("watchdog.observers.inotify_c.inotify_add_watch", full)
    tree.app("three")
    tree.wait_for("three")
    tree.watcher.sync()
    assert tree.watcher.healthy().startswith("2 of 7 folders are not watched: the kernel's limit of watches")

    monkeypatch.undo()
    tree.watcher.sync()
    assert tree.watcher.healthy() == ""


@pytest.mark.fault("A02")
def test_no_inotify_instance_is_said(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> int:
        ctypes.set_errno(errno.EMFILE)
        return -1

    tree.watcher.stop()
    monkeypatch.setattr("watchdog.observers.inotify_c.inotify_init", full)
    tree.watcher.start()
    assert "limit of inotify instances" in tree.watcher.healthy()

    monkeypatch.undo()
    tree.watcher.sync()
    assert tree.watcher.healthy() == ""


@pytest.mark.fault("A03")
def test_a_dead_reader_is_said_and_replaced(tree: Tree) -> None:
    reader = readers()[0]
    assert isinstance(reader, InotifyFD)
    reader.stop()
    reader.join(PATIENCE)
    assert "ended" in tree.watcher.healthy()

    tree.watcher.sync()
    tree.wait_for("")
    assert tree.watcher.healthy() == ""
    assert tree.watcher.check() == {"broken": "the thread of the watcher had ended"}
    (tree.root / "one" / ".env").write_text("x=3\n")
    assert "one" in tree.told()


@pytest.mark.fault("A03")
def test_a_reader_that_ends_while_it_is_checked_has_ended_and_is_not_deaf(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(reader: InotifyFD) -> bool:
        reader.stop()
        reader.join(PATIENCE)
        return False

    monkeypatch.setattr("controller.source.watcher._hears", ends)
    assert tree.watcher.check() == {"broken": "the thread of the watcher had ended"}
    tree.wait_for("")
    assert tree.watcher.healthy() == ""


@pytest.mark.fault("A03")
def test_a_reader_that_lost_its_descriptor_is_deaf_and_replaced(tree: Tree) -> None:
    assert tree.watcher.check() == {}
    (reader,) = readers()
    assert isinstance(reader, InotifyFD)
    # Closed under it, and the number given to another file; a mere close would let the new reader have that number.
    with open(os.devnull, "rb") as other:  # noqa: PTH123
        os.dup2(other.fileno(), reader._inotify_fd)
    (tree.root / "one" / ".env").write_text("x=2\n")
    assert reader.is_alive(), "nothing else shows it"

    assert tree.watcher.check() == {"broken": "the watcher had gone deaf"}
    tree.wait_for("")
    assert (tree.watcher.check(), tree.watcher.healthy()) == ({}, "")
    (tree.root / "one" / ".env").write_text("x=3\n")
    assert "one" in tree.told()


@pytest.mark.fault("A03")
def test_a_reader_that_hangs_is_replaced(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.source.watcher.ECHO_PATIENCE", 0.2)
    hangs, go_on = threading.Event(), threading.Event()

    def hang(_app: str, _path: str) -> bool:
        hangs.set()
        return go_on.wait(PATIENCE)

    tree.watcher._is_input = hang
    (tree.root / "one" / ".env").write_text("x=2\n")
    assert hangs.wait(PATIENCE)
    try:
        assert tree.watcher.check() == {"broken": "the watcher had gone deaf"}
        tree.watcher._is_input = tree.is_input
        tree.wait_for("")
        (tree.root / "two" / ".env").write_text("x=3\n")
        assert "two" in tree.told()
    finally:
        go_on.set()


@pytest.mark.fault("A01")
def test_an_overflow_means_look_at_everything_and_is_said_once(tree: Tree) -> None:
    reader = readers()[0]
    assert isinstance(reader, InotifyFD)
    reader.handle_event(InotifyEvent(WatchDescriptor(-1), Mask(InotifyConstants.IN_Q_OVERFLOW), 0, b""))

    assert tree.keys.get(timeout=PATIENCE) == ""
    assert tree.keys.empty()
    assert tree.watcher.check() == {"overflow": "the kernel dropped events, as there were too many at once"}
    assert tree.watcher.check() == {}


@pytest.mark.fault("A03")
def test_a_failing_listener_does_not_end_the_watch(tmp_path: Path) -> None:
    keys: queue.Queue[str] = queue.Queue()

    def listener(key: str) -> None:
        keys.put(key)
        if key == "bad":
            raise RuntimeError("boom")

    watcher = TreeWatcher(lambda _app: [(tmp_path, "")], listener, lambda app, path: True)
    watcher.start()
    try:
        (tmp_path / "bad").mkdir()
        (tmp_path / "good").mkdir()
        assert [keys.get(timeout=PATIENCE) for _ in range(3)] == ["bad", "", "good"], (
            "and all are to be looked at"
        )
        assert watcher.check() == {"broken": "an event could not be handled (RuntimeError: boom)"}
        assert watcher.check() == {}, "it is said once"
        assert watcher.healthy() == ""
    finally:
        watcher.stop()


def test_a_name_that_is_no_text_does_no_harm(tree: Tree) -> None:
    (tree.root / "one" / b"\xff".decode(errors="surrogateescape")).touch()

    assert tree.told() == set()
    assert tree.watcher.healthy() == ""


# -- threads --


def test_fifty_apps_use_one_thread(tree: Tree) -> None:
    before = threading.active_count()
    for number in range(48):
        tree.app(f"app{number}")

    assert tree.told() == {f"app{number}" for number in range(48)}
    assert threading.active_count() == before
    assert len(readers()) == 1
    for number in range(48):
        (tree.root / f"app{number}" / ".env").write_text("x=2\n")
    assert tree.told() == {f"app{number}" for number in range(48)}


def test_nothing_runs_after_stop(tree: Tree) -> None:
    tree.watcher.stop()
    assert readers() == []
    assert "does not run" in tree.watcher.healthy()

    tree.watcher.sync()
    tree.watcher.stop()
    assert readers() == []
    assert tree.keys.empty()


@pytest.mark.parametrize(
    "name",
    [
        ".env.swp",
        ".a.swo",
        "x.swx",
        "a~",
        ".#a",
        "#a#",
        "4913",
        ".goutputstream-X1",
        ".~lock.a.odt#",
        "sedAb12Cd",
        "a.bak",
        "a.orig",
        "a.rpmnew",
        "a.dpkg-new",
        ".DS_Store",
        "a___jb_tmp___",
        "___jb_old___",
        ".nfs01",
        ".homeport-1",
    ],
)
def test_droppings(name: str) -> None:
    assert is_dropping(name)


@pytest.mark.parametrize(
    "name",
    [".env", "manifest.json", "sedan", "sedABCDEFG", "49130", "a.bak.yml", "a#", "homeport-x", "x\n4913"],
)
def test_no_droppings(name: str) -> None:
    assert not is_dropping(name)
