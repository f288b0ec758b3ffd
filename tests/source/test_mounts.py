"""What services mount: files that are inputs, files and folders that are data, and what each costs."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from controller.model.desired import Absent, Invalid, Present
from controller.model.errors import WriteFailed
from controller.source import files
from controller.source.reading import load_folder
from controller.source.tree import AppsTree
from controller.source.watcher import TreeWatcher
from fakes.clock import WallClock
from fakes.tree import manifest

SERVICE = "services:\n  main:\n    image: homeport/sample:1\n"
CONF = "conf/app.conf"


class App:
    """An app named web in a tree, with one service."""

    def __init__(self, root: Path) -> None:
        self.root = root / "apps"
        self.folder = self.root / "web"
        self.folder.mkdir(parents=True)
        self.clock = WallClock()
        ids: list[str] = []
        self.tree = AppsTree(
            self.root, self.clock, root / "state",
            known=lambda: {"web"}, root_id=lambda: ids[-1] if ids else None, remember_root_id=ids.append,
        )  # fmt: skip
        self.write("manifest.json", json.dumps(manifest("web")))
        self.write("docker-compose.yaml", SERVICE)

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def mount(self, *entries: str, rest: str = "") -> None:
        """Mount these; each entry is YAML."""
        volumes = "".join(f"    - {entry}\n" for entry in entries)
        self.write("docker-compose.yaml", f"{SERVICE}    volumes:\n{volumes}{rest}")

    def load(self) -> Present:
        desired = self.tree.load("web")
        assert isinstance(desired, Present), desired
        return desired

    def revision(self) -> str:
        return self.load().revision

    def mounted(self) -> list[str]:
        return sorted(os.path.relpath(path, self.folder) for path in self.load().mounted)

    def watched(self) -> list[str]:
        return sorted(os.path.relpath(path, self.folder) for path, app in self.tree.folders() if app)

    def replace_folder(self, path: str) -> None:
        """Another folder with the same files takes its place."""
        folder = self.folder / path
        shutil.copytree(folder, self.root / "new")
        folder.rename(self.root / "old")
        (self.root / "new").rename(folder)
        shutil.rmtree(self.root / "old")


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path)


def sha(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


# -- which files are inputs -------------------------------------------------------------------------------

READ_ONLY = [
    "./conf/app.conf:/etc/app.conf:ro",
    "./conf/app.conf:/etc/app.conf:ro,z",
    "./conf/app.conf:/etc/app.conf:z,ro",
    "./conf/app.conf:/etc/app.conf:rw,ro",
    "./data/../conf/app.conf:/etc/app.conf:ro",
    "${DIR}/app.conf:/etc/app.conf:ro",
    "${OTHER:-./conf}/app.conf:/etc/app.conf:ro",
    "{type: bind, source: ./conf/app.conf, target: /x, read_only: true}",
    "{type: bind, source: conf/app.conf, target: /x, read_only: yes}",
    "{type: bind, source: '${DIR}/app.conf', target: /x, read_only: '${LOCKED:-true}'}",
]
DATA = [
    "./conf/app.conf:/etc/app.conf",
    "./conf/app.conf:/etc/app.conf:rw",
    "./conf/app.conf:/etc/app.conf:z",
    "./conf/app.conf:/etc/app.conf:ro,rw",
    "{type: bind, source: ./conf/app.conf, target: /x}",
    "{type: bind, source: ./conf/app.conf, target: /x, read_only: false}",
    "{type: bind, source: ./conf/app.conf, target: /x, read_only: '${LOCKED:-no}'}",
]
NO_PATH_OF_OURS = [
    "conf:/etc/conf:ro",
    "conf/app.conf:/etc/conf:ro",
    "~/conf/app.conf:/etc/app.conf:ro",
    "./conf/app.conf",
    "${NOT_GIVEN}/app.conf:/etc/app.conf:ro",
    "{type: volume, source: conf/app.conf, target: /x, read_only: true}",
    "{type: bind, source: ~/conf/app.conf, target: /x, read_only: true}",
    "{type: bind, target: /x, read_only: true}",
    "{type: tmpfs, target: /x}",
]


@pytest.mark.parametrize("entry", READ_ONLY)
def test_a_file_that_is_mounted_read_only_is_an_input(app: App, entry: str) -> None:
    app.write(".env", "DIR=./conf\n")
    app.write(CONF, "a")
    app.mount(json.dumps(entry) if entry[0] != "{" else entry)
    before = app.load()
    assert before.mounted == {str(app.folder / CONF): sha("a")}
    app.write(CONF, "b")
    assert app.revision() != before.revision
    assert app.load().mounted == {str(app.folder / CONF): sha("b")}


@pytest.mark.parametrize("entry", [*DATA, *NO_PATH_OF_OURS])
def test_what_is_mounted_writable_or_is_no_path_in_the_folder_is_no_input(app: App, entry: str) -> None:
    app.write(CONF, "a")
    app.write(f"~/{CONF}", "the home of a user is elsewhere")
    app.mount(json.dumps(entry) if entry[0] != "{" else entry)
    before = app.load()
    signatures = app.tree.signatures()
    assert not before.mounted
    app.write(CONF, "longer")
    assert app.revision() == before.revision
    assert app.tree.signatures() == signatures
    assert not app.tree.is_input("web", CONF)


@pytest.mark.parametrize(("one", "other"), [(":ro", ""), ("", ":ro")])
def test_a_file_that_is_mounted_both_ways_is_data_wherever_the_two_are_written(
    app: App, one: str, other: str
) -> None:
    app.write(CONF, "a")
    app.mount(f"./conf/app.conf:/a{one}")
    app.write(
        "docker-compose.override.yaml", f"services: {{other: {{volumes: ['./conf/app.conf:/b{other}']}}}}\n"
    )
    before = app.load()
    assert not before.mounted
    app.write(CONF, "b")
    assert app.revision() == before.revision


@pytest.mark.parametrize("kind", ["configs", "secrets"])
def test_the_files_of_configs_and_secrets_are_mounted_inputs_and_their_folders_are_not(
    app: App, kind: str
) -> None:
    app.write(CONF, "a")
    app.write("keys/a.key", "a")
    app.mount("data:/data", rest=f"{kind}: {{a: {{file: ./{CONF}}}, b: {{file: keys}}}}\n")
    before = app.load()
    assert app.mounted() == [CONF]
    app.write("keys/b.key", "b")
    assert app.revision() == before.revision
    app.write(CONF, "b")
    assert app.revision() != before.revision


def test_a_secrets_file_that_is_not_there_makes_the_app_incomplete(app: App) -> None:
    app.mount("data:/data", rest="secrets: {a: {file: ./a.key}}\n")
    desired = app.tree.load("web")
    assert isinstance(desired, Invalid)
    assert desired.message == "docker-compose.yaml: secrets.a.file: names ./a.key, which is not there"
    assert desired.reason == "Incomplete"


def test_files_outside_the_folder_are_no_inputs(app: App, tmp_path: Path) -> None:
    outside = tmp_path / "shared.conf"
    outside.write_text("a")
    rest = f"secrets: {{a: {{file: {outside}}}}}\n"
    app.mount(f"{outside}:/a:ro", "../../shared.conf:/b:ro", "/etc/localtime:/etc/localtime:ro", rest=rest)
    before = app.load()
    outside.write_text("b")
    assert app.load().revision == before.revision
    assert not before.mounted


def test_paths_of_an_included_or_extended_file_start_in_the_folder_of_its_project(app: App) -> None:
    app.write(
        "docker-compose.yaml",
        "include: [sub/a.yaml, {path: b.yaml, project_directory: other}]\n"
        "services: {c: {extends: {file: base/c.yaml, service: c}}}\n",
    )
    for path, folder in (("sub/a.yaml", "sub"), ("b.yaml", "other"), ("base/c.yaml", "base")):
        app.write(
            path, f"services: {{{Path(path).stem}: {{image: i, volumes: ['./{folder}.conf:/x:ro']}}}}\n"
        )
        app.write(f"{folder}/{folder}.conf", "a")
    assert app.mounted() == ["base/base.conf", "other/other.conf", "sub/sub.conf"]


def test_the_folder_itself_may_be_mounted(app: App) -> None:
    app.write(CONF, "a")
    app.mount(".:/app:ro", "./:/again", f"./{CONF}:/a:ro")
    before = app.load()
    assert app.watched() == [".", "conf"]
    app.write("notes.txt", "x")
    app.write("html/index.html", "x")
    assert app.revision() == before.revision
    assert not app.tree.is_input("web", "notes.txt")
    assert app.tree.is_input("web", "manifest.json")


def test_what_is_no_file_is_mounted_without_a_word(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(app.folder)  # a socket's path must be short
    os.mkfifo("pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind("sock")
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    app.mount(*(f"./{name}:/{name}:ro" for name in ("pipe", "sock", "dangling", "none")))
    before = app.load()
    assert (before.mounted, before.warnings) == ({}, ())
    server.close()


def test_a_mounted_file_too_large_to_be_kept_is_data_and_said(app: App) -> None:
    with (app.folder / "model.bin").open("wb") as file:
        file.truncate(files.LIMIT_DIGEST + 1)
    app.mount("./model.bin:/model.bin:ro")
    before = app.load()
    assert not before.mounted
    assert before.warnings[0].startswith("model.bin has 67108865 bytes")
    assert "a change of it is not seen" in before.warnings[0]
    assert app.tree.read_mounted(str(app.folder / "model.bin")) is None


def test_scripts_are_inputs_but_not_the_data_below_them(app: App) -> None:
    app.mount("./scripts:/scripts:ro", "./scripts/state.db:/state.db", "./scripts/cache:/cache")
    for path in ("scripts/hook.sh", "scripts/state.db", "scripts/cache/x"):
        app.write(path, "a")
    before = app.revision()
    app.write("scripts/state.db", "b")
    app.write("scripts/cache/x", "b")
    assert app.revision() == before
    assert app.watched() == [".", "scripts"]
    assert not app.tree.is_input("web", "scripts/state.db")
    assert not app.tree.is_input("web", "scripts/cache/x")
    assert app.tree.is_input("web", "scripts/hook.sh")
    assert app.tree.is_input("web", "scripts/new.sh")
    app.write("scripts/hook.sh", "b")
    assert app.revision() != before


# -- what is no change ------------------------------------------------------------------------------------


def touch(file: Path) -> None:
    os.utime(file, (1, 1))


def chmod(file: Path) -> None:
    file.chmod(0o600)


def rewrite(file: Path) -> None:
    file.write_bytes(file.read_bytes())


def replace(file: Path) -> None:
    new = file.with_name("new")
    new.write_bytes(file.read_bytes())
    new.replace(file)


def leave_droppings(file: Path) -> None:
    for name in (f".{file.name}.swp", f"{file.name}~", "4913", f".#{file.name}", "sedAbCdEf"):
        file.with_name(name).write_text("x")


@pytest.mark.parametrize("how", [touch, chmod, rewrite, replace, leave_droppings])
def test_what_changes_no_byte_changes_no_revision(app: App, how: Callable[[Path], None]) -> None:
    app.write(CONF, "a")
    app.mount("./conf/app.conf:/etc/app.conf:ro")
    before = app.load()
    how(app.folder / CONF)
    now = app.load()
    assert (now.revision, now.mounted) == (before.revision, before.mounted)


def git(folder: Path, *arguments: str) -> None:
    names = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_checkout_that_ends_where_it_began_changes_no_revision(app: App) -> None:
    app.write(CONF, "a")
    app.mount("./conf/app.conf:/etc/app.conf:ro", "./conf:/conf:ro")
    git(app.root, "init", "--initial-branch=main")
    git(app.root, "add", "web")
    git(app.root, "commit", "--message=one")
    before = app.load()
    git(app.root, "checkout", "-b", "other")
    git(app.root, "rm", "-r", "--quiet", "web/conf")
    git(app.root, "commit", "--message=two")
    assert app.load().revision != before.revision
    git(app.root, "checkout", "main")
    now = app.load()
    assert (now.revision, now.mounted) == (before.revision, before.mounted)
    git(app.root, "checkout", "--", ".")
    assert app.load().revision == before.revision


# -- mounted folders ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("access", ["", ":ro"])
def test_ten_thousand_new_files_in_a_mounted_folder_cost_nothing(app: App, access: str) -> None:
    app.write("data/first", "x")
    app.mount(f"./data:/data{access}")
    before, signatures, folders = app.load(), app.tree.signatures(), list(app.tree.folders())
    for number in range(100):
        (app.folder / f"data/{number}").mkdir()
        for inner in range(100):
            (app.folder / f"data/{number}/{inner}").touch()
    assert app.tree.signatures() == signatures
    assert app.revision() == before.revision
    assert list(app.tree.folders()) == folders
    assert folders == [(app.root, ""), (app.folder, "web")]
    assert not app.tree.is_input("web", "data/1")
    assert not app.tree.is_input("web", "data/1/2")


@pytest.mark.parametrize("access", ["", ":ro"])
def test_a_mounted_folder_that_is_replaced_is_looked_at_and_changes_no_revision(
    app: App, access: str
) -> None:
    app.write("conf.d/a.conf", "x")
    app.mount(f"./conf.d:/etc/conf.d{access}")
    before, signatures = app.load(), app.tree.signatures()
    identity = app.tree.identities([str(app.folder / "conf.d")])
    app.replace_folder("conf.d")
    assert app.tree.is_input("web", "conf.d")
    assert app.tree.signatures() != signatures
    assert app.revision() == before.revision
    assert app.tree.identities([str(app.folder / "conf.d")]) != identity


@pytest.mark.parametrize("access", ["", ":ro"])
@pytest.mark.parametrize("path", ["conf.d", "deep/conf.d"])
def test_a_mounted_folder_that_comes_or_goes_is_looked_at(app: App, path: str, access: str) -> None:
    app.mount(f"./{path}:/etc/conf.d{access}")
    before = app.revision()
    assert app.tree.is_input("web", path)
    assert app.tree.is_input("web", path.split("/", maxsplit=1)[0])
    without = app.tree.signatures()
    (app.folder / path).mkdir(parents=True)
    assert app.tree.signatures() != without
    assert app.revision() == before
    there = app.tree.signatures()
    (app.folder / path).rmdir()
    assert app.tree.is_input("web", path)
    assert app.tree.signatures() != there


def test_a_replaced_folder_is_no_edit_that_has_to_settle(app: App) -> None:
    app.write("conf.d/a.conf", "x")
    app.mount("./conf.d:/etc/conf.d:ro")
    app.load()
    app.clock.ahead = 60
    assert app.load().quiet > 50
    app.replace_folder("conf.d")
    assert app.load().quiet > 50


def test_a_mounted_folder_is_never_opened(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of another user cannot be, and the app must not suffer for it."""
    app.write("data/first", "x")
    app.mount("./data:/data:ro")
    real, opened = os.open, []

    def counted(path: str, *rest: int) -> int:
        opened.append(Path(path))
        return real(path, *rest)

    monkeypatch.setattr("os.open", counted)
    app.load()
    assert app.folder / "manifest.json" in opened
    assert app.folder / "data" not in opened


