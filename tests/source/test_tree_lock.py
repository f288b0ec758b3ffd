"""One service on one apps tree: the lock is on the folder that is the root now, and on no other."""

from __future__ import annotations

import fcntl
import os
from contextlib import closing
from pathlib import Path

import pytest

from controller.manager import Manager
from controller.model.errors import StateLocked
from controller.settings import Settings
from controller.source.lock import TreeLock
from controller.source.root import MARKER, RootGuard
from controller.status.store import SqliteStore
from fakes.build import record


@pytest.mark.fault("A04")
def test_the_lock_follows_the_root_and_lets_go_of_the_one_before(tmp_path: Path) -> None:
    root, old = tmp_path / "apps", tmp_path / "apps.old"
    root.mkdir()
    with TreeLock(root) as lock:
        root.rename(old)
        lock.follow()  # there is none
        with TreeLock(old):
            pass
        root.mkdir()
        lock.follow()
        with pytest.raises(StateLocked, match="is kept by a running Homeport"):
            TreeLock(root).__enter__()
        lock.follow()
    with TreeLock(root):
        pass


@pytest.mark.fault("A05")
def test_who_let_go_takes_it_again_unless_another_has_it(tmp_path: Path) -> None:
    with TreeLock(tmp_path) as lock:
        lock.let_go()
        with TreeLock(tmp_path):
            assert "is kept by a running Homeport, pid" in lock.follow()
        assert lock.follow() == ""
        with pytest.raises(StateLocked):
            TreeLock(tmp_path).__enter__()


def guard(root: Path, lock: TreeLock, root_id: str | None = "ours") -> RootGuard:
    """Of a service that has one app on record, and knows its tree by this id."""
    return RootGuard(root, lambda: {"web"}, lambda: root_id, lambda _id: None, lock)


@pytest.mark.fault("A05")
@pytest.mark.parametrize("marker", ["theirs", ""])
def test_a_tree_is_neither_locked_nor_written_before_it_is_known_to_be_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marker: str
) -> None:
    if marker:
        (tmp_path / MARKER).write_text(marker)
    asked: list[int] = []
    flock = fcntl.flock

    def note(descriptor: int, operation: int) -> None:
        asked.append(operation)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", note)
    before = tmp_path.stat().st_mtime_ns
    with TreeLock(tmp_path) as lock:
        lock.let_go()
        asked.clear()
        lost, kept_by_other = guard(tmp_path, lock).look()
        assert lost
        assert not kept_by_other
        assert not lock.holds()
    assert not [operation for operation in asked if operation & fcntl.LOCK_EX]
    assert tmp_path.stat().st_mtime_ns == before
    assert [entry.name for entry in tmp_path.iterdir()] == ([MARKER] if marker else [])


@pytest.mark.fault("A05")
def test_of_a_tree_of_others_it_is_known_whether_a_homeport_keeps_it(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text("theirs")
    mine = TreeLock(tmp_path)
    with TreeLock(tmp_path) as theirs:
        lost, kept_by_other = guard(tmp_path, mine).look()
        assert kept_by_other
        assert "is kept by a running Homeport" in lost
        assert theirs.holds()
    assert guard(tmp_path, mine).look()[1] is False


def test_who_looks_at_a_tree_refuses_nobody_his_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look shares the lock for a moment: here until the owner has met it."""
    (tmp_path / MARKER).write_text("ours")
    flock = fcntl.flock
    for take in (lambda lock: lock.__enter__(), lambda lock: guard(tmp_path, lock).look()):
        looks = os.open(tmp_path, os.O_RDONLY)
        flock(looks, fcntl.LOCK_SH | fcntl.LOCK_NB)
        met: list[int] = []

        def meet(descriptor: int, operation: int, looks: int = looks, met: list[int] = met) -> None:
            try:
                flock(descriptor, operation)
            except BlockingIOError:
                met.append(operation)
                os.close(looks)
                raise

        monkeypatch.setattr(fcntl, "flock", meet)
        lock = TreeLock(tmp_path)
        take(lock)
        assert lock.holds()
        assert len(met) == 1
        lock.let_go()


def test_a_tree_that_somebody_shares_for_longer_than_a_look_is_kept(tmp_path: Path) -> None:
    looks = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(looks, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with pytest.raises(StateLocked, match="is kept"):
        TreeLock(tmp_path).__enter__()
    assert TreeLock(tmp_path).other() == ""
    os.close(looks)
    with TreeLock(tmp_path):
        pass


def test_a_tree_that_is_ours_is_locked_by_the_first_look(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text("ours")
    lock = TreeLock(tmp_path)
    assert guard(tmp_path, lock).look() == ("", False)
    assert lock.holds()
    lock.let_go()
    (tmp_path / MARKER).unlink()
    assert guard(tmp_path, lock, root_id=None).look() == ("", False)
    assert lock.holds()
    assert (tmp_path / MARKER).read_text().strip()
    lock.let_go()


def test_a_service_that_starts_is_refused_a_tree_that_another_keeps_and_leaves_one_that_is_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'none.sock'}")
    apps, state = tmp_path / "apps", tmp_path / "state"
    apps.mkdir()
    settings = Settings.load({"apps": apps, "state": state})
    with TreeLock(apps), pytest.raises(StateLocked, match="is kept by a running Homeport"):
        Manager(settings)
    with closing(Manager(settings)) as manager:
        manager.tree.census()
        with pytest.raises(StateLocked):
            TreeLock(apps).__enter__()
    with closing(SqliteStore(state)) as store:
        store.save(record("web"))
    (apps / MARKER).write_text("theirs")
    with closing(Manager(settings)) as manager:
        assert manager.tree.is_lost()
        with TreeLock(apps):
            pass
