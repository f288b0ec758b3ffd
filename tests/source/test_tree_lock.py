"""One service on one apps tree: the lock is on the folder that is the root now, and on no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.model.errors import StateLocked
from controller.source.lock import TreeLock


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
