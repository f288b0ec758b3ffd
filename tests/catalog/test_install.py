"""Installing on real folders: what is copied, what is refused, and that nothing half-made is ever in the tree."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from controller.catalog.errors import Refused, WrongUse
from controller.catalog.install import STAGING, Installation, install, parse_values, prepare
from controller.model.desired import Present
from controller.source.reading import load_folder


class Place:
    """A tree and two catalogs."""

    def __init__(self, folder: Path) -> None:
        self.root, self.first, self.second = (folder / name for name in ("apps", "first", "second"))
        for path in (self.root, self.first, self.second):
            path.mkdir()

    def app(
        self, shelf: Path, name: str, requires: Iterable[str | dict[str, str]] = (), **fields: Any
    ) -> Path:
        folder = shelf / name
        folder.mkdir()
        manifest = {
            "name": name, "display_name": name, "version": "1", "description": "", "volumes": [], "ports": [],
            "icon": "icon.svg", "requires": [need if isinstance(need, dict) else {"app": need} for need in requires], **fields,
        }  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps(manifest))
        (folder / "docker-compose.yaml").write_text("services:\n  main:\n    image: x\n")
        return folder

    def prepare(self, wanted: str, *values: str) -> Installation:
        state = self.root.parent / "state"
        return prepare(wanted, self.root, (self.first, self.second), parse_values(values), state=state)

    def install(self, wanted: str, *values: str) -> Installation:
        prepared = self.prepare(wanted, *values)
        install(prepared)
        return prepared

    def refused(self, wanted: str, *values: str) -> tuple[str, ...]:
        """The lines of the refusal; nothing may have been written."""
        before = sorted(self.root.rglob("*"))
        with pytest.raises(Refused) as caught:
            self.prepare(wanted, *values)
        assert sorted(self.root.rglob("*")) == before
        return caught.value.lines

    def tree(self) -> set[str]:
        return {entry.name for entry in self.root.iterdir()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def names(prepared: Installation) -> list[str]:
    return [step.name for step in prepared.steps]


def setting(name: str, **fields: object) -> dict[str, object]:
    return {"name": name, **fields}


# -- which apps, in which order -----------------------------------------------------------------------------


def test_providers_come_first_and_alphabetically(place: Place) -> None:
    place.app(place.first, "a", ["d", "b"])
    place.app(place.first, "b", ["c"])
    place.app(place.second, "c")
    place.app(place.second, "d", ["c"])
    assert names(place.install("a")) == ["c", "b", "d", "a"]
    assert place.tree() == {"a", "b", "c", "d"}
    assert all(isinstance(load_folder(place.root / name), Present) for name in "abcd")


def test_a_provider_in_the_tree_counts_as_there_whatever_it_lacks(place: Place) -> None:
    place.app(place.first, "a", ["b", "e"])
    place.app(place.first, "b")
    place.app(place.root, "b", ["missing"])
    (place.root / "e").mkdir()
    prepared = place.prepare("a")
    assert (names(prepared), prepared.there) == (["a"], ("b", "e"))
    assert any("homeport validate" in note and "e is in the tree" in note for note in prepared.notes)


def test_the_first_catalog_wins_and_it_is_said(place: Place) -> None:
    place.app(place.second, "a", version="2")
    place.app(place.first, "a", version="1")
    prepared = place.prepare("a")
    assert prepared.steps[0].app.manifest.version == "1"
    assert prepared.notes == (
        f"a is taken from {place.first / 'a'}, not from {place.second / 'a'}: the first one counts",
    )


def test_a_folder_without_a_manifest_is_no_app_of_a_catalog(place: Place) -> None:
    (place.first / "a").mkdir()
    place.app(place.second, "a")
    assert place.prepare("a").steps[0].app.folder == str(place.second / "a")


def test_providers_of_a_path_are_looked_for_beside_it_first(place: Place, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    place.app(work, "a", ["b", "c"])
    place.app(work, "b", version="new")
    place.app(place.first, "b", version="old")
    place.app(place.first, "c")
    prepared = place.prepare(str(work / "a"))
    assert [(step.name, step.app.folder) for step in prepared.steps] == [
        ("b", str(work / "b")),
        ("c", str(place.first / "c")),
        ("a", str(work / "a")),
    ]


def test_a_catalog_that_is_not_there_is_told_and_passed_over(place: Place) -> None:
    place.app(place.second, "a")
    shutil.rmtree(place.first)
    assert place.install("a").notes == (f"catalog {place.first} is not there; it is passed over",)
    assert place.tree() == {"a"}


# -- what is refused, before anything is written ------------------------------------------------------------


def test_an_unknown_provider_is_told_with_its_chain(place: Place) -> None:
    place.app(place.first, "a", ["b"])
    place.app(place.first, "b", ["c"])
    assert place.refused("a") == (
        f"a needs b, b needs c: no app c in the tree or in catalogs {place.first}, {place.second}",
    )


def test_a_circle_is_told_with_its_chain(place: Place) -> None:
    place.app(place.first, "a", ["b"])
    place.app(place.first, "b", ["c"])
    place.app(place.first, "c", ["b"])
    assert place.refused("a") == (
        "b -> c -> b: they require each other in a circle; take one `requires` out",
    )


def test_a_circle_through_an_app_in_the_tree_is_refused(place: Place) -> None:
    place.app(place.first, "a", ["b"])
    place.app(place.root, "b", ["c"])
    place.app(place.root, "c", ["a"])
    assert place.refused("a")[0].startswith("a -> b -> c -> a:")


def test_all_that_is_wrong_is_told_at_once(place: Place) -> None:
    place.app(place.first, "a", ["b", "c", "d"])
    bad = place.app(place.first, "b", ports=["x"], volumes=["-"])
    (bad / "docker-compose.yaml").write_text("services: {\n")
    (place.root / "d").write_text("a file")
    lines = place.refused("a")
    assert [line.split(":")[:2] for line in lines[:3]] == [["b", " manifest.json"]] * 2 + [
        ["b", " docker-compose.yaml"]
    ]
    assert lines[3].startswith("a needs c: no app c")
    assert lines[4].startswith(f"{place.root / 'd'} is in the way")
    assert len(lines) == 5


@pytest.mark.parametrize("shelf", ["root", "first"])
def test_a_hook_whose_script_its_provider_lacks_is_told_before_anything_is_written(
    place: Place, shelf: str
) -> None:
    place.app(place.second, "a", requires=[{"app": "b", "on_install": "scripts/mk.sh"}])
    provider = place.app(getattr(place, shelf), "b")
    (line,) = place.refused("a")
    assert line.startswith(
        "a: manifest.json: requires[0].on_install: b has no scripts/mk.sh: the hook would fail"
    )
    (provider / "scripts").mkdir()
    (provider / "scripts" / "mk.sh").write_text("echo A=1\n")
    assert names(place.install("a"))[-1] == "a"


def test_an_app_in_the_tree_is_not_installed_again(place: Place) -> None:
    place.app(place.first, "a")
    place.app(place.root, "a")
    assert "a is in the tree already" in place.refused("a")[0]
    assert "a is in the tree already" in place.refused(str(place.first / "a"))[0]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_in_the_way_is_told(place: Place, kind: str) -> None:
    place.app(place.first, "a")
    if kind == "file":
        (place.root / "a").write_text("")
    else:
        (place.root / "a").symlink_to("/nonexistent")
    assert place.refused("a") == (
        f"{place.root / 'a'} is in the way and is no app folder; move it elsewhere",
    )


def test_a_tree_that_is_not_there_is_not_made(place: Place) -> None:
    place.app(place.first, "a")
    place.root.rmdir()
    with pytest.raises(Refused, match="there is no such folder"):
        place.prepare("a")
    assert not place.root.exists()


def test_an_app_that_does_not_fit_is_refused(place: Place) -> None:
    place.app(place.first, "a", ["b"])
    big = place.app(place.first, "b") / "big"
    disk = os.statvfs(place.root)
    with big.open("wb") as file:  # sparse: it takes no room here, but a copy would
        file.truncate(disk.f_bavail * disk.f_frsize + 2**30)
    assert "b and a would take" in place.refused("a")[0]


@pytest.mark.parametrize("target", ["/etc/hostname", "../b/manifest.json", "sub/../../b"])
def test_a_link_out_of_the_folder_is_refused(place: Place, target: str) -> None:
    folder = place.app(place.first, "a")
    place.app(place.first, "b")
    (folder / "sub").mkdir()
    (folder / "link").symlink_to(target)
    assert place.refused("a") == (
        f"a: link is a link out of the folder, to {target}; put the file itself there",
    )


@pytest.mark.parametrize("wanted", ["aa", "A", "", "manifest.json", "..", "./nothing"])
def test_an_app_that_cannot_be_found_is_wrong_use(
    place: Place, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.first)
    place.app(place.first, "aaa")
    with pytest.raises((WrongUse, Refused)) as caught:
        place.prepare(wanted)
    assert place.tree() == set()
    assert ("did you mean aaa?" in str(caught.value)) == (wanted == "aa")


# -- the copy -----------------------------------------------------------------------------------------------


def test_the_copy_keeps_content_modes_and_links(place: Place) -> None:
    folder = place.app(place.first, "a")
    (folder / "scripts").mkdir(mode=0o555)
    (folder / "data" / "empty").mkdir(parents=True)
    (folder / "data" / "empty").chmod(0o755)
    for name in ("manifest.json", "docker-compose.yaml"):
        (folder / name).chmod(0o644)
    (folder / "data").chmod(0o1777)
    for name, mode in (("run.sh", 0o755), ("secret", 0o600), ("suid", 0o4755), (".env", 0o644)):
        (folder / name).write_text("A=1\n")
        (folder / name).chmod(mode)
    (folder / "link").symlink_to("scripts")
    (folder / "data" / "up").symlink_to("../run.sh")
    (folder / "nowhere").symlink_to("not-yet")
    place.install("a")
    copied = place.root / "a"
    assert {path.name: stat.S_IMODE(path.lstat().st_mode) for path in copied.rglob("*") if not path.is_symlink()} == {
        "manifest.json": 0o644, "docker-compose.yaml": 0o644, "scripts": 0o555, "data": 0o1777, "empty": 0o755,
        "run.sh": 0o755, "secret": 0o600, "suid": 0o755, ".env": 0o600,
    }  # fmt: skip
    assert (copied / "run.sh").read_text() == "A=1\n"
    assert [str((copied / name).readlink()) for name in ("link", "data/up", "nowhere")] == [
        "scripts",
        "../run.sh",
        "not-yet",
    ]
    assert stat.S_IMODE(copied.stat().st_mode) == stat.S_IMODE(folder.stat().st_mode)


def test_what_belongs_to_the_place_is_left_out(place: Place) -> None:
    folder = place.app(place.first, "a")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("")
    (folder / "sub").mkdir()
    for name in ("sub/.git", "sub/page.html.swp", "4913", "manifest.json~"):
        (folder / name).write_text("")
    (folder / ".gitignore").write_text("")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "sub" / "s"))
        prepared = place.install("a")
    assert {str(path.relative_to(place.root / "a")) for path in (place.root / "a").rglob("*")} == {
        "manifest.json", "docker-compose.yaml", "sub", ".gitignore",
    }  # fmt: skip
    assert prepared.notes == ("a: pipe is no file and is left out", "a: sub/s is no file and is left out")


def test_the_copies_are_gone_from_the_side_afterwards(place: Place) -> None:
    place.app(place.first, "a")
    place.install("a")
    assert place.tree() == {"a"}


def test_an_app_that_changed_since_it_was_looked_at_is_not_installed(place: Place) -> None:
    place.app(place.first, "a", ["b"])
    folder = place.app(place.first, "b")
    prepared = place.prepare("a")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(Refused, match="b: it changed while it was copied"):
        install(prepared)
    assert place.tree() == set()


def test_a_file_that_became_a_link_is_not_followed(place: Place) -> None:
    folder = place.app(place.first, "a")
    (folder / "page").write_text("")
    prepared = place.prepare("a")
    (folder / "page").unlink()
    (folder / "page").symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic"):
        install(prepared)
    assert place.tree() == set()


@pytest.mark.parametrize("content", ["file", "folder"])
def test_a_folder_that_came_meanwhile_is_left_alone(place: Place, content: str) -> None:
    place.app(place.first, "a", ["b"])
    place.app(place.first, "b")
    prepared = place.prepare("a")
    if content == "file":
        (place.root / "a").write_text("mine")
    else:
        place.app(place.root, "a", version="mine")
    with pytest.raises(Refused, match="came into the tree meanwhile"):
        install(prepared)
    assert place.tree() == {"a", "b"}
    mine = place.root / "a" if content == "file" else place.root / "a" / "manifest.json"
    assert "mine" in mine.read_text()


def test_what_a_crash_left_is_taken_away_after_an_hour(place: Place) -> None:
    place.app(place.first, "a")
    ages = {"old": 7200, "young": 60, "used": 7200}
    for name, age in ages.items():
        folder = place.root / (STAGING + name)
        (folder / "b").mkdir(parents=True)
        then = folder.stat().st_mtime - age
        os.utime(folder, (then, then))
    used = os.open(place.root / (STAGING + "used"), os.O_RDONLY)
    try:
        fcntl.flock(used, fcntl.LOCK_EX)
        place.install("a")
    finally:
        os.close(used)
    assert place.tree() == {"a", STAGING + "young", STAGING + "used"}


# -- values -------------------------------------------------------------------------------------------------


def test_values_go_into_a_private_env_on_top_of_what_would_be_seeded(place: Place) -> None:
    folder = place.app(
        place.first, "a", ["b"], settings=[setting("PORT", default="80"), setting("NAME", required=True)]
    )
    (folder / ".env.example").write_text("# mine\nZONE=here\n")
    place.app(place.first, "b", settings=[setting("KEY", required=True)])
    prepared = place.install("a", "NAME=x $y", "b.KEY=k")
    env = place.root / "a" / ".env"
    assert env.read_text() == '# mine\nZONE=here\nPORT=80\nNAME="x $$y"\n'
    assert (place.root / "b" / ".env").read_text() == "KEY=k\n"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert [(step.name, step.filled, step.unset) for step in prepared.steps] == [
        ("b", ("KEY",), ()),
        ("a", ("NAME",), ()),
    ]
    assert "x $y" not in repr(prepared)


def test_an_env_of_the_app_is_kept_and_merged_into(place: Place) -> None:
    folder = place.app(place.first, "a", settings=[setting("PORT", default="80")])
    (folder / ".env").write_text("OLD=1 # why\nNAME=old\n")
    place.install("a", "NAME=new")
    assert (place.root / "a" / ".env").read_text() == "OLD=1 # why\nNAME=new\nPORT=80\n"


def test_without_values_seeding_is_left_to_the_controller(place: Place) -> None:
    folder = place.app(place.first, "a", settings=[setting("PORT", default="80")])
    (folder / ".env.example").write_text("PORT=81\n")
    place.install("a")
    assert not (place.root / "a" / ".env").exists()


def test_what_a_person_has_to_fill_in_is_named(place: Place) -> None:
    folder = place.app(
        place.first, "a", settings=[setting("NAME", required=True), setting("N", type="number", default="x")]
    )
    (folder / ".env.example").write_text("PASS=changeme\n")
    prepared = place.prepare("a")
    assert {problem.field for problem in prepared.steps[0].unset} == {"NAME", "N", "PASS"}
    assert {problem.field for problem in place.prepare("a", "NAME=me", "N=3").steps[0].unset} == {"PASS"}


@pytest.mark.parametrize(
    "text", ["PORT", "=x", "a b=c", "a.=x", "1A=x", "PATH=/x", "b.COMPOSE_FILE=x", "LD_PRELOAD=x"]
)
def test_a_value_without_a_proper_key_is_wrong_use(text: str) -> None:
    with pytest.raises(WrongUse, match="--set") as caught:
        parse_values(["A=1", text])
    assert "/x" not in str(caught.value)


@pytest.mark.parametrize("value", ["PORT=s3cret", "NAME=", "NAME=changeme"])
def test_a_value_that_breaks_its_rule_is_wrong_use_and_not_shown(place: Place, value: str) -> None:
    place.app(place.first, "a", settings=[setting("PORT", type="number"), setting("NAME", required=True)])
    with pytest.raises(WrongUse, match=rf"--set a\.{value.partition('=')[0]}: ") as caught:
        place.prepare("a", value)
    assert "s3cret" not in str(caught.value)


def test_a_value_for_an_app_that_is_not_installed_is_wrong_use(place: Place) -> None:
    place.app(place.first, "a", ["b"])
    place.app(place.root, "b")
    with pytest.raises(WrongUse, match="homeport set b"):
        place.prepare("a", "b.KEY=1")
    with pytest.raises(WrongUse, match="c is not being installed; these are: a"):
        place.prepare("a", "c.KEY=1")


def test_a_key_that_nobody_knows_is_told_with_a_hint(place: Place) -> None:
    place.app(place.first, "a", settings=[setting("PORT")])
    told = "a: PROT is set, but neither the app's folder nor a hook in a provider of it names it; did you mean PORT?"
    assert place.prepare("a", "PROT=1").notes == (told,)
    assert place.prepare("a", "PORT=1").notes == ()


def test_a_key_that_a_compose_file_or_a_hook_of_a_provider_names_is_nothing_to_tell(place: Place) -> None:
    folder = place.app(place.first, "a")
    described = json.loads((folder / "manifest.json").read_text())
    described["requires"] = [{"app": "b", "on_install": "install.sh"}]
    (folder / "manifest.json").write_text(json.dumps(described))
    (folder / "docker-compose.yaml").write_text("services: {main: {image: 'x:${TAG:-1}'}}\n")
    (place.app(place.second, "b") / "install.sh").write_text("createdb $FURTKA_CONSUMER_ENV_DB_NAME\n")
    assert place.prepare("a", "TAG=2", "DB_NAME=shop").notes == ()
    assert "did you mean DB_NAME?" in place.prepare("a", "DB_NAMES=shop").notes[0]
