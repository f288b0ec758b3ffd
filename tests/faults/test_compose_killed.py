"""Compose is killed in the middle of an `up`, as the kernel does when memory runs out: the service goes on from there."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from controller.engine.observation import TEMPORARY
from rig.engine import children
from rig.service import Home
from rig.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.fault("E01")]

TIMES = 10
SLOW_SEEDS = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 21)]
"""With the first one they make 200 moments."""
LONGEST = 1.0  # seconds that an `up` of this app takes, about

# The second one takes its time to stop: most moments fall between the end of the old and the start of the new container.
TWO = """\
services:
  main:
    image: homeport/sample:1
    command: ["sleep", "100000"]
    init: true
    network_mode: none
    stop_grace_period: 0s
    environment: {EDIT: "@EDIT"}
  slow:
    image: homeport/sample:1
    command: ["sh", "-c", "trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.05; done"]
    network_mode: none
    stop_grace_period: 2s
    environment: {EDIT: "@EDIT"}
"""


@pytest.mark.parametrize("seed", [1, *SLOW_SEEDS])
def test_an_up_that_is_killed_at_any_moment_leaves_nobody_down_and_no_container_behind(
    home: Home, seed: int
) -> None:
    chance = random.Random(seed)
    home.put("by")
    folder = home.put("two", TWO.replace("@EDIT", "0"))
    home.start()
    home.wait("by", "Ready")
    home.wait("two", "Ready")
    bystander, killed = home.ids("by"), 0
    for edit in range(1, TIMES + 1):
        new = folder.with_name(".new")
        new.write_text(TWO.replace("@EDIT", str(edit)))
        new.replace(folder / "docker-compose.yaml")
        up = wait_until(lambda: ups(home), "Compose runs")[0]
        time.sleep(chance.uniform(0, LONGEST))  # the random moment itself
        with contextlib.suppress(ProcessLookupError):
            os.killpg(up, chance.choice((signal.SIGKILL, signal.SIGTERM)))
            killed += 1
        wait_until(lambda e=str(edit): edits(home) == [e, e], f"edit {edit} runs", 30)
        status = home.wait("two", "Ready")
        assert status["generation"] == status["observedGeneration"] == edit + 1
        containers = home.containers("two")
        assert sorted(containers) == [home.name("two-main-1"), home.name("two-slow-1")], edit
        assert all(c["State"]["Running"] for c in containers.values()), edit
        assert not any(TEMPORARY.match(name) for name in containers)
    assert killed >= TIMES // 2, "the moments fell into the time that an `up` takes"
    assert home.ids("by") == bystander
    assert not home.log("reconcile.crashed")


def edits(home: Home) -> list[str | None]:
    """What runs of each service."""
    return [home.env_of("two", service).get("EDIT") for service in ("main", "slow")]


def ups(home: Home) -> list[int]:
    """The processes that are a Compose which starts an app."""
    assert home.process is not None
    found = []
    for pid in children(home.process.pid):
        with contextlib.suppress(OSError):
            if b"\0up\0" in Path("/proc", str(pid), "cmdline").read_bytes():
                found.append(pid)
    return found


def test_a_compose_that_outlives_a_killed_service_and_the_next_service_do_not_spoil_each_others_work(
    home: Home,
) -> None:
    home.put("by")
    folder = home.put("two", TWO.replace("@EDIT", "0").replace("sleep 0.3; exit", "sleep 2; exit"))
    home.start()
    home.wait("by", "Ready")
    home.wait("two", "Ready")
    bystander = home.ids("by")
    for edit in range(1, 4):
        compose = (folder / "docker-compose.yaml").read_text()
        (folder / "docker-compose.yaml").write_text(compose.replace(f'EDIT: "{edit - 1}"', f'EDIT: "{edit}"'))
        (up,) = wait_until(lambda: ups(home), "Compose runs")
        home.kill9()
        home.start()
        wait_until(lambda e=str(edit): edits(home) == [e, e], f"edit {edit} runs", 60)
        status = home.wait("two", "Ready")
        assert status["generation"] == status["observedGeneration"] == edit + 1
        assert sorted(home.containers("two")) == [home.name("two-main-1"), home.name("two-slow-1")], edit
        assert not Path("/proc", str(up)).exists()
    assert home.ids("by") == bystander
    assert not home.failures()
