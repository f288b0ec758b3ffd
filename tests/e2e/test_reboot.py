"""The engine, or the whole machine, starts anew: everything comes back in order and says what it waits for. And
one provider that fails is one cause, however many wait for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from rig.engine import PrivateEngine
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

SLOW = """\
services:
  main:
    image: homeport/sample:1
    command: ["sh", "-c", "touch /tmp/slow; rm -f /tmp/up; sleep 2; touch /tmp/up; exec sleep 100000"]
    init: true
    network_mode: none
    stop_grace_period: 0s
    restart: "@policy"
    healthcheck: {test: ["CMD", "test", "-e", "/tmp/up"], interval: 1s, retries: 30}
"""


def with_policy(compose: str, policy: str) -> str:
    return (
        compose.replace("@policy", policy) if "@policy" in compose else compose + f'    restart: "{policy}"\n'
    )


def put(home: Home, short: str, *providers: str, policy: str = "no", compose: str = SLEEPER) -> Path:
    requires = [{"app": home.name(p), "on_start": "scripts/start.sh"} for p in providers]
    files = {"scripts/start.sh": "[ ! -e /tmp/slow ] || [ -e /tmp/up ]\n"}  # it fails where it came too early
    return home.put(short, with_policy(compose, policy), files, requires=requires)


def lines_of(home: Home, since: int) -> list[tuple[str, str]]:
    return [(str(line.get("app", "")), line["event"]) for line in home.log()[since:]]


@pytest.mark.fault("D01")
@pytest.mark.parametrize("what", ["the machine", "the engine alone"])
def test_after_a_reboot_all_come_back_in_order_and_say_what_they_wait_for(
    private_engine: PrivateEngine, tmp_path: Path, what: str
) -> None:
    home = Home(tmp_path, private_engine.host, "b-")
    whole = what == "the machine"
    put(home, "db", policy="no" if whole else "always", compose=SLOW)
    put(home, "always", "db", policy="always")
    put(home, "never", "db", policy="no")
    put(home, "last", "never", policy="no")
    shorts = ("db", "always", "never", "last")
    home.start()
    try:
        for short in shorts:
            home.wait(short, "Ready")
        created = {name: i.split("@")[0] for name, i in home.ids().items()}
        lost = len(home.log("engine.lost"))
        private_engine.kill9()
        if whole:
            home.stop()
            lost = len(home.log("engine.lost"))
            home.start()
        wait_until(lambda: len(home.log("engine.lost")) > lost, "the log says so", 20)
        engine = home.run("status", "-o", "json")
        assert '"reachable": false' in engine.stdout
        assert engine.stdout.count('"Unknown"') >= len(shorts)

        since = len(home.log())
        private_engine.start()
        wait_until(lambda: home.log("engine.back")[-1:] or home.log("engine.connected"), "it is back", 30)
        seen: dict[str, set[str]] = {short: set() for short in shorts}

        def all_back() -> bool:
            hooks = {app for app, event in lines_of(home, since) if event == "hook.done"}
            for short in shorts:
                ready = ready_of(home.status(short) or {})
                seen[short].add(f"{ready['reason']}: {ready['message']}")
            return hooks == {home.name(s) for s in shorts[1:]} and {home.word(s) for s in shorts} == {"Ready"}

        wait_until(all_back, "everything is back", 40, interval=0.1)
        told = lines_of(home, since)
        for short in shorts[1:]:
            assert told.index((home.name(short), "hook.done")) < told.index((home.name(short), "app.ready"))
        assert told.index((home.name("never"), "action.done")) < told.index((home.name("last"), "hook.done"))
        for short, provider in (("always", "db"), ("never", "db"), ("last", "never")):
            assert any(
                text.startswith("DependencyNotReady: ") and home.name(provider) in text
                for text in seen[short]
            ), seen[short]
        assert {name: i.split("@")[0] for name, i in home.ids().items()} == created, "nothing was made anew"
        assert not home.failures()
    finally:
        home.stop()


# -- one cause --------------------------------------------------------------------------------------------


def parked(home: Home, short: str, word: str) -> dict[str, Any]:
    status = home.wait(short, word)
    assert (status["retries"], status["nextTryTime"]) == (0, None)
    return status


def quiet_for_a_while(home: Home, *shorts: str, seconds: float = 6) -> None:
    """While a provider is tried again and again, next to nothing is said of those that wait for it."""
    since = len(home.log())
    time.sleep(seconds)  # the rule is what is not said in it
    new = [line for line in home.log()[since:] if line.get("app") in {home.name(s) for s in shorts}]
    assert len(new) <= 4, new


CRASH = SLEEPER.replace('["sleep", "100000"]', '["sh", "-c", "sleep 0.3; exit 3"]')


def test_consumers_of_a_provider_that_cannot_start_wait_under_its_cause_and_go_on_in_order(
    home: Home,
) -> None:
    never_healthy = CRASH + '    healthcheck: {test: ["CMD", "false"], interval: 1s}\n'
    folder = put(home, "db", compose=never_healthy)
    put(home, "mid", "db")
    put(home, "end", "mid")
    home.start()
    home.wait("db", "Failed")
    for short in ("mid", "end"):
        ready = ready_of(parked(home, short, "Waiting"))
        assert ready["reason"] == "DependencyNotReady"
        assert f"waits for {home.name('db')}: " in ready["message"]
    quiet_for_a_while(home, "mid", "end")
    for short in ("mid", "end"):
        parked(home, short, "Waiting")
        assert not home.containers(short)
    (folder / "docker-compose.yaml").write_text(with_policy(SLEEPER, "no"))
    for short in ("db", "mid", "end"):
        home.wait(short, "Ready")
    told = lines_of(home, 0)
    firsts = [told.index((home.name(short), "app.ready")) for short in ("db", "mid", "end")]
    assert firsts == sorted(firsts)


@pytest.mark.fault("B10")
def test_consumers_of_a_provider_that_fails_later_run_on_degraded_under_its_cause(home: Home) -> None:
    folder = home.put("db", SLEEPER, {"scripts/start.sh": "true\n"}, rollback="never")
    put(home, "mid", "db")
    put(home, "end", "mid")
    home.start()
    for short in ("db", "mid", "end"):
        home.wait(short, "Ready")
    before = home.ids("mid") | home.ids("end")
    (folder / "docker-compose.yaml").write_text(CRASH)
    home.wait("db", "Failed")
    ready = ready_of(parked(home, "mid", "Degraded"))
    assert ready["reason"] == "DependencyNotReady"
    assert home.name("db") in ready["message"]
    quiet_for_a_while(home, "mid", "end")
    parked(home, "mid", "Degraded")
    assert home.ids("mid") | home.ids("end") == before
    (folder / "docker-compose.yaml").write_text(SLEEPER)
    for short in ("db", "mid", "end"):
        home.wait(short, "Ready")
    assert home.ids("mid") | home.ids("end") == before
