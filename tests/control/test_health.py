"""Health as a function of facts: what only a restart mends is unhealthy, what it cannot mend is not ready."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from controller.control.health import (
    LONGEST_SCAN,
    LONGEST_STEP,
    LONGEST_STOP,
    Facts,
    Health,
    Step,
    judge,
    to_document,
)

THREADS = ("queue timer", "engine events", "scanner", "watcher", "API")
FINE = Facts(
    started=True, stopping=False, threads=dict.fromkeys(THREADS, True), workers=8, workers_missing=0, steps=(),
    scan_seconds=0.0, engine="", tree="", state="",
)  # fmt: skip


def wrong(health: Health) -> list[str]:
    return [check.name for check in (*health.alive, *health.able) if not check.ok]


def test_nothing_wrong_is_healthy_and_ready() -> None:
    health = judge(FINE)
    assert (health.healthy, health.ready, wrong(health)) == (True, True, [])


@pytest.mark.parametrize("name", THREADS)
def test_a_thread_that_has_ended_is_unhealthy_and_named(name: str) -> None:
    health = judge(replace(FINE, threads={**FINE.threads, name: False}))
    assert (health.healthy, health.ready, wrong(health)) == (False, False, [name])
    (check,) = (check for check in health.alive if not check.ok)
    assert name in check.message
    assert "restart" in check.to_do


def test_a_thread_that_is_only_late_is_said_to_be_late() -> None:
    health = judge(replace(FINE, late={"API": 20.0}))
    assert (health.healthy, wrong(health)) == (False, ["API"])
    assert health.trouble == "API: the API runs, but did not come round within 20 s"


def test_what_is_wrong_is_said_in_one_line() -> None:
    assert judge(replace(FINE, engine="it is away")).trouble == ""
    trouble = judge(replace(FINE, workers_missing=1, threads={"scanner": False})).trouble
    assert trouble == "workers: 1 of 8 workers have ended; scanner: the thread of the scanner has ended"


def test_one_missing_worker_is_unhealthy() -> None:
    health = judge(replace(FINE, workers_missing=1))
    assert (health.healthy, wrong(health)) == (False, ["workers"])


@pytest.mark.parametrize(
    ("longest", "seconds", "healthy"),
    [
        (0.0, LONGEST_STEP, True),
        (0.0, LONGEST_STEP + 1, False),
        (330.0, LONGEST_STEP + 1, False),
        (7200.0, LONGEST_STEP + 1, True),  # an app that says that it takes two hours to become healthy
        (7200.0, 10000.0, True),
        (7200.0, 14401.0, False),
        (math.inf, 6 * LONGEST_STEP, True),  # containers that are given hours to end
        (math.inf, LONGEST_STOP + 1, False),
    ],
)
def test_a_step_far_over_every_deadline_is_unhealthy(longest: float, seconds: float, healthy: bool) -> None:
    health = judge(
        replace(FINE, steps=(Step("web", "Pull", 1.0, 0.0), Step("db", "Apply", seconds, longest)))
    )
    assert health.healthy is healthy
    if not healthy:
        (check,) = (check for check in health.alive if not check.ok)
        assert "db: Apply" in check.message
        assert "web" not in check.message


def test_a_scan_that_does_not_end_is_unhealthy() -> None:
    assert judge(replace(FINE, scan_seconds=LONGEST_SCAN)).healthy
    assert not judge(replace(FINE, scan_seconds=LONGEST_SCAN + 1)).healthy


@pytest.mark.parametrize("what", ["engine", "tree", "state"])
def test_what_a_restart_cannot_mend_is_healthy_and_not_ready(what: str) -> None:
    trouble: Any = {what: "it is away"}
    health = judge(replace(FINE, **trouble))
    assert (health.healthy, health.ready, wrong(health)) == (True, False, [what])


@pytest.mark.parametrize("moment", [{"started": False}, {"stopping": True}])
def test_before_the_start_and_at_the_stop_no_thread_is_missed(moment: dict[str, Any]) -> None:
    gone = replace(FINE, threads=dict.fromkeys(THREADS, False), workers_missing=8, **moment)
    health = judge(gone)
    assert (health.healthy, health.ready, wrong(health)) == (True, False, ["service"])


def test_the_document_names_each_check_and_what_to_do() -> None:
    health = judge(replace(FINE, engine="no answer"))
    document = to_document((*health.alive, *health.able), "not ready")
    assert document["status"] == "not ready"
    (engine,) = (check for check in document["checks"] if check["name"] == "engine")
    assert engine == {
        "name": "engine", "ok": False, "message": "no answer", "toDo": "`homeport doctor`; what runs goes on running",
    }  # fmt: skip
    assert [check["ok"] for check in document["checks"]].count(False) == 1
