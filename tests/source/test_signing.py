"""Signing: a look that asks less sees as much."""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.source import files, signing
from controller.source.signing import COARSE, Signer

NAMES = (
    "manifest.json",
    ".env",
    "compose.yaml",
    "conf/base.yaml",
    "conf/deep/extra.yaml",
    "scripts",
    "scripts/a.sh",
)


def later() -> float:
    """A moment at which every folder is known to have been left alone for long enough."""
    return time.time() + COARSE + 1


def tick(folder: Path) -> None:
    """Returns when the times that files get now differ from those they got before: they move in steps."""
    probe = folder.parent / "probe"
    probe.touch()
    before = probe.stat().st_mtime_ns
    while probe.stat().st_mtime_ns == before:
        probe.touch()


def signer_of(folder: Path) -> Signer:
    return Signer(str(folder), [str(folder / name) for name in NAMES], [str(folder / "data")])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "apps" / "web"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_dir():
        path.write_text(str(time.time_ns()))


def remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def link(path: Path) -> None:
    """To something beside the app that comes and goes."""
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.parent / "elsewhere")


def change_mode(path: Path) -> None:
    if path.exists():
        path.chmod(path.stat().st_mode ^ 0o020)


@pytest.mark.parametrize("seed", range(8))
def test_a_look_that_asks_less_sees_what_a_fresh_look_sees(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    kept = signer_of(folder)
    acts: tuple[Callable[[Path], None], ...] = (create, create, create, remove, link, change_mode)
    places = [*NAMES, *NAMES, "data", "elsewhere", "conf/elsewhere", "unrelated", "conf"]
    for _ in range(40):
        kept.sign(later())
        tick(folder)
        with contextlib.suppress(OSError):  # a file where a folder would have to be, or the other way round
            chance.choice(acts)(folder / chance.choice(places))
        assert kept.sign(later()) == signer_of(folder).sign(later())
        assert kept.sign(later()).digest == signer_of(folder).sign(later()).digest


def test_what_a_link_to_nothing_leads_to_is_seen_when_it_comes(folder: Path) -> None:
    target = folder.parent.parent / "secrets.env"
    (folder / ".env").symlink_to(target)
    signer = signer_of(folder)
    before = signer.sign(later())
    target.write_text("A=1\n")
    assert signer.sign(later()) != before


def test_in_a_folder_that_changed_a_moment_ago_every_name_is_asked_for(folder: Path) -> None:
    """Some file systems count in steps of two seconds: the next change may leave the same times."""
    signer = signer_of(folder)
    before = signer.sign(time.time())
    (folder / ".env").write_text("A=1\n")
    assert signer.sign(time.time()) != before


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that are asked for from now on, each as often as it is."""
    names: list[str] = []

    def counted(path: str) -> object:
        names.append(Path(path).name)
        return real(path)

    real = files.stat_of
    monkeypatch.setattr(files, "stat_of", counted)
    return names


def test_another_root_counts_though_nothing_in_the_folder_has_changed(folder: Path) -> None:
    signer, root = signer_of(folder), signing.owned(folder.parent)
    before = signer.sign(later(), root)
    assert signer.sign(later(), root) is before
    assert signer.sign(later(), signing.owned(folder.parent.parent)) != before


def test_names_that_are_not_there_are_not_asked_for_again(folder: Path, asked: list[str]) -> None:
    signer = signer_of(folder)
    signer.sign(later())
    asked.clear()
    signer.sign(later())
    assert ".env" not in asked
    assert asked.count("manifest.json") == 1


def test_where_folders_do_not_tell_what_comes_into_them_a_look_afresh_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a union of disks that reports the times of one of them."""
    monkeypatch.setattr(signing, "_times", lambda _found: (1, 1, 0, 0))
    signer = signer_of(folder)
    before = signer.sign(later())
    (folder / ".env").write_text("A=1\n")
    assert signer.sign(later()) == before
    assert signer.sign(later(), afresh=True) != before


@pytest.mark.parametrize("inner", ["conf", "conf/deep"])
def test_who_can_write_to_a_folder_on_the_way_counts(folder: Path, inner: str) -> None:
    create(folder / "conf/deep/extra.yaml")
    signer = signer_of(folder)
    before = signer.sign(later())
    (folder / inner).chmod(0o777)
    assert signer.sign(later()) != before


def test_who_can_write_to_a_folder_above_a_file_elsewhere_counts(folder: Path) -> None:
    shared = folder.parent.parent / "shared" / "deep" / "base.yaml"
    create(shared)
    signer = Signer(str(folder), [str(shared)], [])
    before = signer.sign(later())
    shared.parents[1].chmod(0o777)
    assert signer.sign(later()) != before


def test_a_look_afresh_asks_only_for_names_that_its_folder_lists(folder: Path, asked: list[str]) -> None:
    """Of twelve names that count in each folder most are not there."""
    signer_of(folder).sign(later(), afresh=True)
    assert "manifest.json" in asked
    assert ".env" not in asked


def test_a_name_counts_as_there_whatever_its_case_and_its_script(tmp_path: Path) -> None:
    """There are file systems on which `Compose.yaml` is found by the name `compose.yaml`, and `é` by another `é`."""
    (tmp_path / "Compose.YAML").touch()
    (tmp_path / "nowhere").symlink_to("gone")
    names = ("compose.yaml", "compose.yml", "nowhere", "é.env")
    assert set(files.may_be_there(str(tmp_path), names)) == {"compose.yaml", "nowhere", "é.env"}


@pytest.mark.parametrize("kind", ["large", "file", "gone"])
def test_where_a_list_says_nothing_or_is_long_each_name_is_asked_for(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    if kind == "large":
        place.mkdir()
        (place / "compose.yml").touch()
        monkeypatch.setattr(files, "MOST_LISTED", 0)
    elif kind == "file":
        place.touch()
    assert set(files.may_be_there(str(place), (".env", "compose.yaml"))) == {".env", "compose.yaml"}
