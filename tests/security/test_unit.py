"""The systemd unit: as closed as the service's work allows, by a figure that the documentation states."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rig.programs import find_program
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "homeport.service"
WORST = 2.5
"""Of 10; what `systemd-analyze security` says of a unit without any of it is 9.6."""
PR_SET_MDWE = 65
# Takes from itself and all children, for good, what MemoryDenyWriteExecute= takes, and becomes the service.
STRICTLY = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.fault("H06")
def test_the_exposure_of_the_unit_is_what_the_documentation_says() -> None:
    program = find_program("systemd-analyze", "systemd")
    said = subprocess.run(
        [str(program), "security", "--offline=yes", "--no-pager", str(UNIT)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if "unrecognized option" in said.stderr:
        pytest.skip("this systemd-analyze cannot judge a unit that is not installed (it can since 250)")
    found = re.search(r"Overall exposure level for homeport\.service: ([\d.]+)", said.stdout)
    assert found, said.stdout + said.stderr
    # Another systemd may count a little differently; worse than this it must not be.
    assert float(found[1]) <= WORST
    assert f"**{WORST}**" in (ROOT / "docs" / "security.md").read_text()


@pytest.mark.parametrize("dropin", ["", "homeport-user.conf"])
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, dropin: str) -> None:
    program = find_program("systemd-analyze", "systemd")
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub("^ExecStart=.*$", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    if dropin:
        (tmp_path / f"{unit.name}.d").mkdir()
        (tmp_path / f"{unit.name}.d" / dropin).write_text((UNIT.parent / dropin).read_text())
    said = subprocess.run(
        [str(program), "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # A unit of the machine's may be wrong as well; that is not ours to say.
    assert [line for line in said.stderr.splitlines() if str(tmp_path) in line or "homeport" in line] == []


def test_the_unit_names_what_the_service_cannot_do_without() -> None:
    text = UNIT.read_text()
    for line in ("Type=notify", "WatchdogSec=60", "KillMode=mixed",
                 "TimeoutStopSec=45", "UMask=0077", "NoNewPrivileges=yes", "ProtectSystem=strict",
                 "MemoryDenyWriteExecute=yes", "ReadWritePaths=/var/lib/homeport", "SystemCallFilter=@chown"):  # fmt: skip
        assert f"\n{line}\n" in text


@pytest.mark.engine
@pytest.mark.fault("H06")
def test_the_service_does_all_its_work_without_memory_that_is_written_and_executed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel's own form of the unit's setting: `ctypes`, the watcher, SQLite and Compose have to get along with it.
    if ctypes.CDLL(None).prctl(PR_SET_MDWE + 1, 0, 0, 0, 0) < 0:
        pytest.skip("this kernel cannot take it away (it can since 6.3)")
    python = home.state.parent / "python"
    python.write_text(f"#!{sys.executable}\n{STRICTLY}")
    python.chmod(0o755)
    folder = home.put("web", SLEEPER, {".env.example": "A=1\n"})
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(python))
        home.start()
    home.wait("web", "Ready", timeout=60)
    assert home.process is not None
    before = home.ids("web")
    (folder / "docker-compose.yaml").write_text(SLEEPER + "    environment: {NEW: '1'}\n")
    wait_until(
        lambda: home.env_of("web").get("NEW") == "1", "the watcher saw the edit, and it was applied", 30
    )
    home.wait("web", "Ready", timeout=60)
    assert home.ids("web") != before
    assert not home.log("tree.unwatched")
    assert home.stop() == 0
