"""Whole folders of whatever a disk can hold: never a hang, never a crash, never a look at what is none of the app's."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import strategies as st

from controller.clock import SystemClock
from controller.model.desired import Absent, Invalid, Present, Unreadable
from controller.model.errors import AppError, WriteFailed
from controller.model.names import APP_NAME
from controller.source.reading import load_folder
from controller.source.sketch import sketch
from controller.source.tree import AppsTree
from rig.fuzzing import fuzz, opened
from rig.hostile import COMPOSE_BOMBS, ENV_BOMBS, HARD_TEXTS, SAMPLE, manifest_text

BAIT = "BAIT=hush-this-is-none-of-yours\n"
INSIDE = (
    "manifest.json", "compose.yaml", "docker-compose.yaml", "compose.override.yml", "COMPOSE.YAML", ".env", ".ENV", ".env.example",
    "scripts", "scripts/a.sh", "scripts/deep/b.sh", "icon.svg", "data", "data/x", "more.yaml", "secret.txt",
)  # fmt: skip
COMPOSE = """\
include: [{path: more.yaml, required: false}]
services:
  main:
    image: homeport/sample:1
    env_file: [{path: secret.txt, required: false}]
    volumes: ["./data:/data:ro", "./icon.svg:/icon.svg:ro", "./scripts:/scripts"]
    secrets: [s]