def test_a_mounted_file_in_a_mounted_folder_is_an_input_that_the_scan_finds(app: App) -> None:
    app.write("data/app.conf", "a")
    app.write("data/other", "a")
    app.mount("./data:/data", "./data/app.conf:/etc/app.conf:ro")
    before, signatures = app.load(), app.tree.signatures()
    assert app.mounted() == ["data/app.conf"]
    assert app.watched() == ["."]
    app.write("data/other", "longer")
    assert app.tree.signatures() == signatures
    assert not app.tree.is_input("web", "data/other")
    assert app.tree.is_input("web", "data/app.conf")
    app.write("data/app.conf", "b")
    assert app.tree.signatures() != signatures
    assert app.revision() != before.revision


# -- looking at the right moment ------------------------------------------------------------------------------


@pytest.mark.parametrize("access", ["", ":ro"])
def test_a_mounted_file_that_is_not_there_is_no_problem_and_wakes_the_app_when_it_comes(
    app: App, access: str
) -> None:
    app.mount(f"./app.conf:/etc/app.conf{access}")
    before = app.load()
    signatures = app.tree.signatures()
    assert app.tree.is_input("web", "app.conf")
    app.write("app.conf", "a")
    assert app.tree.is_input("web", "app.conf")
    assert app.tree.signatures() != signatures
    assert (app.revision() != before.revision) is bool(access)


