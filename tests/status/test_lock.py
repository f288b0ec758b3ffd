"""One service on one state folder, and a crash leaves no lock behind."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from controller.model.errors import StateLocked, StateUnusable
from controller.status.lock import StateLock

HOLD = """
import sys
from pathlib import Path
from controller.status.lock import StateLock
StateLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_one_is_turned_away_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with StateLock(tmp_path), pytest.raises(StateLocked, match=rf"pid {os.getpid()}\b"):
        StateLock(tmp_path).acquire()


def test_it_can_be_taken_again_after_its_release(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    for _ in range(2):
        lock.acquire()
        lock.release()
    lock.release()
    with StateLock(tmp_path) as other:
        assert other.holder() == os.getpid()


def test_who_holds_it_can_be_asked_without_disturbing(tmp_path: Path) -> None:
    lock, asking = StateLock(tmp_path / "state"), StateLock(tmp_path / "state")
    assert asking.holder() is None
    assert not (tmp_path / "state").exists()
    with lock:
        assert asking.holder() == os.getpid()
        assert asking.holder() == os.getpid()
        with pytest.raises(StateLocked):
            asking.acquire()
    assert asking.holder() is None


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            assert StateLock(tmp_path).holder() == child.pid
            with pytest.raises(StateLocked, match=f"pid {child.pid}"):
                StateLock(tmp_path).acquire()
        finally:
            child.kill()
    assert StateLock(tmp_path).holder() is None
    with StateLock(tmp_path):
        pass


def test_folder_and_file_are_ours_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with StateLock(tmp_path / "state"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "lock").stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnusable):
        StateLock(tmp_path / "file").acquire()
