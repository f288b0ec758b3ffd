"""`homeport health`: what a supervisor may act on, and what a person has to mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

from controller.control.health import Check

Homeport = Callable[..., Result]


def test_health_is_1_only_for_what_a_restart_mends(homeport: Homeport, service: Any) -> None:
    fine = homeport("health")
    assert fine.exit_code == 0
    assert (
        fine.stdout == "ok   workers: fine\nfail engine: it does not answer. To mend it: `homeport doctor`\n"
    )
    service.alive = Check("workers", "1 of 8 workers have ended", "restart the service")
    ill = homeport("health", "-o", "json")
    assert ill.exit_code == 1
    assert json.loads(ill.stdout)["checks"][0] == {
        "name": "workers", "ok": False, "message": "1 of 8 workers have ended", "toDo": "restart the service",
    }  # fmt: skip


def test_health_of_a_service_that_does_not_run_is_3(homeport: Homeport, recorded: Path) -> None:
    assert homeport("health").exit_code == 3
