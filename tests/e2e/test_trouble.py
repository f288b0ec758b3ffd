"""What goes wrong around the apps: containers, the service, the engine, the tree. On a real engine."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rig.engine import PrivateEngine, api
from rig.pair import in_provider, put_consumer, put_provider
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine


@pytest.mark.fault("D10")
def test_a_container_removed_stopped_or_killed_is_brought_back(home: Home) -> None:
    home.start()
    home.put("heal")
    home.wait("heal", "Ready")
    name = f"{home.name('heal')}-main-1"

    def running() -> bool:
        return any(c["State"]["Running"] for c in home.containers("heal").values())

    for trouble in ("remove", "stop", "kill"):
        home.wait("heal", "Ready")
        before = home.ids("heal")
        with api(home.engine) as client:
            if trouble == "remove":
                client.remove_container(name, force=True)
            elif trouble == "stop":
                client.stop(name, timeout=1)
            else:
                client.kill(name)
        wait_until(lambda old=before: running() and home.ids("heal") != old, f"back after {trouble}", 10)
        home.wait("heal", "Ready")
    assert home.log("app.drift", "heal")


@pytest.mark.fault("B04")
def test_a_container_that_dies_at_once_goes_through_the_backoff(home: Home) -> None:
    home.settings["stable-after"] = "3"
    home.start()
    home.put("crash", SLEEPER.replace('["sleep", "100000"]', '["sh", "-c", "sleep 0.2; exit 3"]'))
    status = home.wait("crash", "Failed")
    assert ready_of(status)["reason"] in ("ContainerExited", "CrashLooping"), "a first end is no loop"
    assert "(3)" in ready_of(status)["message"]
    assert status["nextTryTime"]
    wait_until(lambda: (home.status("crash") or {})["retries"] >= 3, "it is tried again")
    assert ready_of(home.status("crash") or {})["reason"] == "CrashLooping"
    tries = [line["retry_in"] for line in home.log("app.failed", "crash")]
    assert all(delay >= 0 for delay in tries)
    folder = home.apps / home.name("crash")
    (folder / "docker-compose.yaml").write_text(SLEEPER)
    home.wait("crash", "Ready")


def test_a_build_that_fails_is_tried_again_and_again_and_leaves_no_container(home: Home) -> None:
    def there() -> list[str]:
        with api(home.engine) as client:
            found = client.containers(all=True, filters={"label": f"of={home.prefix}"})
        return [name for container in found for name in container["Names"]]

    files = {
        "Dockerfile": "FROM homeport/sample:1\nLABEL of=@\nCOPY setup.sh /\nRUN sh /setup.sh\n",
        "setup.sh": "cat /no/such/dir; exit 3\n",
    }
    folder = home.put("built", SLEEPER.replace("image: homeport/sample:1", "build: ."), files)
    home.start()
    wait_until(lambda: (home.status("built") or {}).get("retries", 0) >= 3, "it is tried again")
    for told in (home.run("events").stdout, ready_of(home.wait("built", "Failed"))["message"]):
        assert "the build said last: cat: can't open '/no/such/dir': No such file or directory" in told
    (folder / "setup.sh").write_text("echo mended\n")
    home.wait("built", "Ready")
    assert home.log("app.failed", "built")
    assert there() == [f"/{home.name('built')}-main-1"]


def test_a_crash_loop_of_the_engine_s_is_told_once_and_keeps_what_the_last_end_was(home: Home) -> None:
    home.settings["stable-after"] = "2"
    home.start()
    healthy = SLEEPER + "    restart: unless-stopped\n"
    folder = home.put("loop", healthy)
    home.wait("loop", "Ready")
    wait_until(lambda: home.good("loop"), "it is a good one", 10)
    crashing = '["sh", "-c", "sleep 3; echo out of memory; exit 9"]'
    (folder / "docker-compose.yaml").write_text(healthy.replace('["sleep", "100000"]', crashing))

    def crash_looping() -> bool:
        return ready_of(home.status("loop") or {})["reason"] == "CrashLooping"

    # Taken back it would be at its third restart: that it is good by then is what this is about.
    wait_until(
        lambda: (home.status("loop") or {})["generation"] == 2 and home.good("loop"), "it was stable", 10
    )
    wait_until(crash_looping, "it is told as a loop", 20)
    begun, seen = len(home.log(short="loop")), []
    until = time.monotonic() + 25
    while time.monotonic() < until:
        status = home.status("loop") or {}
        seen.append((status["summary"], ready_of(status)["reason"], status["sinceTime"]))
        message = ready_of(status)["message"]
        assert "restarts again and again (exit 9, " in message
        assert message.endswith("; main said last: out of memory")
        time.sleep(0.1)  # looks at it all the while
    assert set(seen) == {seen[0]}, "it is Degraded all the while"
    told = [line["event"] for line in home.log(short="loop")[begun:]]
    assert told == ["app.degraded"] * len(told)
    assert 1 <= len(told) <= 3, "a line each time that the number of ends has doubled"
    (folder / "docker-compose.yaml").write_text(healthy)
    home.wait("loop", "Ready")


@pytest.mark.fault("E01")
def test_kill_9_of_the_service_at_random_moments_ends_in_the_same_state(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    home.put("alone")
    chance = random.Random(20)
    for _ in range(6):
        home.start()
        time.sleep(chance.uniform(0.0, 1.2))  # the random moment itself
        home.kill9()
    home.start()
    for short in ("db", "app", "alone"):
        home.wait(short, "Ready", timeout=30)
    assert home.env_of("app")["USER_"] == home.name("app")
    assert sorted(home.containers()) == sorted(f"{home.name(s)}-main-1" for s in ("db", "app", "alone"))
    assert 1 <= in_provider(home, "cat", "/data/installs").count("\n") <= 7, (
        "at most once more for each crash"
    )


@pytest.mark.fault("E02")
def test_stopping_the_service_stops_no_app_and_starting_it_changes_nothing(home: Home) -> None:
    home.start()
    home.put("stay")
    home.wait("stay", "Ready")
    before, actions = home.ids("stay"), len(home.log("action.done"))
    assert home.stop(signal.SIGINT) == 0
    assert home.ids("stay") == before
    assert home.log("service.stopped")
    home.start()
    home.run("reconcile")
    assert home.ids("stay") == before
    assert len(home.log("action.done")) == actions
    assert home.stop(signal.SIGTERM) == 0


@pytest.mark.fault("E03")
def test_a_second_service_on_the_same_state_says_who_holds_it(home: Home) -> None:
    home.start()
    assert home.process is not None
    second = home.run("run")
    assert second.returncode == 3
    assert str(home.process.pid) in second.stderr


@pytest.mark.fault("E03")
def test_a_second_service_on_the_same_tree_is_refused_whatever_its_state(home: Home) -> None:
    home.start()
    assert home.process is not None
    second = home.run("run", f"--state={home.state}-2")
    assert second.returncode == 3
    assert str(home.process.pid) in second.stderr


def test_a_sidecar_follows_the_container_whose_network_it_shares(home: Home) -> None:
    compose = (
        SLEEPER
        + """\
  side:
    image: homeport/sample:1
    command: ["sleep", "100000"]
    init: true
    network_mode: service:main
    stop_grace_period: 0s
