"""What is told of watching the tree: each cause by its own name, and nothing that was told under another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from controller.manager import Manager
from controller.model.record import Event
from controller.settings import Settings
from controller.source.watcher import TreeWatcher


class Watched:
    """A service whose tree is watched and scanned by hand; its engine is away."""

    def __init__(self, manager: Manager, told: list[Event], apps: Path) -> None:
        assert manager.watcher is not None
        self.manager, self.apps = manager, apps
        self.watcher: TreeWatcher = manager.watcher
        self._told = told

    def scan(self) -> list[str]:
        """What a scan tells of the tree."""
        self._told.clear()
        self.manager.rescan()
        return [event.name for event in self._told]


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'none.sock'}")
    apps = tmp_path / "apps"
    (apps / "web").mkdir(parents=True)
    told: list[Event] = []
    settings = Settings.load({"apps": apps, "state": tmp_path / "state"})
    with closing(Manager(settings, told.append)) as manager:
        assert manager.watcher is not None
        manager.watcher.start()
        manager.rescan(quiet=True)
        try:
            yield Watched(manager, told, apps)
        finally:
            manager.watcher.stop()


@pytest.mark.fault("A04")
def test_a_tree_that_is_moved_away_and_back_was_lost_and_is_back_and_nothing_else(watched: Watched) -> None:
    away = watched.apps.with_name("away")
    watched.apps.rename(away)
    assert watched.scan() == ["tree.lost"]
    watched.watcher.sync()  # as it does by itself when something happens
    away.rename(watched.apps)
    assert watched.scan() == ["tree.back"]
    assert watched.scan() == []
    assert not watched.watcher.healthy()


@pytest.mark.fault("A04")
def test_a_tree_that_is_replaced_between_two_scans_is_told_as_that_once(watched: Watched) -> None:
    away = watched.apps.with_name("away")
    watched.apps.rename(away)
    shutil.copytree(away, watched.apps)
    assert watched.scan() == ["tree.replaced"]
    assert watched.manager.describe()["trouble"], "until the next scan has found all as it should be"
    assert watched.scan() == []
    assert watched.manager.describe()["trouble"] == []


@pytest.mark.fault("A02")
def test_what_cannot_be_watched_is_told_as_that_until_it_can(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched.watcher, "healthy", lambda: "no watches are left")
    assert watched.scan() == ["tree.unwatched"]
    monkeypatch.undo()
    assert watched.scan() == ["tree.watched"]


@pytest.mark.fault("A01")
@pytest.mark.parametrize(("cause", "event"), [("overflow", "tree.overflow"), ("broken", "tree.unheard")])
def test_an_overflow_and_a_fault_of_the_watcher_have_names_of_their_own(
    watched: Watched, cause: str, event: str
) -> None:
    watched.watcher._note_unheard(cause, "so it was")  # type: ignore[arg-type]
    assert watched.scan() == [event]
    assert watched.scan() == []
