"""The service tells the truth about itself: each of its threads is ended for real, and /healthz says which."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controller.manager import Manager
from controller.model import effects as fx
from controller.model.effects import Host
from controller.settings import Settings
from rig.http import ask
from rig.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
"""These threads end by an exception that nobody catches, on purpose."""


class Gone(BaseException):
    """Ends the thread in which it is raised."""


def end(*_arguments: Any, **_named: Any) -> Any:
    raise Gone


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """The whole service with two apps and no engine."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    (tmp_path / "apps" / "web").mkdir(parents=True)
    settings = Settings(apps=tmp_path / "apps", state=tmp_path / "state", workers=2)
    with closing(Manager(settings, lambda _event: None)) as manager:
        try:
            manager.start()
            assert manager.api is not None
            assert manager.api.comes_round(30), "a busy machine may need longer for it than who asks waits"
            yield manager
        finally:
            manager.stop()


def health(manager: Manager) -> tuple[int, dict[str, Any]]:
    """What /healthz answers: the status, and the checks that fail, with what they say."""
    answer = ask(manager.settings.socket, "GET", "/healthz")
    checks = answer.json["checks"]
    assert answer.json["status"] == ("healthy" if answer.status == 200 else "unhealthy")
    return answer.status, {check["name"]: check for check in checks if not check["ok"]}


def end_worker(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager.queue, "done", end)
    manager.queue.add("web")


def end_timer(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager.queue._state, "tick", end)
    manager.queue.add_after("web", 0.01)


def end_events(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager.engine_events._backoff, "when", end)


def end_scanner(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    assert manager.ticker is not None
    monkeypatch.setattr(manager.ticker, "_put_off", end)
    manager.ticker.poke()


def end_watcher(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    assert manager.watcher is not None
    assert manager.watcher._reader is not None
    manager.watcher._reader.stop()


@pytest.mark.parametrize(
    ("name", "kill"),
    [
        ("workers", end_worker),
        ("queue timer", end_timer),
        ("engine events", end_events),
        ("scanner", end_scanner),
        ("watcher", end_watcher),
    ],
)
def test_a_thread_that_ends_makes_healthz_fail_and_is_named(
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kill: Callable[[Manager, pytest.MonkeyPatch], None],
) -> None:
    assert health(manager) == (200, {})
    with monkeypatch.context() as broken:
        kill(manager, broken)
        wait_until(lambda: health(manager)[0] == 503, f"{name} is missed", 30)
        _status, failed = health(manager)
    assert set(failed) == {name}
    assert "restart the service" in failed[name]["toDo"]
    assert ask(manager.settings.socket, "GET", "/readyz").status == 503
    assert not manager.health().healthy


def test_an_api_whose_thread_has_ended_is_unhealthy(manager: Manager) -> None:
    api = manager.api
    assert api is not None
    assert manager.health().healthy
    assert api._serving is not None
    assert api._serving._loop is not None
    api._serving._call(api._serving._loop.stop)
    wait_until(lambda: not manager.health().healthy, "the API is missed", 30)
    (check,) = (check for check in manager.health().alive if not check.ok)
    assert check.name == "API"


def test_an_api_whose_loop_hangs_is_unhealthy(manager: Manager) -> None:
    api, goes_on = manager.api, threading.Event()
    assert api is not None
    assert api._serving is not None
    assert manager.health().healthy
    assert api._serving._call(lambda: goes_on.wait(30))
    try:
        assert manager.health().trouble == "API: the API runs, but did not come round within 1 s"
    finally:
        goes_on.set()
    assert manager.health(30.0).healthy


def test_a_watchdog_waits_longer_for_a_busy_loop_than_who_asks(manager: Manager) -> None:
    api, goes_on = manager.api, threading.Event()
    assert api is not None
    assert api._serving is not None
    assert api._serving._call(lambda: goes_on.wait(30))
    try:
        assert not manager.health().healthy
        threading.Timer(0.5, goes_on.set).start()
        assert manager.health(20.0).healthy
    finally:
        goes_on.set()


def test_a_worker_that_is_stuck_is_told_with_its_app_and_step(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.control.health.LONGEST_STEP", 0.2)
    entered, goes_on = threading.Event(), threading.Event()
    perform = fx.ReadFact.perform

    def stuck(effect: fx.ReadFact, host: Host) -> Any:
        entered.set()
        goes_on.wait(60)
        return perform(effect, host)

    monkeypatch.setattr(fx.ReadFact, "perform", stuck)
    manager.queue.add("web")
    try:
        assert entered.wait(10)
        wait_until(lambda: health(manager)[0] == 503, "it is told", 30)
        assert "web: ReadFact has been under way for" in health(manager)[1]["steps"]["message"]
    finally:
        goes_on.set()
    wait_until(lambda: health(manager) == (200, {}), "it is over", 30)


def test_without_an_engine_the_service_is_healthy_and_not_ready(manager: Manager) -> None:
    assert health(manager) == (200, {})
    ready = ask(manager.settings.socket, "GET", "/readyz")
    assert (ready.status, ready.json["status"]) == (503, "not ready")
    failed = {check["name"]: check["message"] for check in ready.json["checks"] if not check["ok"]}
    assert set(failed) == {"engine"}
    assert "engine cannot be reached" in failed["engine"]


def test_a_lost_tree_is_healthy_and_not_ready(manager: Manager) -> None:
    aside = manager.settings.apps.with_name("aside")
    manager.settings.apps.rename(aside)
    assert manager.ticker is not None
    manager.ticker.poke()

    def failed() -> set[str]:
        checks = ask(manager.settings.socket, "GET", "/readyz").json["checks"]
        return {check["name"] for check in checks if not check["ok"]}

    wait_until(lambda: "tree" in failed(), "the tree is missed", 30)
    assert health(manager)[0] == 200
    aside.rename(manager.settings.apps)
    manager.ticker.poke()
    wait_until(lambda: "tree" not in failed(), "it is back", 30)


def test_a_service_that_has_not_started_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    (tmp_path / "apps").mkdir()
    settings = Settings(apps=tmp_path / "apps", state=tmp_path / "state")
    with closing(Manager(settings, lambda _event: None)) as manager:
        health = manager.health()
    assert health.healthy
    assert not health.ready
