"""A sweep: what it looks at, and what it answers with: of an app's runs what was done, and what is still true at its end."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from controller.manager import Manager
from controller.model.plan import Action, Result
from controller.settings import Settings
from controller.sweeps import still_true
from fakes.build import record

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
