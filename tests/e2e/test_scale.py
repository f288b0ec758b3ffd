"""Many apps at once, and nothing to do: who works how much."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rig.engine import PrivateEngine, api
from rig.process import children_reaped
from rig.service import Home
from rig.waiting import wait_until

pytestmark = pytest.mark.engine


def test_a_hundred_folders_dropped_at_once_are_all_ready_and_a_look_at_them_costs_nothing(
    private_engine: PrivateEngine, tmp_path: Path
) -> None:
    home = Home(tmp_path, private_engine.host, "h-")
    home.settings |= {"settle-new": "0", "workers": "4", "stable-after": "0.5"}
    home.start()
    try:
        assert home.process is not None
        names = [f"a{number:03}" for number in range(100)]
        for name in names:
            home.put(name)
        wait_until(lambda: len(home.log("app.ready")) >= 100, "all are Ready", 150, interval=0.5)
        assert {home.word(name) for name in names} == {"Ready"}
        assert len(home.containers()) == 100
        ups = [line for line in home.log("action.done") if line["kind"] == "compose_up"]
        assert len(ups) == 100, "each app was started once"
        # A run tells when it begins to act and when it has acted: counted together they say how many were at it.
        at_once = most = 0
        for line in home.log():
            at_once += {"app.progressing": 1, "action.done": -1}.get(line["event"], 0)
            most = max(most, at_once)
        assert most <= 4, "never more than there are workers"

        home.run("reconcile", timeout=120)
        before, children = home.ids(), children_reaped(home.process.pid)
        lines, start = len(home.log()), int(time.time())
        assert home.run("reconcile", timeout=120).returncode == 0
        assert children_reaped(home.process.pid) == children, "a look starts no child process"
        assert len(home.log()) == lines, "and has nothing to say"
        with api(home.engine) as client:
            events = list(client.events(since=start, until=int(time.time()) + 1, decode=True))
        assert [e["Action"] for e in events] == [], "and changes nothing on the engine"
        assert home.ids() == before

        assert home.stop() == 0
        lines = len(home.log())
        home.start()
        assert home.run("reconcile", timeout=120).returncode == 0
        said = {line["event"] for line in home.log()[lines:]}
        assert said == {"service.started", "service.watching"}, (
            "a start on a tree in which nothing changed has nothing else to say"
        )
        assert children_reaped(home.process.pid) == 0, "and starts no child process"
        assert home.ids() == before
        assert {home.word(name) for name in names} == {"Ready"}
    finally:
        home.stop()
