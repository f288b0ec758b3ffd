"""A sweep: what it looks at, and what it answers with: of an app's runs what was done, and what is still true at its end."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.clock import SystemClock
from controller.control.service import Waiter
from controller.manager import Manager, _all_as_wanted
from controller.model.errors import EngineUnreachable
from controller.model.plan import Action, Result
from controller.model.record import Quarantine, Verdict
from controller.parts import say_lost
from controller.settings import Settings
from controller.status.transition import transition
from controller.sweeps import Progress, StopSign, Sweep, still_true
from controller.workqueue import ExponentialBackoff, WorkQueue
from fakes.build import NOON, record, target
from rig.waiting import wait_until

DONE = Action("compose_up", "web")
RETRIED = Action("error", "web", "ApplyFailed: x", app="web")
TRIED_ONCE = Action("error", "web", "PullFailed: x", app="web", asked=True)


def test_an_error_that_a_later_run_got_over_is_not_told() -> None:
    assert still_true([("web", Result(actions=(RETRIED,))), ("web", Result("Ready", (DONE,)))]) == [DONE]
    assert still_true([("web", Result(actions=(RETRIED,))), ("db", Result("Ready"))]) == [RETRIED]


def test_the_error_of_what_is_tried_but_once_is_told_whatever_runs_follow() -> None:
    assert still_true([("web", Result(actions=(TRIED_ONCE,))), ("web", Result("Ready"))]) == [TRIED_ONCE]


def test_an_event_of_another_app_is_nothing_to_a_command_about_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    (tmp_path / "apps").mkdir()
    settings = Settings(apps=tmp_path / "apps", state=tmp_path / "state", workers=1)
    with closing(Manager(settings, lambda _event: None, service=False, only=("web",))) as manager:
        for app in ("web", "other"):
            manager.store.save(record(app))
            manager._engine_event(app)
        assert manager.queue.holds(["web"])
        assert not manager.queue.holds(["other"])


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """All parts on an apps tree, and none of them started."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    (tmp_path / "apps").mkdir()
    settings = Settings(apps=tmp_path / "apps", state=tmp_path / "state", workers=1)
    with closing(Manager(settings, lambda _event: None, service=False)) as manager:
        yield manager


def save(manager: Manager, name: str, word: str, **fields: Any) -> None:
    manager.store.save(transition(record(name, **fields), Verdict(word, word, "why"), NOON))


def test_run_once_is_fine_when_each_app_is_ready_or_as_a_person_said(idle: Manager) -> None:
    back = Quarantine(2, target(), "RolledBack", "a person went back", by_person=True)
    save(idle, "web", "Ready")
    save(idle, "halt", "Stopped", stopped=True)
    save(idle, "left", "Suspended", suspended=True)
    save(idle, "back", "RolledBack", quarantine=back)
    assert _all_as_wanted(idle)
    save(idle, "back", "RolledBack", quarantine=replace(back, by_person=False))
    assert not _all_as_wanted(idle), "an update failed, and nobody wanted that"


@pytest.mark.parametrize("word", ["Failed", "Waiting", "Degraded", "NeedsConfiguration", "Held"])
def test_run_once_is_1_for_an_app_that_is_neither(idle: Manager, word: str) -> None:
    save(idle, "web", "Ready")
    save(idle, "other", word)
    assert not _all_as_wanted(idle)


def test_a_tree_that_is_not_there_is_an_error_and_not_a_tree_without_apps(idle: Manager) -> None:
    assert _all_as_wanted(idle)
    assert say_lost(idle.tree) == ()
    shutil.rmtree(idle.settings.apps)
    (said,) = say_lost(idle.tree)
    assert (said.kind, "mkdir -p" in said.detail) == ("error", True)
    assert not _all_as_wanted(idle)


