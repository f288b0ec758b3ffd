"""The way to the engine is bad: its socket, its event stream, single calls. A proxy in front of a real engine does it."""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.engine import api
from rig.proxy import EngineProxy
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

pytestmark = pytest.mark.engine


@pytest.fixture
def proxy(engine_host: str) -> Iterator[EngineProxy]:
    with tempfile.TemporaryDirectory(prefix="hpp-", dir="/tmp") as folder:
        proxy = EngineProxy(Path(folder) / "d.sock", engine_host)
        yield proxy
        proxy.close()


@pytest.fixture
def home(home: Home, proxy: EngineProxy) -> Home:
    """A home whose engine is behind the proxy."""
    home.engine = proxy.host
    return home


def kill(engine: str, container: str) -> None:
    with api(engine) as client:
        client.kill(container)


def open_files(home: Home) -> int:
    assert home.process is not None
    return len(list(Path(f"/proc/{home.process.pid}/fd").iterdir()))


def threads(home: Home) -> int:
    assert home.process is not None
    return len(list(Path(f"/proc/{home.process.pid}/task").iterdir()))


@pytest.mark.fault("D05")
def test_a_cut_event_stream_is_opened_again_and_nothing_of_it_is_left(home: Home, proxy: EngineProxy) -> None:
    home.put("web")
    home.put("other")
    home.start()
    for short in ("web", "other"):
        home.wait(short, "Ready")
    other = home.ids("other")
    wait_until(lambda: proxy.streams == 1, "it listens", 60)
    files, tasks, lines = open_files(home), threads(home), len(home.log())
    for _ in range(6):
        count = proxy.count
        assert proxy.cut(only_events=True) == 1
        wait_until(lambda n=count: proxy.streams == 1 and proxy.count > n, "it listens again", 60)
    assert len(home.log()) == lines, "the engine was never away: nothing is to be said"
    wait_until(lambda: open_files(home) <= files + 2 and threads(home) <= tasks, "nothing is left open", 60)

    proxy.cut(only_events=True)
    before = home.ids("web")
    kill(proxy.engine, f"{home.name('web')}-main-1")
    wait_until(lambda: home.ids("web") != before, "what happened while nobody listened is seen", 60)
    home.wait("web", "Ready")
    assert home.ids("other") == other


@pytest.mark.fault("D05")
def test_what_a_silent_event_stream_does_not_tell_is_found_by_the_next_resync(
    home: Home, proxy: EngineProxy
) -> None:
    home.settings["resync"] = "1.5"
    home.put("web")
    home.start()
    home.wait("web", "Ready")
    proxy.swallow_events = True
    before = home.ids("web")
    kill(proxy.engine, f"{home.name('web')}-main-1")
    wait_until(lambda: home.ids("web") != before, "it is found all the same", 60)
    home.wait("web", "Ready")


@pytest.mark.fault("D05")
def test_an_event_stream_that_says_nonsense_costs_one_connection(home: Home, proxy: EngineProxy) -> None:
    home.put("web")
    home.start()
    home.wait("web", "Ready")
    proxy.events_say = b'{"half": \n\xff\x00 no JSON\n'
    for _ in range(2):
        before = home.ids("web")
        kill(proxy.engine, f"{home.name('web')}-main-1")
        wait_until(lambda old=before: home.ids("web") not in (old, {}), "it is seen", 60)
        home.wait("web", "Ready")
    assert len(home.log("events.failed")) == 1, "it is told, once"


@pytest.mark.fault("D05")
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_whichever_calls_are_lost_the_apps_end_as_their_folders_say(
    home: Home, proxy: EngineProxy, seed: int
) -> None:
    chance = random.Random(seed)
    home.start()
    proxy.drop = lambda _number: chance.random() < 0.2
    folders = [home.put(f"n{number}") for number in range(3)]
    for folder in folders:
        (folder / "docker-compose.yaml").write_text(SLEEPER + f"    environment: {{EDIT: '{seed}'}}\n")
    for number in range(3):
        wait_until(
            lambda n=number: _without_drops(proxy, lambda: home.env_of(f"n{n}").get("EDIT")) == str(seed),
            f"n{number} is as edited",
            60,
        )
    proxy.drop = lambda _number: False
    for number in range(3):
        home.wait(f"n{number}", "Ready", timeout=60)
    assert sorted(home.containers()) == [f"{home.name(f'n{number}')}-main-1" for number in range(3)]


def _without_drops(proxy: EngineProxy, look: object) -> object:
    drop, proxy.drop = proxy.drop, lambda _number: False
    try:
        return look()  # type: ignore[operator]
    finally:
        proxy.drop = drop


@pytest.mark.fault("D06")
@pytest.mark.parametrize("how", ["is removed", "is left behind by a crash"])
def test_a_socket_that_goes_is_said_once_and_the_new_one_is_found_by_its_path(
    home: Home, proxy: EngineProxy, how: str
) -> None:
    folder = home.put("web")
    home.put("other")
    home.start()
    for short in ("web", "other"):
        home.wait(short, "Ready")
    other = home.ids("other")
    proxy.shut(keep_file=how != "is removed")
    wait_until(lambda: home.log("engine.lost"), "it is said", 60)
    (folder / "docker-compose.yaml").write_text(SLEEPER + "    environment: {EDIT: '1'}\n")
    (lost,) = home.log("engine.lost")
    assert proxy.host in lost["message"]
    status = home.run("status")
    assert "Unknown" in status.stdout
    proxy.listen()
    wait_until(lambda: home.log("engine.back"), "it is found", 60)
    wait_until(lambda: home.env_of("web").get("EDIT") == "1", "the edit of meanwhile is done", 60)
    home.wait("web", "Ready")
    assert home.ids("other") == other
    assert len(home.log("engine.lost")) == len(home.log("engine.back")) == 1


@pytest.mark.fault("D06")
def test_who_may_not_use_the_socket_is_told_how_to_get_leave(home: Home, proxy: EngineProxy) -> None:
    home.put("web")
    proxy.path.chmod(0o000)
    # Root without the right to pass over permissions, as a service of another user is.
    home.wrapper = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    home.start()
    (lost,) = wait_until(lambda: home.log("engine.lost"), "it is said", 60)
    doctor = subprocess.run(
        [*home.wrapper, home.python, "-m", "controller", "doctor"], env=home.environment(), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    for said in (lost["message"], doctor.stdout):
        assert proxy.host in said
        assert "usermod -aG" in said
    proxy.path.chmod(0o600)
    wait_until(lambda: home.log("engine.back"), "it is found", 60)
    home.wait("web", "Ready")