secrets: {s: {file: ./secret.txt}}
"""
TEXTS = [
    "", SAMPLE, COMPOSE, manifest_text(), "services: {main: {env_file: ../../bait}}\n", "include: [more.yaml]\n",
    "services: {main: {extends: {file: more.yaml, service: main}}}\n", "services: {main: {build: .}}\n",
    "services: {main: {env_file: '" + "x" * 300 + "'}}\n",
    "services: {main: {env_file: '" + "x" * 300 + "/a'}}\n", 'services: {main: {volumes: ["./a\\0b:/x:ro"]}}\n',
    manifest_text(requires=[{"app": "db", "on_install": "../../bait"}]), manifest_text(icon="../../bait"),
    manifest_text(settings=[{"name": "KEY", "type": "path", "required": True}]), "KEY=/etc\n", "KEY=\n",
    *HARD_TEXTS,
    *(COMPOSE_BOMBS[what] for what in ("lists of aliases", "merges", "an alias of itself", "a deep list in a flow", "documents", "tags")),
    *(ENV_BOMBS[what] for what in ("ten lines for gigabytes", "many names", "too large")),
]  # fmt: skip


def make_file(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 << 20)


def make_deep(path: Path) -> None:
    path.joinpath(*["d"] * 150).mkdir(parents=True)


def make_odd_names(path: Path) -> None:
    path.mkdir()
    for name in (b"\xff\xfe.sh", b"-rf", b"a\nb", b"x" * 255, b"\x1b[31m", "é".encode(), b" "):
        (path / os.fsdecode(name)).write_text("true\n")
    make_sparse(path / os.fsdecode(b"\xff.large"))


def make_socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def make_device(path: Path) -> None:
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # zero: reading it never ends


KINDS: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "socket": make_socket,
    "sparse": make_sparse,
    "deep": make_deep,
    "odd names": make_odd_names,
    "closed": lambda path: path.touch(mode=0),
    "device": make_device,
}
LINKS = (
    "loop",
    "nowhere",
    "../../bait",
    "/dev/zero",
    ".",
    "..",
    "../..",
    "manifest.json",
    "scripts",
    "x" * 300,
    "a\nb",
)
parts = st.lists(
    st.tuples(
        st.sampled_from(INSIDE),
        st.one_of(
            st.sampled_from(TEXTS).map(lambda text: ("text", text)),
            st.sampled_from(sorted(KINDS)).map(lambda kind: ("kind", kind)),
            st.sampled_from(LINKS).map(lambda target: ("link", target)),
        ),
    ),
    max_size=6,
)


@pytest.fixture
def bait(tmp_path: Path) -> Path:
    path = tmp_path / "bait"
    path.write_text(BAIT)
    return path


def build(folder: Path, wanted: list[tuple[str, tuple[str, str]]]) -> None:
    """The parts, a later one of a name in place of an earlier one, over a whole app."""
    chosen = {"manifest.json": ("text", manifest_text()), "compose.yaml": ("text", COMPOSE)} | dict(wanted)
    for name, (how, what) in sorted(chosen.items()):
        path = folder / name
        # What a part needs above it may have become something else.
        if not Path(os.path.realpath(path.parent)).is_relative_to(folder) or os.path.lexists(path):
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if how == "text":
            make_file(path, what)
        elif how == "kind":
            KINDS[what](path)
        else:
            path.symlink_to(what)


def tree_of(root: Path, state: Path) -> AppsTree:
    return AppsTree(
        root, SystemClock(), state, known=lambda: (), root_id=lambda: "id", remember_root_id=lambda _: None
    )


def check_opened(paths: list[str], root: Path, bait: Path) -> None:
    for path in paths:
        assert path == str(bait) or Path(path).is_relative_to(root), path
        mode = Path(path).stat().st_mode if os.path.exists(path) else stat.S_IFREG  # noqa: PTH110 - never raises
        # What is no folder cannot be listed; it is not opened to find that out.
        assert path.endswith("/") or stat.S_ISREG(mode) or stat.S_ISDIR(mode), (
            f"{path} is opened, and is no file"
        )


@pytest.mark.fault("B07")
@fuzz(1.5, wanted=parts)
def test_a_folder_of_anything_is_loaded_or_refused_and_nothing_else_is_read(
    tmp_path: Path, bait: Path, wanted: list[tuple[str, tuple[str, str]]]
) -> None:
    home = Path(tempfile.mkdtemp(dir=tmp_path))
    folder = home / "web"
    folder.mkdir()
    try:
        build(folder, wanted)
        tree = tree_of(home, tmp_path / "state")
        with opened() as paths:
            desired = tree.load("web")
            again = tree.load("web")
            signatures, folders = tree.signatures(), list(tree.folders())
            tree.is_input("web", "scripts/a.sh")
            sketched = sketch_of(folder)
        check_opened(paths, home, bait)
        check_answer(desired)
        assert type(desired) is type(again)
        assert set(signatures) == {"web"}
        assert all(Path(path).is_relative_to(home) for path, _ in folders)
        assert sketched is not None
        check_acts(tree, desired)
    finally:
        shutil.rmtree(home)
    assert bait.read_text() == BAIT


def sketch_of(folder: Path) -> object:
    from controller.source.files import Unreadable as CannotRead

    try:
        return sketch(folder)
    except CannotRead as error:
        return error


def check_answer(desired: object) -> None:
    assert isinstance(desired, Present | Invalid | Unreadable)
    said = desired.warnings if isinstance(desired, Present) else (desired.message,)
    "".join(said).encode()
    assert "hush" not in "".join(said)
    if isinstance(desired, Invalid):
        assert all(problem.rule for problem in desired.problems)
        assert all(problem.file for problem in desired.problems)
        assert desired.problems
        assert len(desired.message) < 41 * 700


def check_acts(tree: AppsTree, desired: object) -> None:
    for script in ("scripts/a.sh", "scripts/deep/b.sh", "../bait", "icon.svg", "scripts"):
        try:
            data = tree.read_script("web", script)
        except AppError as error:
            str(error).encode()
        else:
            assert BAIT.encode() not in data
    if isinstance(desired, Present):
        for write in (lambda: tree.seed_env(desired), lambda: tree.merge_env(desired, {"NEW": "x y"})):
            try:
                write()
            except WriteFailed as error:
                str(error).encode()


def one_name() -> Iterator[bytes]:
    yield from (
        b"..x",
        b"-rf",
        b"a b",
        b"a\nb",
        b"x" * 255,
        b"x" * 64,
        b"\xff",
        b"A",
        b"a",
        "\u0430".encode(),
        "\uff41".encode(),
        b"a\x1b[0m",
        b"__x",
        b".x",
    )


@pytest.mark.fault("B07")
@fuzz(0.5, names=st.sets(st.sampled_from(list(one_name())) | st.binary(min_size=1, max_size=12), max_size=6))
def test_folders_of_any_name_are_apps_or_are_told_and_leave_the_others_alone(
    tmp_path: Path, names: set[bytes]
) -> None:
    home = Path(tempfile.mkdtemp(dir=tmp_path))
    names = {name for name in names if b"/" not in name and b"\0" not in name and name not in (b".", b"..")}
    try:
        for name in {*names, b"web"}:
            (home / os.fsdecode(name)).mkdir()
        tree = tree_of(home, tmp_path / "state")
        census = tree.census()
        assert not census.lost
        texts = {os.fsdecode(name) for name in names}
        right = {name for name in texts if APP_NAME.fullmatch(name)}
        hidden = {name for name in texts if name.startswith((".", "_"))}
        assert census.names == right | {"web"}
        assert len(census.ignored) == len(texts - right - hidden)
        assert all(name.isprintable() and name.encode() for name in census.ignored)
        for name in texts:
            loaded = tree.load(name)
            assert isinstance(loaded, Absent) == (name not in right)
    finally:
        shutil.rmtree(home)


@pytest.mark.fault("B07")
@fuzz(0.5, name=st.text(max_size=20) | st.sampled_from(HARD_TEXTS))
def test_a_name_leads_to_an_app_in_the_tree_or_nowhere(tmp_path: Path, name: str) -> None:
    root = tmp_path / "apps"
    (root / "web").mkdir(parents=True, exist_ok=True)
    tree = tree_of(root, tmp_path / "state")
    with opened() as paths:
        assert isinstance(tree.load(name), Absent)
    check_opened(paths, root, root)
    with pytest.raises(AppError):
        tree.read_script("web", name)


def test_a_folder_that_is_checked_before_it_is_dropped_in_may_be_anything(tmp_path: Path) -> None:
    for kind, make in KINDS.items():
        make(tmp_path / kind)
        checked = load_folder(tmp_path / kind)
        assert isinstance(checked, Invalid)
        assert checked.problems or checked.reason == "Incomplete"