def test_a_file_that_services_write_to_wakes_the_app_only_when_it_goes(app: App) -> None:
    app.write("acme.json", "{}")
    app.mount("./acme.json:/acme.json")
    app.clock.ahead = 60  # long after: what was read is not read again for safety
    app.load()
    signatures = app.tree.signatures()
    replace(app.write("acme.json", '{"a": 1}'))
    assert not app.tree.is_input("web", "acme.json")
    assert app.tree.signatures() == signatures
    (app.folder / "acme.json").unlink()
    assert app.tree.is_input("web", "acme.json")
    assert app.tree.signatures() != signatures
    app.load()
    app.write("acme.json", "{}")
    assert app.tree.is_input("web", "acme.json"), "it is back"
    app.load()
    assert not app.tree.is_input("web", "acme.json")


def test_a_file_that_becomes_a_folder_is_an_input_no_longer(app: App) -> None:
    file = app.write(CONF, "a")
    app.mount("./conf/app.conf:/etc/app.conf:ro")
    assert app.mounted() == [CONF]
    file.unlink()
    file.mkdir()
    app.load()
    before = app.tree.signatures()
    (file / "x").write_text("x")
    assert (app.mounted(), app.tree.signatures()) == ([], before)
    assert app.watched() == ["."]


class Watched:
    """The tree of an app with a watcher on it, and the keys that it told."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.keys: queue.Queue[str] = queue.Queue()
        self.markers = count()
        self.watcher = TreeWatcher(app.tree.folders, self.keys.put, app.tree.is_input)

    def told(self) -> set[str]:
        """All keys told for what was done until now: events come in order, so that of a new file ends them."""
        marker = f"marker{next(self.markers)}"
        (self.app.root / marker).touch()
        keys = set()
        while (key := self.keys.get(timeout=5)) != marker:
            keys.add(key)
        return {key for key in keys if not key.startswith("marker")}


@pytest.fixture
def watched(app: App) -> Iterator[Watched]:
    watched = Watched(app)
    app.write(CONF, "a")
    app.write("conf.d/a.conf", "a")
    app.write("acme.json", "a")
    app.mount("./conf/app.conf:/etc/app.conf:ro", "./conf.d:/etc/conf.d:ro", "./acme.json:/acme.json")
    app.load()
    watched.watcher.start()
    try:
        yield watched
    finally:
        watched.watcher.stop()


def test_an_edit_of_a_mounted_file_is_told(watched: Watched) -> None:
    watched.app.write(CONF, "b")
    assert watched.told() == {"web"}
    replace(watched.app.folder / CONF)
    assert watched.told() == {"web"}


def test_a_folder_that_a_new_reading_names_is_watched_at_once(watched: Watched) -> None:
    watched.app.tree.on_other_paths = watched.watcher.sync
    watched.app.write("late/late.conf", "a")
    watched.app.mount("./late/late.conf:/etc/late.conf:ro")
    watched.told()
    watched.app.load()
    assert watched.told() == {"web"}, "what was written before it was watched may have been missed"

    watched.app.write("late/late.conf", "b")
    assert watched.told() == {"web"}
    watched.app.mount("./conf/app.conf:/etc/app.conf:ro")
    watched.told()
    watched.app.load()
    watched.told()
    watched.app.write("late/late.conf", "c")
    assert watched.told() == set(), "it counts no more"


def test_a_mounted_folder_in_anothers_place_is_told(watched: Watched) -> None:
    watched.app.replace_folder("conf.d")
    assert "web" in watched.told()


def test_what_happens_in_a_mounted_folder_and_to_data_is_not_told(watched: Watched) -> None:
    watched.app.write("conf.d/a.conf", "b")
    watched.app.write("conf.d/sub/b.conf", "b")
    watched.app.write("acme.json", "b")
    replace(watched.app.folder / "conf.d/a.conf")
    assert watched.told() == set()


# -- identities, files that are kept, and taking an app out ---------------------------------------------------


def test_a_renamed_folder_keeps_its_identity_and_a_copy_has_its_own(app: App) -> None:
    identity = app.load().identity
    status = app.folder.stat()
    assert identity.startswith(f"{status.st_dev}:{status.st_ino}:")
    app.folder.rename(app.root / "www")
    renamed = app.tree.load("www")
    assert isinstance(renamed, Invalid), "its manifest still says web"
    assert renamed.identity == identity
    shutil.copytree(app.root / "www", app.folder)
    assert app.load().identity not in ("", identity)
    assert load_folder(app.folder).identity == app.load().identity


def test_a_folder_made_in_the_place_of_a_deleted_one_is_another_though_its_inode_is_the_same(
    app: App,
) -> None:
    identity, status = app.load().identity, app.folder.stat()
    shutil.rmtree(app.folder)
    for number in range(100):  # the disk gives the inode away again when it likes
        other = app.root / f"other{number}"
        other.mkdir()
        assert app.tree.load(other.name).identity not in ("", identity)
        if (other.stat().st_dev, other.stat().st_ino) == (status.st_dev, status.st_ino):
            return
    pytest.skip("this disk uses no inode again")


def test_only_directories_have_an_identity_that_counts(app: App) -> None:
    app.write("data/x", "x")
    (app.folder / "link").symlink_to("data")
    paths = [str(app.folder / name) for name in ("data", "link", "data/x", "none", "a\0b")]
    found = app.tree.identities(paths)
    assert list(found) == paths[:2]
    assert found[paths[0]] == found[paths[1]]
    app.write("data/y", "x")
    assert app.tree.identities(paths) == found


def test_a_mounted_file_is_read_with_its_mode_and_owner(app: App) -> None:
    file = app.write(CONF, "a")
    file.chmod(0o640)
    read = app.tree.read_mounted(str(file))
    assert read is not None
    assert (read.data, read.mode, read.owner) == (b"a", 0o640, (os.getuid(), os.getgid()))
    for path in (file.parent, app.folder / "none"):
        assert app.tree.read_mounted(str(path)) is None


def plain_rename(*_: object) -> bool:
    """What an old kernel answers."""
    return False


@pytest.mark.parametrize("old_kernel", [False, True])
def test_an_app_is_moved_out_whole_and_no_earlier_one_is_lost(
    app: App, monkeypatch: pytest.MonkeyPatch, old_kernel: bool
) -> None:
    if old_kernel:
        monkeypatch.setattr(files, "_rename", plain_rename)
    places = []
    for number in range(3):
        app.write("number", str(number))
        places.append(app.tree.move_out("web"))
        assert isinstance(app.tree.load("web"), Absent)
        app.write("manifest.json", "{}")
    removed = app.root / ".removed"
    assert places == [str(removed / name) for name in ("web", "web-2", "web-3")]
    assert [Path(place, "number").read_text() for place in places] == ["0", "1", "2"]
    assert removed.stat().st_mode & 0o777 == 0o700
    assert app.tree.census().names == {"web"}
    assert not app.tree.census().ignored


@pytest.mark.parametrize("old_kernel", [False, True])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_whatever_has_the_name_already_keeps_it(
    app: App, monkeypatch: pytest.MonkeyPatch, kind: str, old_kernel: bool
) -> None:
    if old_kernel:
        monkeypatch.setattr(files, "_rename", plain_rename)
    (app.root / ".removed").mkdir()
    taken = app.root / ".removed/web"
    if kind == "link":
        taken.symlink_to("nowhere")
    elif kind == "folder":
        taken.mkdir()
    else:
        taken.touch()
    inode = taken.lstat().st_ino
    assert app.tree.move_out("web") == str(app.root / ".removed/web-2")
    assert taken.lstat().st_ino == inode


def test_of_an_app_behind_a_link_the_link_is_moved(app: App, tmp_path: Path) -> None:
    app.folder.rename(tmp_path / "elsewhere")
    app.folder.symlink_to(tmp_path / "elsewhere")
    new = Path(app.tree.move_out("web"))
    assert new.readlink() == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere/manifest.json").exists()


def test_an_app_that_cannot_be_moved_stays_where_it_is(app: App, tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match="No such file"):
        app.tree.move_out("other")
    for name in ("..", "../apps/web", "", ".removed"):
        with pytest.raises(WriteFailed, match="has no app of that name"):
            app.tree.move_out(name)
    (app.root / ".removed").rmdir()
    (tmp_path / "victim").mkdir()
    (app.root / ".removed").symlink_to(tmp_path / "victim")
    with pytest.raises(WriteFailed, match="is a link; put a plain folder in its place"):
        app.tree.move_out("web")
    (app.root / ".removed").unlink()
    (app.root / ".removed").write_text("")
    with pytest.raises(WriteFailed, match="could not be moved"):
        app.tree.move_out("web")
    assert app.load().folder == str(app.folder)
    assert list((tmp_path / "victim").iterdir()) == []