class Away:
    """An engine that is away, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def version(self) -> str:
        self.asked.append("version")
        raise EngineUnreachable("it is away")

    def ping(self) -> None:
        self.asked.append("ping")
        raise EngineUnreachable("it is away")


@pytest.mark.parametrize(("apps", "asked"), [((), ["ping"]), (("web",), ["version"])])
def test_a_sweep_over_everything_has_the_engine_start_no_program_to_say_that_it_is_there(
    idle: Manager, monkeypatch: pytest.MonkeyPatch, apps: tuple[str, ...], asked: list[str]
) -> None:
    """One over an app makes no list of all containers, which would find an engine that answers to a ping and to nothing else."""
    away = Away()
    monkeypatch.setattr(idle, "engine", away)
    with pytest.raises(EngineUnreachable):
        idle.sweep(apps, dry_run=False)
    assert away.asked == asked


# -- waiting --------------------------------------------------------------------------------------------------

READY, ON_ITS_WAY = Result("Ready"), Result("Progressing", pending=True)


class Waiting:
    """A sweep that waits in a thread of its own, and the queue that its apps are in."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.queue: WorkQueue[str] = WorkQueue(SystemClock(), ExponentialBackoff(0.01, 0.02))
        self.stopped = StopSign(self.progress.wake)
        self.wanted = Waiter()
        self.looks = threading.Semaphore(0)
        """Released each time that the sweep looks whether it is over."""
        self.timeouts: list[float | None] = []

    def run(self, app: str, result: Result) -> None:
        """A run of the app, as a worker has it."""
        self.queue.add(app)
        assert self.queue.get() == app
        self.progress.report(app, result)
        self.queue.done(app)
        self.progress.wake()

    def _over(self) -> bool:
        self.looks.release()
        return self.stopped.is_set() or not self.wanted()

    @contextmanager
    def sweep(self, apps: Iterable[str], *, everything: bool = False) -> Iterator[Sweep]:
        """One over these apps, which must have come to its end by the end of the block."""
        condition = self.progress._changed
        wait: Callable[[float | None], bool] = condition.wait

        def noted(timeout: float | None = None) -> bool:
            self.timeouts.append(timeout)
            return wait(timeout)

        condition.wait = noted  # type: ignore[method-assign]
        sweep = self.progress.begin()
        sweep.everything = everything

        def work() -> None:
            with self.wanted.waking(self.progress.wake):
                self.progress.wait(sweep, apps, self._over, self.queue.holds)

        waiting = threading.Thread(target=work, daemon=True)
        waiting.start()
        assert self.looks.acquire(timeout=10), "it has begun to wait"
        yield sweep
        waiting.join(10)
        assert not waiting.is_alive(), "nothing woke it"
        assert not [timeout for timeout in self.timeouts if timeout is not None], "it looks by the clock"

    def goes_on(self) -> bool:
        """It has looked since it was woken last, found that it is not over, and waits again."""
        waiters = vars(self.progress._changed)["_waiters"]  # emptied by each wake
        return wait_until(lambda: bool(waiters), "it waits again")


def test_a_sweep_is_over_with_the_run_that_brings_the_last_app_to_rest() -> None:
    waiting = Waiting()
    with waiting.sweep(("web", "db")):
        waiting.run("web", READY)
        waiting.run("db", ON_ITS_WAY)
        assert waiting.goes_on()
        waiting.run("db", READY)


def test_a_sweep_is_over_only_when_the_key_of_the_last_run_is_given_back() -> None:
    waiting = Waiting()
    with waiting.sweep(("web",)):
        waiting.queue.add("web")
        waiting.queue.get()
        waiting.queue.add("web")  # something happens to it meanwhile
        waiting.progress.report("web", READY)
        waiting.queue.done("web")
        waiting.progress.wake()
        assert waiting.queue.holds(["web"])
        assert waiting.goes_on()
        assert waiting.queue.get() == "web"
        waiting.progress.report("web", READY)
        waiting.queue.done("web")
        waiting.progress.wake()


def test_a_sweep_over_everything_waits_for_what_runs_meanwhile_and_one_over_an_app_does_not() -> None:
    waiting = Waiting()
    with waiting.sweep(("web",), everything=True) as sweep:
        waiting.run("db", ON_ITS_WAY)
        waiting.run("web", READY)
        assert waiting.goes_on()
        waiting.run("db", READY)
    assert sweep.apps == {"web", "db"}
    with waiting.sweep(("web",)) as sweep:
        waiting.run("db", ON_ITS_WAY)
        waiting.run("web", READY)
    assert sweep.apps == {"web"}


def test_what_ran_before_a_sweep_began_is_nothing_to_it() -> None:
    waiting = Waiting()
    other = waiting.progress.begin()
    waiting.run("web", READY)
    with waiting.sweep(("web",)) as sweep:
        assert waiting.goes_on()
        waiting.run("web", READY)
    assert [len(waiting.progress.end(one)) for one in (sweep, other)] == [1, 2]


def test_a_stop_ends_a_sweep_at_once() -> None:
    waiting = Waiting()
    with waiting.sweep(("web",)):
        waiting.stopped.set()


def test_a_client_that_hangs_up_ends_its_sweep_at_once() -> None:
    waiting = Waiting()
    with waiting.sweep(("web",)):
        waiting.wanted.end()
    assert not waiting.wanted()
