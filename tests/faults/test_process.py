"""What is done to the service's own process: signals, limits, a log that nobody reads, a second one beside it."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rig.bad_registry import BadRegistry
from rig.engine import api, children
from rig.pair import put_consumer, put_provider
from rig.service import SLEEPER, SLOW_UP, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

EDITED = SLEEPER + "    environment: {EDIT: '1'}\n"


def pid_of(home: Home) -> int:
    assert home.process is not None
    return home.process.pid


def zombies(pid: int) -> list[int]:
    return [c for c in children(pid) if b") Z " in Path(f"/proc/{c}/stat").read_bytes()]


# -- stopping -----------------------------------------------------------------------------------------------


@pytest.fixture
def registry() -> Iterator[BadRegistry]:
    registry = BadRegistry()
    yield registry
    registry.close()


@pytest.mark.fault("E02")
def test_a_service_that_stops_in_the_middle_of_a_pull_leaves_no_child_and_pulls_again_at_its_next_start(
    home: Home, registry: BadRegistry
) -> None:
    registry.status = 0  # the pull hangs
    home.settings["shutdown-grace"] = "0.2"
    home.put("web")
    home.start()
    home.wait("web", "Ready")
    before = home.ids("web")
    folder = home.apps / home.name("web")
    (folder / "docker-compose.yaml").write_text(
        SLEEPER.replace("homeport/sample:1", registry.reference("web:2"))
    )
    wait_until(lambda: registry.asked, "the pull is at work", 60)
    pid = pid_of(home)
    assert home.stop() == 0
    assert not children(pid)
    assert home.ids("web") == before
    asked = len(registry.asked)
    registry.status = 404
    home.start()
    wait_until(lambda: len(registry.asked) > asked, "it is tried again", 60)
    wait_until(lambda: home.word("web") == "Failed", "and told", 60)
    assert home.ids("web") == before


@pytest.mark.fault("E02")
@pytest.mark.slow
def test_a_stop_that_ends_in_a_kill_leaves_nothing_that_the_next_start_cannot_use(home: Home) -> None:
    """As a service manager does whose patience ends; the compose call that ran lives on for a while."""
    home.put("slow", SLOW_UP)
    home.put("other")
    home.start()
    home.wait("other", "Ready")
    wait_until(lambda: home.containers("slow"), "up is at work", 60)
    other, pid = home.ids("other"), pid_of(home)
    left = children(pid)
    os.kill(pid, signal.SIGTERM)
    home.kill9()
    home.start()
    home.wait("slow", "Ready", timeout=60)
    home.run("reconcile")
    names = [f"{home.name('slow')}-{service}-1" for service in ("first", "main")]
    assert sorted(home.containers("slow")) == names
    assert home.ids("other") == other
    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in left), "they have ended", 60)


@pytest.mark.fault("E02")
@pytest.mark.slow
def test_a_second_signal_ends_the_service_at_once(home: Home) -> None:
    home.put("slow", SLOW_UP)
    home.start()
    wait_until(lambda: home.containers("slow"), "up is at work", 60)
    pid = pid_of(home)
    left = children(pid)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: home.log("service.stopping"), "it is stopping", 60)
    assert home.stop(signal.SIGTERM, timeout=10) == 128 + signal.SIGTERM
    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in left), "they have ended", 60)
    home.start()
    home.wait("slow", "Ready", timeout=60)


# -- two services -------------------------------------------------------------------------------------------


@pytest.mark.fault("E03")
@pytest.mark.slow
def test_two_services_with_trees_of_their_own_live_on_one_engine_and_touch_nothing_of_each_other(
    home: Home, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    second = Home(tmp_path / "second", home.engine, home.prefix)
    home.put("mine")
    home.put("both")
    second.put("theirs")
    home.start()
    for short in ("mine", "both"):
        home.wait(short, "Ready")
    try:
        second.start()
        second.wait("theirs", "Ready")
        second.put("both", EDITED)
        assert ready_of(second.wait("both", "Invalid"))["reason"] == "NameConflict"
        before = home.ids()
        shutil.rmtree(second.apps / second.name("both"))
        wait_until(lambda: second.status("both") is None, "it goes there", 60)
        shutil.rmtree(second.apps / second.name("theirs"))
        wait_until(
            lambda: not home.containers("theirs"), "and with it its containers, where it was applied", 20
        )
        home.run("reconcile")
        gone = {name for name in before if home.name("theirs") in name}
        assert home.ids() == {name: i for name, i in before.items() if name not in gone}
        assert not home.status("theirs"), "what runs from another tree is no orphan of this one"
        assert {home.word("mine"), home.word("both")} == {"Ready"}
    finally:
        second.stop()


# -- frozen, limited -----------------------------------------------------------------------------------------


@pytest.mark.fault("E04")
@pytest.mark.slow
def test_a_service_that_was_frozen_does_what_it_missed_and_takes_no_time_for_a_time_out(home: Home) -> None:
    home.settings["health-timeout"] = "3"
    healthy = 'test: ["CMD", "test", "-e", "/tmp/up"], interval: 1s, retries: 30'
    starts = SLEEPER.replace(
        '["sleep", "100000"]', '["sh", "-c", "sleep 2; touch /tmp/up; exec sleep 100000"]'
    )
    folder = home.put("web")
    home.put("dies")
    home.put("other")
    home.start()
    for short in ("web", "dies", "other"):
        home.wait(short, "Ready")
    other, died = home.ids("other"), home.ids("dies")
    (folder / "docker-compose.yaml").write_text(starts + f"    healthcheck: {{{healthy}}}\n")
    wait_until(lambda: (home.status("web") or {})["observed"]["services"], "it is applied", 60)
    wait_until(
        lambda: home.word("web") == "Progressing" and home.log("action.done", "web")[1:], "it starts", 60
    )
    frozen = pid_of(home)
    os.kill(frozen, signal.SIGSTOP)
    try:
        with api(home.engine) as client:
            client.kill(f"{home.name('dies')}-main-1")
            look = lambda: client.inspect_container(f"{home.name('web')}-main-1")["State"]  # noqa: E731
            wait_until(lambda: look()["Health"]["Status"] == "healthy", "nobody sees that it is healthy", 60)
            started = look()["StartedAt"]
        wait_until(lambda: _age(started) > 5, "its time is over", 60)
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert home.wait("web", "Ready")["generation"] == 2
    assert not home.log("app.rolled_back")
    wait_until(lambda: home.ids("dies") not in (died, {}), "what died meanwhile is back", 60)
    home.wait("dies", "Ready")
    assert home.ids("other") == other


def _age(started: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(started[:19] + "+00:00")).total_seconds()


@pytest.mark.fault("E05")
def test_a_service_that_may_open_no_more_files_goes_on_when_it_may_again(home: Home) -> None:
    home.settings["resync"] = "1"
    folder = home.put("web")
    home.put("other")
    home.start()
    for short in ("web", "other"):
        home.wait(short, "Ready")
    before, pid = home.ids(), pid_of(home)
    free = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    lines = len(home.log())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, free[1]))
    (folder / "docker-compose.yaml").write_text(EDITED)
    wait_until(lambda: len(home.log()) > lines, "it is said", 60)
    assert not home.ended()
    assert home.ids() == before
    resource.prlimit(pid, resource.RLIMIT_NOFILE, free)
    wait_until(lambda: home.env_of("web").get("EDIT") == "1", "the edit is done", 60)
    for short in ("web", "other"):
        home.wait(short, "Ready")
    assert {n: i for n, i in home.ids().items() if home.name("other") in n} == {
        n: i for n, i in before.items() if home.name("other") in n
    }


@pytest.mark.fault("E05")
@pytest.mark.slow
def test_a_file_size_limit_tears_no_file_and_is_said(home: Home) -> None:
    put_provider(home)
    home.start()
    home.wait("db", "Ready")
    pid, free = pid_of(home), resource.prlimit(pid_of(home), resource.RLIMIT_FSIZE)
    db = home.ids("db")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (64, free[1]))
    try:
        put_consumer(home)
        home.put("web")
        home.run("reconcile", timeout=60)
        assert not home.ended(), "a write over the limit is an error and no signal"
        env = home.apps / home.name("app") / ".env"
        assert not env.exists() or env.read_text().endswith("\n")
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, free)
    for short in ("app", "web"):
        home.wait(short, "Ready", timeout=60)
    assert home.env_of("app")["USER_"] == home.name("app")
    assert home.ids("db") == db


# -- the log -------------------------------------------------------------------------------------------------


@pytest.mark.fault("E09")
def test_a_log_that_nobody_reads_stops_no_work_and_its_lost_lines_are_counted(home: Home) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    flags = [f"--{key}={value}" for key, value in home.settings.items()]
    home.process = subprocess.Popen(
        [home.python, "-m", "controller", "run", "--log-format=json", "--log-level=debug", *flags],
        env=home.environment(), stdin=subprocess.DEVNULL, stdout=write, stderr=write, start_new_session=True,
    )  # fmt: skip
    try:
        filler = b"x" * 4096
        wait_until(home.state.exists, "it runs", 60)
        os.set_blocking(write, False)  # the other end is ours alone from here on
        _fill(write, filler)
        os.set_blocking(write, True)
        folder = home.put("web")
        home.put("other")
        for short in ("web", "other"):
            wait_until(lambda s=short: home.word(s) == "Ready", f"{short} is Ready", 60)
        (folder / "docker-compose.yaml").write_text(EDITED)
        wait_until(lambda: home.env_of("web").get("EDIT") == "1", "it goes on working", 60)
        text = _drain(read)
        (folder / "docker-compose.yaml").write_text(SLEEPER)

        def told() -> bool:
            nonlocal text
            text += _drain(read)
            return b"log.lost" in text

        wait_until(told, "the lost lines are counted", 60)
        home.stop()
    finally:
        home.stop(signal.SIGKILL)
        os.close(read)
        os.close(write)


def _fill(write: int, filler: bytes) -> None:
    try:
        while True:
            os.write(write, filler)
    except BlockingIOError:
        return


def _drain(read: int) -> bytes:
    data = b""
    try:
        while more := os.read(read, 1 << 20):
            data += more
    except BlockingIOError:
        pass
    return data


@pytest.mark.fault("E09")
def test_a_full_log_disk_stops_no_work_and_its_lost_lines_are_counted(home: Home, tmp_path: Path) -> None:
    disk = tmp_path / "log"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], check=True)
    try:
        log = disk / "homeport.log"
        home.settings["log-file"] = str(log)
        home.log_file = log
        ballast = disk / "ballast"
        home.start()
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 512):
                    pass
            except OSError:
                pass
        folder = home.put("web")
        for number in range(5):  # more lines than fit into the log's last page
            home.put(f"n{number}")
        for short in ("web", *(f"n{number}" for number in range(5))):
            home.wait(short, "Ready", timeout=60)
        (folder / "docker-compose.yaml").write_text(EDITED)
        wait_until(lambda: home.env_of("web").get("EDIT") == "1", "it goes on working", 60)
        ballast.unlink()
        (folder / "docker-compose.yaml").write_text(SLEEPER)
        # Read as text: the line that met the end of the disk is torn.
        wait_until(lambda: '"event": "log.lost"' in log.read_text(), "the lost lines are counted", 60)
        home.wait("web", "Ready")
        assert home.stop() == 0
    finally:
        home.stop()
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


# -- for months ----------------------------------------------------------------------------------------------


@pytest.mark.fault("E10")
@pytest.mark.slow
def test_hooks_and_composes_by_the_dozen_leave_no_zombie_no_file_and_no_thread(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    home.start()
    home.wait("app", "Ready")
    pid = pid_of(home)
    folder = home.apps / home.name("app")
    text = (folder / "docker-compose.yaml").read_text()

    def counts() -> tuple[int, int]:
        return len(list(Path(f"/proc/{pid}/fd").iterdir())), len(list(Path(f"/proc/{pid}/task").iterdir()))

    def edit(number: int) -> None:
        (folder / "docker-compose.yaml").write_text(text.replace("{USER_", f"{{EDIT: '{number}', USER_"))
        with api(home.engine) as client:
            client.kill(f"{home.name('db')}-main-1")
        wait_until(lambda: home.env_of("app").get("EDIT") == str(number), f"edit {number}", 60)
        for short in ("db", "app"):
            wait_until(lambda s=short: home.word(s) == "Ready", f"{short} after edit {number}", 60)

    edit(0)
    files, threads = counts()
    for number in range(1, 16):
        edit(number)
    wait_until(
        lambda: counts()[0] <= files + 2 and counts()[1] <= threads, "files and threads are as before", 60
    )
    assert not zombies(pid)
