"""The engine dies, stops, freezes or fills up: nobody is left down by it, and nothing is made anew. On engines of their own."""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.engine import PrivateEngine, api, build_sample_image, children
from rig.pair import in_provider, put_consumer, put_provider
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
def make_engine(private_engine: PrivateEngine) -> Iterator[Callable[..., PrivateEngine]]:
    """Makes engines with options; the fixture it stands on skips where none can run."""
    private_engine.stop()
    made: list[PrivateEngine] = []

    def make(*options: str, pool_bits: int = 16) -> PrivateEngine:
        engine = PrivateEngine(options=options, pool_bits=pool_bits)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.stop()


def ready(home: Home, *shorts: str, timeout: float = 60) -> None:
    for short in shorts:
        wait_until(lambda s=short: running(home, s), f"{short} runs", timeout)
        home.wait(short, "Ready", timeout=timeout)


def running(home: Home, short: str) -> bool:
    containers = home.containers(short)
    return bool(containers) and all(c["State"]["Status"] == "running" for c in containers.values())


def created(home: Home) -> dict[str, str]:
    return {name: i.split("@")[0] for name, i in home.ids().items()}


def policy(name: str) -> str:
    return SLEEPER + f'    restart: "{name}"\n'


@pytest.mark.fault("D01")
def test_a_killed_engine_that_keeps_its_containers_running_costs_nobody_a_restart(
    make_engine: Callable[..., PrivateEngine], tmp_path: Path
) -> None:
    engine = make_engine("--live-restore").start()
    build_sample_image(engine.host)
    home = Home(tmp_path, engine.host, "l-")
    put_provider(home)
    put_consumer(home)
    home.put("plain", policy("unless-stopped"))
    home.start()
    try:
        ready(home, "db", "app", "plain")
        before, done = home.ids(), len(home.log("action.done"))
        engine.kill9()
        wait_until(lambda: home.log("engine.lost"), "it is said", 60)
        assert home.run("status").stdout.count("Unknown") >= 3
        engine.start()
        wait_until(lambda: home.log("engine.back"), "it is said", 60)
        home.run("reconcile")
        ready(home, "db", "app", "plain")
        assert home.ids() == before
        assert len(home.log("action.done")) == done
        assert in_provider(home, "cat", "/data/starts").count("\n") == 1, "the provider is the same run of it"
        assert len(home.log("engine.lost")) == 1, "one line for each change"
    finally:
        home.stop()


@pytest.mark.fault("D02")
def test_an_engine_that_is_stopped_and_started_three_times_brings_all_back_each_time(
    private_engine: PrivateEngine, tmp_path: Path
) -> None:
    home = Home(tmp_path, private_engine.host, "s-")
    for name in ("no", "always", "unless-stopped"):
        home.put(name, policy(name))
    put_provider(home)
    put_consumer(home)
    shorts = ("no", "always", "unless-stopped", "db", "app")
    home.start()
    try:
        ready(home, *shorts)
        before, volumes = created(home), home.run("volumes").stdout
        pid = home.process.pid if home.process else 0
        for turn in range(1, 4):
            private_engine.shut_down()
            wait_until(lambda n=turn: len(home.log("engine.lost")) == n, "it is said", 60)
            if turn == 2:
                (home.apps / home.name("no") / "docker-compose.yaml").write_text(
                    policy("no") + "    environment: {EDIT: '1'}\n"
                )
            private_engine.start()
            ready(home, *shorts)
        assert home.process is not None
        assert home.process.pid == pid, "the service itself did not end"
        assert home.env_of("no")["EDIT"] == "1", "what was edited meanwhile is not forgotten"
        edited = f"{home.name('no')}-main-1"
        assert {n: i for n, i in created(home).items() if n != edited} == {
            n: i for n, i in before.items() if n != edited
        }
        assert home.run("volumes").stdout == volumes
        assert in_provider(home, "cat", "/data/installs").count("\n") == 1
    finally:
        home.stop()


@pytest.mark.fault("D03")
def test_a_frozen_engine_holds_no_thread_and_all_goes_on_when_it_thaws(
    private_engine: PrivateEngine, tmp_path: Path
) -> None:
    home = Home(tmp_path, private_engine.host, "f-")
    home.settings["health-timeout"] = "1"  # so that an `up` has 31 s
    folder = home.put("web")
    home.put("other")
    home.start()
    try:
        ready(home, "web", "other")
        assert home.process is not None
        pid, before = home.process.pid, home.ids()
        tasks = len(list(Path(f"/proc/{pid}/task").iterdir()))
        private_engine.freeze()
        (folder / "docker-compose.yaml").write_text(SLEEPER + "    environment: {EDIT: '1'}\n")
        wait_until(lambda: home.log("engine.lost"), "it is said", 60)
        assert home.run("status", timeout=60).stdout.count("Unknown") == 2
        wait_until(lambda: not children(pid), "no compose waits beyond its deadline", 60)
        assert home.stop() == 0, "it can be stopped"
        home.start()
        assert home.process is not None
        pid = home.process.pid
        private_engine.thaw()
        ready(home, "web", "other")
        wait_until(lambda: home.env_of("web").get("EDIT") == "1", "the edit is done", 60)
        wait_until(
            lambda: len(list(Path(f"/proc/{pid}/task").iterdir())) <= tasks, "no thread is left behind", 30
        )
        after, name = home.ids(), f"{home.name('other')}-main-1"
        assert after[name] == before[name]
    finally:
        private_engine.thaw()
        home.stop()


