"""No way out of an app's folder for what is ours to open: scripts, `.env`, what is written; not by a race either."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.model.desired import Present
from controller.model.errors import AppError, WriteFailed
from controller.source.tree import AppsTree
from rig.service import SLEEPER
from rig.waiting import wait_until
from security.test_policy import app

pytestmark = pytest.mark.fault("H02")

SWAPS = pytest.mark.parametrize("swaps", [1000, pytest.param(20_000, marks=pytest.mark.slow)])
SECRET = "SHADOW=of-the-host"
# Puts a file and a link to elsewhere in the place of each path, in turns, until its input ends; tells how often.
SWAPPER = """
import os, sys, threading
elsewhere, *paths = sys.argv[1:]
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
turns = 0
while True:
    for path in paths:
        new = path + "~"
        try:
            if turns % 2:
                os.symlink(elsewhere, new)
            else:
                with open(new, "w") as file: file.write("INSIDE=1\\n")
            os.rename(new, path)
        except OSError:
            pass
    turns += 1
    if turns % 100 == 0:
        print(turns, flush=True)
"""


class Place:
    """A tree with one app, and a secret file of the host beside it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "apps"
        self.root.mkdir()
        self.folder = app(
            self.root / "web", SLEEPER, **{"scripts/hook.sh": "INSIDE=1\n", ".env": "INSIDE=1\n"}
        )
        self.outside = folder / "outside"
        self.outside.mkdir()
        self.victim = self.outside / "hook.sh"
        self.victim.write_text(f"{SECRET}\n")
        self.tree = AppsTree(
            self.root, SystemClock(), folder / "state", known=set, root_id=lambda: None, remember_root_id=None
        )

    def present(self) -> Present:
        found = self.tree.load("web")
        assert isinstance(found, Present), found
        return found

    def untouched(self) -> bool:
        return [path.name for path in self.outside.iterdir()] == [
            "hook.sh"
        ] and self.victim.read_text() == f"{SECRET}\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@contextmanager
def swapping(elsewhere: Path, *paths: Path) -> Iterator[Callable[[], int]]:
    """Within this block the paths are swapped all the time; gives the number of swaps so far."""
    with subprocess.Popen(
        [sys.executable, "-c", SWAPPER, str(elsewhere), *map(str, paths)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as swapper:  # fmt: skip
        assert swapper.stdin is not None
        assert swapper.stdout is not None
        os.set_blocking(swapper.stdout.fileno(), False)
        told = b""

        def turns() -> int:
            nonlocal told
            told = (told + (swapper.stdout.read() or b""))[-40:]  # type: ignore[union-attr]
            lines = told.split(b"\n")
            return int(lines[-2]) if len(lines) > 1 else 0

        try:
            wait_until(turns, "the swaps begin", 60)
            yield turns
        finally:
            swapper.stdin.close()


@SWAPS
def test_a_script_that_is_swapped_for_a_link_to_elsewhere_is_never_read_there(
    place: Place, swaps: int
) -> None:
    place.present()
    seen = {"inside": 0, "refused": 0}
    with swapping(place.victim, place.folder / "scripts" / "hook.sh") as turns:
        while turns() < swaps or not all(seen.values()):
            try:
                assert place.tree.read_script("web", "scripts/hook.sh") in (b"INSIDE=1\n", b"")
                seen["inside"] += 1
            except AppError as error:
                assert "leads out of the folder" in str(error) or "leads nowhere" in str(error)  # noqa: PT017
                seen["refused"] += 1
    assert place.untouched()


def test_a_folder_that_is_swapped_for_a_link_to_elsewhere_is_no_way_out(place: Place) -> None:
    scripts = place.folder / "scripts"
    (place.folder / "kept").mkdir()
    (place.folder / "kept" / "hook.sh").write_text("INSIDE=1\n")
    for target, fits in (("kept", True), (place.outside, False), ("kept", True), ("../../outside", False)):
        for path in scripts.parent.glob("scripts*"):
            path.rename(place.root / f".old-{len(list(place.root.iterdir()))}")
        scripts.symlink_to(target)
        if fits:
            assert place.tree.read_script("web", "scripts/hook.sh") == b"INSIDE=1\n"
        else:
            with pytest.raises(AppError, match="leads out of the folder"):
                place.tree.read_script("web", "scripts/hook.sh")


@SWAPS
def test_an_env_file_that_is_swapped_for_a_link_is_neither_read_nor_written_elsewhere(
    place: Place, swaps: int
) -> None:
    present, env = place.present(), place.folder / ".env"
    merged = refused = 0
    with swapping(place.victim, env, place.folder / ".homeport-.env.new") as turns:
        while turns() < swaps:
            try:
                place.tree.merge_env(present, {"MERGED": str(merged)})
                merged += 1
            except WriteFailed:
                refused += 1
            try:
                found = os.open(env, os.O_RDONLY | os.O_NOFOLLOW)
            except OSError:
                continue
            with os.fdopen(found) as file:
                assert SECRET not in file.read()
    assert refused
    assert place.untouched()


@SWAPS
def test_the_tree_stays_readable_while_everything_in_it_is_swapped(place: Place, swaps: int) -> None:
    names = ["manifest.json", "compose.yaml", ".env", "scripts/hook.sh", ".env.example"]
    with swapping(place.victim, *(place.folder / name for name in names)) as turns:
        while turns() < swaps / 5:  # of five paths each
            place.tree.load("web")
            place.tree.signatures()
            list(place.tree.folders())
    assert place.untouched()
    assert {path.name for path in place.root.iterdir()} == {"web"}


def test_a_folder_that_a_setting_names_is_judged_by_where_it_leads_at_each_look(tmp_path: Path) -> None:
    place = Place(tmp_path)
    manifest = (place.folder / "manifest.json").read_text()
    setting = '"settings": [{"name": "DATA", "label": "l", "description": "d", "type": "path"}]'
    (place.folder / "manifest.json").write_text(manifest.replace('"settings":[]', setting))
    link = tmp_path / "link"
    (place.folder / ".env").write_text(f"DATA={link}\n")
    link.symlink_to(place.outside)
    assert not place.present().unset
    link.unlink()
    link.symlink_to("/etc")
    assert [problem.rule for problem in place.present().unset] == ["must not lie in /etc"]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../outside/hook.sh", "scripts/../../outside/hook.sh", "a\0b"]
)
@pytest.mark.parametrize("field", ["icon", "on_install", "on_remove"])
def test_a_manifest_names_nothing_outside_its_folder(place: Place, field: str, path: str) -> None:
    text = (place.folder / "manifest.json").read_text()
    quoted = path.replace("\0", "\\u0000")
    if field == "icon":
        text = text.replace('"icon":"icon.svg"', f'"icon":"{quoted}"')
    else:
        text = text.replace('"requires":[]', f'"requires":[{{"app":"db","{field}":"{quoted}"}}]')
    (place.folder / "manifest.json").write_text(text)
    found = place.tree.load("web")
    assert not isinstance(found, Present)
    assert "stays inside the folder" in str(found)
