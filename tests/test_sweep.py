"""What a sweep answers with: of an app's runs what was done, and what is still true at its end."""

from __future__ import annotations

from controller.model.plan import Action, Result
from controller.sweeps import still_true

DONE = Action("compose_up", "web")
RETRIED = Action("error", "web", "ApplyFailed: x", app="web")
TRIED_ONCE = Action("error", "web", "PullFailed: x", app="web", asked=True)


def test_an_error_that_a_later_run_got_over_is_not_told() -> None:
    assert still_true([("web", Result(actions=(RETRIED,))), ("web", Result("Ready", (DONE,)))]) == [DONE]
    assert still_true([("web", Result(actions=(RETRIED,))), ("db", Result("Ready"))]) == [RETRIED]


def test_the_error_of_what_is_tried_but_once_is_told_whatever_runs_follow() -> None:
    assert still_true([("web", Result(actions=(TRIED_ONCE,))), ("web", Result("Ready"))]) == [TRIED_ONCE]