"""
    )
    home.start()
    home.put("pair", compose)
    home.wait("pair", "Ready")
    main, side = f"{home.name('pair')}-main-1", f"{home.name('pair')}-side-1"

    def together() -> bool:
        containers = home.containers("pair")
        if set(containers) != {main, side} or not all(c["State"]["Running"] for c in containers.values()):
            return False
        mode = containers[side]["HostConfig"]["NetworkMode"]
        started = (containers[side]["State"]["StartedAt"], containers[main]["State"]["StartedAt"])
        return mode == f"container:{containers[main]['Id']}" and started[0] > started[1]

    assert together()
    for how in ("remove", "restart"):
        before = home.ids("pair")
        with api(home.engine) as client:
            client.remove_container(main, force=True) if how == "remove" else client.restart(main, timeout=1)
        wait_until(lambda old=before: home.ids("pair")[side] != old[side] if together() else False, how, 15)
        home.wait("pair", "Ready")


@pytest.mark.fault("F03")
def test_a_lost_state_changes_nothing_that_runs(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    home.start()
    home.wait("app", "Ready")
    before = home.ids()
    home.stop()
    shutil.rmtree(home.state)
    home.start()
    home.wait("app", "Ready")
    assert home.ids() == before
    assert in_provider(home, "cat", "/data/installs").count("\n") == 1


@pytest.mark.fault("G03")
@pytest.mark.parametrize("how", ["renamed away", "emptied", "emptied but for its marker"])
@pytest.mark.fault("A05")
def test_a_root_that_is_lost_stops_nothing(home: Home, how: str) -> None:
    home.settings["removal-settle"] = "2"
    home.settings["rescan"] = "0.3"
    home.put("one")
    home.put("two")
    home.start()
    home.wait("one", "Ready")
    home.wait("two", "Ready")
    before = home.ids()
    aside = home.apps.parent / "aside"
    if how == "renamed away":
        home.apps.rename(aside)
    else:
        shutil.copytree(home.apps, aside)
        for entry in home.apps.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif how == "emptied":
                entry.unlink()
    wait_until(lambda: home.log("tree.lost"), "the log says so")
    home.run("reconcile", timeout=30)
    time.sleep(3)  # well past the removal quiet period: the rule is that nothing happens in it
    assert home.ids() == before
    if how == "renamed away":
        aside.rename(home.apps)
    else:
        for entry in aside.iterdir():
            (shutil.copytree if entry.is_dir() else shutil.copy2)(entry, home.apps / entry.name)
    wait_until(lambda: home.log("tree.back"), "the log says so")
    home.wait("one", "Ready")
    home.wait("two", "Ready")
    assert home.ids() == before


@pytest.mark.fault("G03")
def test_many_folders_that_vanish_are_held_until_a_person_lets_them_go(home: Home) -> None:
    for number in range(6):
        home.put(f"n{number}")
    home.start()
    for number in range(6):
        home.wait(f"n{number}", "Ready")
    before = home.ids()
    for number in range(4):
        shutil.rmtree(home.apps / home.name(f"n{number}"))
    for number in range(4):
        home.wait(f"n{number}", "Held")
    assert home.ids() == before
    assert home.log("removal.held")
    listed = home.run("prune")
    assert all(home.name(f"n{number}") in listed.stdout for number in range(4))
    assert home.run("prune", "--approve").returncode == 0
    wait_until(lambda: len(home.containers()) == 2, "exactly these are removed")
    assert sorted(home.containers()) == [f"{home.name(f'n{number}')}-main-1" for number in (4, 5)]


@pytest.mark.fault("D01")
def test_the_engine_killed_and_started_again_is_all_ready_with_no_hand(
    private_engine: PrivateEngine, tmp_path: Path
) -> None:
    home = Home(tmp_path, private_engine.host, "k-")
    put_provider(home)
    put_consumer(home)
    home.put("alone")
    home.start()
    try:
        for short in ("db", "app", "alone"):
            home.wait(short, "Ready")
        private_engine.kill9()
        wait_until(lambda: home.log("engine.lost"), "the log says so", 20)
        private_engine.start()
        wait_until(lambda: home.log("engine.back"), "the log says so", 30)
        for short in ("db", "app", "alone"):
            wait_until(
                lambda s=short: all(c["State"]["Running"] for c in home.containers(s).values()),
                f"{short} runs",
                30,
            )
            home.wait(short, "Ready", timeout=30)
    finally:
        home.stop()


@pytest.mark.fault("B08")
@pytest.mark.fault("D11")
def test_a_foreign_project_of_the_same_name_is_left_alone(home: Home, tmp_path: Path) -> None:
    elsewhere = home.put("twin", into=tmp_path)
    compose = elsewhere / "docker-compose.yaml"
    binary = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    assert binary is not None
    subprocess.run(
        [binary, "-p", home.name("twin"), "--project-directory", str(elsewhere), "-f", str(compose), "up", "-d"],
        env=home.environment(), check=True, capture_output=True,
    )  # fmt: skip
    before = home.ids("twin")
    home.put("twin")
    home.start()
    status = home.wait("twin", "Invalid")
    assert ready_of(status)["reason"] == "NameConflict"
    assert str(elsewhere) in ready_of(status)["message"]
    assert home.ids("twin") == before


@pytest.mark.fault("B05")
def test_a_host_port_that_is_held_is_found_before_anything_is_touched(home: Home) -> None:
    home.start()
    compose = SLEEPER.replace("    network_mode: none\n", "    environment: {V: '1'}\n")
    folder = home.put("port", compose)
    home.wait("port", "Ready")
    before = home.ids("port")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        (folder / "docker-compose.yaml").write_text(compose + f"    ports: ['127.0.0.1:{port}:80']\n")
        status = home.wait("port", "Failed")
        assert ready_of(status)["reason"] == "PreflightFailed"
        assert str(port) in ready_of(status)["message"]
        assert home.ids("port") == before
    home.wait("port", "Ready")
