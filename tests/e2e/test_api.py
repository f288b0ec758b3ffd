"""The API of the real service on a real engine: what monitoring sees, what a script has done, what an idle one costs."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest

from controller.model import effects as fx
from controller.model.desired import Desired
from controller.model.effects import Host
from rig.http import answers, ask, connect
from rig.inside import service_in_this_process
from rig.service import SLEEPER, Home, free_port
from rig.waiting import wait_until

pytestmark = pytest.mark.engine


def value(text: bytes, series: str) -> float:
    """The value of one series of a scrape."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", text.decode(), re.MULTILINE)
    assert found, series
    return float(found[1])


def test_a_script_follows_and_steers_an_app_through_the_socket(home: Home) -> None:
    path = home.state / "homeport.sock"
    home.start()
    wait_until(lambda: answers(path), "it listens", 60)
    with connect(path, 60) as connection:
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        stream = connection.makefile("rb")
        home.put("web")
        name = home.name("web")
        words = []
        while "app.ready" not in words:
            line = stream.readline()
            assert line
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                assert event["app"] in ("", name)
                words.append(event["event"])
        assert words.index("app.discovered") < words.index("action.done")
        stream.close()
    home.wait("web", "Ready")  # told first, and then saved
    assert ask(path, "GET", f"/apps/{name}").json["summary"] == "Ready"
    stopped = ask(path, "POST", f"/apps/{name}/stop")
    assert (stopped.status, stopped.json["actions"][0]["kind"]) == (200, "stop")
    assert ask(path, "GET", f"/apps/{name}").json["summary"] == "Stopped"
    assert ask(path, "GET", f"/apps/{name}/why").json["chain"][0]["reason"] == "Stopped"
    assert ask(path, "POST", f"/apps/{name}/start").status == 200
    home.wait("web", "Ready")
    (current,) = ask(path, "GET", f"/apps/{name}/history").json["revisions"]
    assert current["current"]
    plan = ask(path, "POST", "/plan", {"apps": [name]}).json["plans"]
    assert plan == [{"app": name, "actions": []}]


def test_monitoring_sees_apps_runs_calls_and_hooks(home: Home) -> None:
    port = free_port()
    home.start(f"--listen-tcp=127.0.0.1:{port}")
    home.put("db", SLEEPER, {"scripts/ensure": "echo TOKEN_=abc\n"})
    home.put(
        "web",
        SLEEPER,
        requires=[{"app": home.name("db"), "on_install": "scripts/ensure"}],
    )
    home.wait("web", "Ready")
    assert ask(("127.0.0.1", port), "GET", "/readyz").status == 200
    assert ask(("127.0.0.1", port), "POST", "/reconcile").status == 403
    text = ask(("127.0.0.1", port), "GET", "/metrics").body
    assert value(text, 'homeport_apps{summary="Ready"}') == 2
    assert value(text, f'homeport_app_ready{{app="{home.name("web")}"}}') == 1
    assert value(text, 'homeport_hook_duration_seconds_count{hook="on_install",result="done"}') == 1
    assert value(text, 'homeport_engine_calls_total{call="apply"}') >= 2
    assert value(text, 'homeport_reconcile_total{result="success"}') >= 1
    assert value(text, 'workqueue_adds_total{name="apps"}') >= 2
    assert value(text, 'workqueue_work_duration_seconds_count{name="apps"}') >= 2
    assert value(text, 'workqueue_depth{name="apps"}') == 0
    for gauge in ("healthy", "ready", "engine_reachable", "tree_watched", "state_writable"):
        assert value(text, f"homeport_{gauge}") == 1, gauge
    assert abs(value(text, "homeport_last_resync_timestamp_seconds") - time.time()) < 600
    assert value(text, "process_resident_memory_bytes") > 1e7
    assert value(text, "homeport_engine_errors_total" + '{call="apply"}') == 0


def test_the_port_is_on_loopback_alone(home: Home) -> None:
    port = free_port()
    home.start(f"--listen-tcp=127.0.0.1:{port}")
    wait_until(lambda: answers(("127.0.0.1", port)), "it listens", 60)
    assert home.process is not None
    table = Path(f"/proc/{home.process.pid}/net/tcp").read_text().splitlines()[1:]
    found = [line.split()[1] for line in table if line.split()[3] == "0A"]
    assert [address for address in found if address.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def test_a_sweep_that_nobody_waits_for_leaves_nothing_behind(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.put("web")
    with service_in_this_process(home) as (manager, _told):
        home.wait("web", "Ready")
        name, goes_on, load = home.name("web"), threading.Event(), fx.Load.perform

        def hang(effect: fx.Load, host: Host) -> Desired:
            goes_on.wait(60)
            return load(effect, host)

        monkeypatch.setattr(fx.Load, "perform", hang)
        try:
            with connect(manager.settings.socket) as connection:
                connection.sendall(f"POST /apps/{name}/reconcile HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                wait_until(lambda: manager.progress._sweeps == 1, "it waits", 30)
            wait_until(lambda: manager.progress._sweeps == 0, "nobody waits", 30)
            wait_until(lambda: api_threads() == [], "its thread has ended", 30)
            assert manager.progress._log == []
        finally:
            goes_on.set()
        home.wait("web", "Ready")


def api_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("homeport-api-")]


def test_an_idle_api_is_woken_by_nothing(home: Home) -> None:
    with service_in_this_process(home, rescan="60") as (manager, _told):
        assert ask(manager.settings.socket, "GET", "/healthz").status == 200
        (api,) = (thread for thread in threading.enumerate() if thread.name == "homeport-api")
        assert manager.api is not None
        serving = manager.api._serving
        assert serving is not None
        assert serving._server is not None
        connections, loop = serving._server.server_state.connections, cast("Any", serving._loop)
        wait_until(lambda: not connections and not api_threads(), "nobody asks any more", 30)
        # The loop is asked to come round before what it has put off is looked at: it has no more to do then.
        wait_until(lambda: serving.comes_round(1.0) and not timers(loop), "it waits for no time", 30)
        # A machine under load takes its time until the thread sleeps; one that sleeps is not woken by any load.
        wait_until(lambda: sleeps_through(api.native_id, 3.0), "nothing wakes it", 30)
        assert not timers(loop)


def timers(loop: Any) -> list[Any]:
    """What the loop will do at some time."""
    return [timer for timer in tuple(loop._scheduled) if not timer.cancelled()]


def sleeps_through(thread: int | None, seconds: float) -> bool:
    before = switches(thread)
    time.sleep(seconds)
    return switches(thread) == before


def switches(thread: int | None) -> int:
    status = Path(f"/proc/self/task/{thread}/status").read_text()
    return sum(
        int(count) for count in re.findall(r"^voluntary_ctxt_switches:\s+(\d+)$", status, re.MULTILINE)
    )
