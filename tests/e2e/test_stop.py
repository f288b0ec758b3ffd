"""Stopping the service in the middle of something: nothing is torn, and the next start carries on."""

from __future__ import annotations

import ctypes
import platform
import signal
import time
from pathlib import Path

import pytest

from rig.engine import children
from rig.pair import hook_processes, put_consumer, put_provider
from rig.service import SLEEPER, SLOW_UP, Home
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

TGKILL = 234 if platform.machine() == "x86_64" else 131
"""The number of the system call, which the C library of old has no name for."""


@pytest.mark.fault("E02")
def test_a_running_up_is_given_its_time_and_the_next_start_carries_on(home: Home) -> None:
    home.put("slow", SLOW_UP)
    home.start()
    wait_until(lambda: home.containers("slow"), "up is at work")
    assert home.stop() == 0
    assert home.log("service.stopped")
    home.start()
    home.wait("slow", "Ready")
    assert sorted(home.containers("slow")) == [f"{home.name('slow')}-first-1", f"{home.name('slow')}-main-1"]


@pytest.mark.fault("E02")
def test_an_up_that_takes_longer_than_the_grace_is_ended_and_leaves_no_wreckage(home: Home) -> None:
    home.settings["shutdown-grace"] = "0.2"
    home.put("slow", SLOW_UP)
    home.start()
    wait_until(lambda: home.containers("slow"), "up is at work")
    assert home.process is not None
    pid = home.process.pid
    assert home.stop() == 0
    assert not children(pid)
    home.start()
    home.wait("slow", "Ready")
    assert sorted(home.containers("slow")) == [f"{home.name('slow')}-first-1", f"{home.name('slow')}-main-1"]


@pytest.mark.fault("E02")
def test_a_running_hook_is_ended_at_once(home: Home) -> None:
    put_provider(home, install="sleep 600\n")
    put_consumer(home)
    home.put("other", SLEEPER)
    home.start()
    home.wait("db", "Ready")
    wait_until(lambda: hook_processes(home), "the hook runs")
    began = time.monotonic()
    assert home.stop() == 0
    assert time.monotonic() - began < 20, "not its 300 seconds"
    wait_until(lambda: not hook_processes(home), "and is gone from the provider's container")


def test_a_signal_that_another_thread_takes_stops_the_service_all_the_same(home: Home) -> None:
    home.put("stay")
    home.start()
    home.wait("stay", "Ready")
    assert home.process is not None
    pid = home.process.pid
    main = Path("/proc", str(pid), "task", str(pid), "wchan")
    wait_until(
        lambda: home.run("status").returncode == 0 and "futex" in main.read_text(), "the main thread waits"
    )
    before = home.ids()
    threads = wait_until(
        lambda: [
            int(task.name) for task in Path("/proc", str(pid), "task").iterdir() if int(task.name) != pid
        ],
        "it has threads",
    )
    # The kernel may give a signal for the process to any of them.
    assert ctypes.CDLL(None).syscall(TGKILL, pid, threads[-1], int(signal.SIGTERM)) == 0
    try:
        assert home.process.wait(20) == 0
    finally:
        home.process.kill()
        home.process = None
    assert home.log("service.stopped")
    assert home.ids() == before
