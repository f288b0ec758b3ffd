"""A registry that refuses, fails or hangs: what runs is untouched, the status has its words, nobody else waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig.bad_registry import BadRegistry
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.fault("D09")]


@pytest.fixture
def registry() -> Iterator[BadRegistry]:
    registry = BadRegistry()
    yield registry
    registry.close()


def edit_to(home: Home, short: str, image: str) -> None:
    compose = home.apps / home.name(short) / "docker-compose.yaml"
    compose.write_text(SLEEPER.replace("homeport/sample:1", image))


SAYS = {429: "toomanyrequests", 401: "docker login", 500: "500"}


@pytest.mark.parametrize("status", SAYS)
def test_a_registry_that_refuses_is_quoted_and_asked_again_only_when_it_is_time(
    home: Home, registry: BadRegistry, status: int
) -> None:
    registry.status = status
    home.settings["backoff-base"], home.settings["backoff-max"] = "30", "30"
    home.put("web")
    home.start()
    home.wait("web", "Ready")
    before = home.ids()
    edit_to(home, "web", registry.reference("web:2"))
    told = home.wait("web", "Failed", timeout=60)
    ready = ready_of(told)
    assert ready["reason"] == "PullFailed"
    assert registry.reference("web:2") in ready["message"]
    assert SAYS[status] in ready["message"].lower()
    assert told["nextTryTime"]
    asked = len(registry.asked)
    home.put("other")
    home.wait("other", "Ready")
    tries = len(home.log("app.failed", "web")) + 1
    assert len(registry.asked) <= asked * tries, "nobody asks but in a try of which it was told when it comes"
    assert {name: i for name, i in home.ids().items() if name in before} == before


def test_a_registry_that_hangs_delays_nobody_else(home: Home, registry: BadRegistry) -> None:
    registry.status = 0
    home.settings["shutdown-grace"] = "0.2"
    home.put("web")
    home.start()
    home.wait("web", "Ready")
    before = home.ids()
    edit_to(home, "web", registry.reference("web:2"))
    wait_until(lambda: registry.asked, "the pull is at work", 60)
    home.put("other")
    home.wait("other", "Ready")
    assert registry.reference("web:2") in ready_of(home.wait("web", "Progressing"))["message"]
    assert {name: i for name, i in home.ids().items() if name in before} == before
    edit_to(home, "web", "homeport/sample:1")
    registry.status = 500
    home.wait("web", "Ready", timeout=60)
    assert {name: i for name, i in home.ids().items() if name in before} == before