@pytest.mark.fault("D04")
@pytest.mark.parametrize("seed", [1, 2])
def test_an_engine_that_restarts_in_the_middle_of_up_or_down_leaves_no_wreckage(
    private_engine: PrivateEngine, tmp_path: Path, seed: int
) -> None:
    home = Home(tmp_path, private_engine.host, "r-")
    chance = random.Random(seed)
    text = (
        SLEEPER + "    volumes: ['data:/data']\nvolumes: {data: {name: 'furtka_@web_data', external: true}}\n"
    )
    folder = home.put("web", text, volumes=["data"])
    home.put("other")
    text = text.replace("@", home.prefix)
    home.start()
    try:
        ready(home, "web", "other")
        other = created(home)[f"{home.name('other')}-main-1"]
        for number in range(6):
            begun = len(home.log("app.progressing", "web"))
            edit = f"    environment: {{EDIT: '{number}'}}\n    volumes:"
            (folder / "docker-compose.yaml").write_text(text.replace("    volumes:", edit, 1))
            wait_until(lambda n=begun: len(home.log("app.progressing", "web")) > n, "up begins", 60)
            time.sleep(chance.uniform(0.0, 0.8))  # the random moment itself
            private_engine.kill9() if number % 2 else private_engine.shut_down()
            private_engine.start()
            wait_until(lambda n=number: home.env_of("web").get("EDIT") == str(n), f"edit {number}", 60)
            ready(home, "web", "other")
            assert sorted(home.containers()) == [f"{home.name(s)}-main-1" for s in ("other", "web")]
        assert created(home)[f"{home.name('other')}-main-1"] == other
        for number in range(3):
            aside = home.apps.parent / "aside"
            folder.rename(aside)
            wait_until(lambda n=number: len(home.log("app.removing", "web")) > n, "down begins", 60)
            time.sleep(chance.uniform(0.0, 0.4))  # the random moment itself
            private_engine.kill9()
            private_engine.start()
            wait_until(lambda: home.status("web") is None, "it goes all the same", 60)
            assert not home.containers("web")
            aside.rename(folder)
            ready(home, "web", "other")
        with api(private_engine.host) as client:
            names = [n for c in client.containers(all=True) for n in c["Names"]]
            assert client.inspect_volume(f"furtka_{home.name('web')}_data")
        assert not [name for name in names if re.match(r"/[0-9a-f]{12}_", name)]
    finally:
        home.stop()


@pytest.mark.fault("D07")
def test_who_gets_no_network_says_how_to_get_one_and_goes_on_when_there_is_one(
    make_engine: Callable[..., PrivateEngine], tmp_path: Path
) -> None:
    engine = make_engine(pool_bits=24).start()  # four networks, one of them the bridge
    build_sample_image(engine.host)
    home = Home(tmp_path, engine.host, "n-")
    home.settings["backoff-base"] = "2"
    networked = SLEEPER.replace("    network_mode: none\n", "")
    shorts = [f"n{number}" for number in range(6)]
    for short in shorts:
        home.put(short, networked)
    home.start()
    try:
        wait_until(lambda: sum(running(home, s) for s in shorts) == 3, "three fit", 60)
        kept = [short for short in shorts if running(home, short)]
        without = [short for short in shorts if short not in kept]
        status = home.wait(without[0], "Failed")
        assert ready_of(status)["reason"] == "NoAddressPool"
        assert "/etc/docker/daemon.json" in ready_of(status)["message"]
        assert status["nextTryTime"]
        before = {short: home.ids(short) for short in kept}
        (home.apps / home.name(kept[0])).rename(tmp_path / "aside")
        wait_until(lambda: any(home.word(s) == "Ready" for s in without), "the next one has its room", 60)
        assert {short: home.ids(short) for short in kept[1:]} == {s: before[s] for s in kept[1:]}
    finally:
        home.stop()


@pytest.mark.fault("D08")
def test_a_full_disk_of_the_engine_stops_nobody_is_said_and_nothing_is_thrown_away_for_it(
    make_engine: Callable[..., PrivateEngine], tmp_path: Path
) -> None:
    engine = make_engine()
    data = engine.directory / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(data)], check=True)
    engine.start()
    build_sample_image(engine.host)
    home = Home(tmp_path, engine.host, "f-")
    folder = home.put("web")
    put_provider(home)
    home.start()
    try:
        ready(home, "web", "db")
        before = home.ids()
        with api(engine.host) as client:
            kept = sorted(i["Id"] for i in client.images()), [v["Name"] for v in client.volumes()["Volumes"]]
        ballast = data / "ballast"
        fill(ballast)
        home.put("new")
        status = home.wait("new", "Failed", timeout=60)
        assert ready_of(status)["reason"] == "DiskFull"
        assert "never `docker volume prune`" in ready_of(status)["message"]
        assert {n: i for n, i in home.ids().items() if home.name("new") not in n} == before
        with api(engine.host) as client:
            assert kept == (
                sorted(i["Id"] for i in client.images()), [v["Name"] for v in client.volumes()["Volumes"]]
            )  # fmt: skip
        (folder / "docker-compose.yaml").write_text(SLEEPER + "    environment: {EDIT: '1'}\n")
        wait_until(lambda: home.word("web") == "Failed", "an edit fails", 60)
        ballast.unlink()
        ready(home, "new", "web", "db")
        wait_until(lambda: home.env_of("web").get("EDIT") == "1", "and is done when there is room", 60)
        after = home.ids("db")
        assert after == {n: i for n, i in before.items() if n in after}
    finally:
        home.stop()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
