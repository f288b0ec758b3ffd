"""The script that ends other scripts: found by their marker, whatever shell an image brings."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from controller.engine import hooks
from rig.waiting import wait_until

SHELLS = {"busybox": ["busybox", "sh"], "dash": ["dash"], "bash": ["bash"], "bash-posix": ["bash", "--posix"]}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    argv = SHELLS[request.param]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"there is no {argv[0]} here")
    return argv


@pytest.fixture
def marker() -> Iterator[str]:
    marker = uuid4().hex
    yield marker
    subprocess.run(
        ["sh", "-c", hooks._ENDER], env={"PATH": "/bin:/usr/bin", "HOMEPORT_END": marker}, check=True
    )


def test_it_ends_the_marked_and_their_children_and_nobody_else(shell: list[str], marker: str) -> None:
    path = {"PATH": "/bin:/usr/bin"}
    # A child without the marker in its environment stands for one whose environment cannot be read.
    script = "setsid sleep 605 & env -u HOMEPORT_HOOK sleep 605 & wait"
    marked = subprocess.Popen(
        ["sh", "-c", script], env={**path, hooks.MARKER: marker}, start_new_session=True
    )
    other = subprocess.Popen(["sleep", "606"], env={**path, hooks.MARKER: uuid4().hex})
    try:
        wait_until(lambda: len(_tree(marked.pid)) == 2, "the script has its children")
        children = _tree(marked.pid)
        ender = [*shell, "-c", hooks._ENDER]
        done = subprocess.run(
            ender, check=False, env={**path, "HOMEPORT_END": marker}, capture_output=True, timeout=60
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert marked.wait(5) == -9
        wait_until(lambda: not any(map(_runs, children)), "the children are gone")
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def _tree(pid: int) -> list[int]:
    try:
        names = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(n) for n in names if "605" in Path(f"/proc/{n}/cmdline").read_text().split("\0")]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
