"""People at work with `docker` on containers, networks and images of apps: what runs is brought back, others are left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rig.engine import api
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.fault("D10")]

NETWORKED = SLEEPER.replace("    network_mode: none\n", "")


@pytest.fixture
def home(home: Home) -> Home:
    home.put("web", NETWORKED)
    home.put("other")
    home.start()
    for short in ("web", "other"):
        home.wait(short, "Ready")
    return home


def disconnect(client: Any, name: str) -> None:
    client.disconnect_container_from_network(name, name.replace("-main-1", "_default"), force=True)


def rename_away(client: Any, name: str) -> None:
    client.rename(name, f"{name}-old")
    client.kill(f"{name}-old")


WAYS: dict[str, Callable[[Any, str], object]] = {
    "stopped": lambda client, name: client.stop(name, timeout=1),
    "off its network": disconnect,
    "renamed and killed": rename_away,
}


@pytest.mark.parametrize("how", WAYS)
def test_a_container_that_was_changed_by_hand_is_as_it_was_soon_after(home: Home, how: str) -> None:
    other, name = home.ids("other"), f"{home.name('web')}-main-1"
    with api(home.engine) as client:
        WAYS[how](client, name)

    def as_it_was() -> bool:
        containers = list(home.containers("web").values())
        if [c["State"]["Status"] for c in containers] != ["running"]:
            return False
        return set(containers[0]["NetworkSettings"]["Networks"]) == {f"{home.name('web')}_default"}

    wait_until(as_it_was, f"as it was, after it was {how}", 60)
    home.wait("web", "Ready")
    assert home.ids("other") == other


def test_who_pauses_a_container_is_let_and_told_how_to_take_it_back(home: Home) -> None:
    name = f"{home.name('web')}-main-1"
    before = home.ids()
    with api(home.engine) as client:
        client.pause(name)
        ready = ready_of(home.wait("web", "Degraded"))
        assert (ready["reason"], ready["message"]) == ("Paused", "service main: container is paused")
        assert f"docker unpause {name}" in home.run("why", home.name("web")).stdout
        home.run("reconcile")
        assert home.containers("web")[name]["State"]["Paused"], "a backup may want its files to stand still"
        client.unpause(name)
    home.wait("web", "Ready")
    assert home.ids() == before
    assert not home.failures()


def test_what_is_held_by_a_person_is_shown_and_left(home: Home) -> None:
    """An image that runs cannot be taken away; its name can, and a restart policy is the engine's word for later."""
    before = home.ids()
    name = f"{home.name('web')}-main-1"
    with api(home.engine) as client:
        client.update_container(name, restart_policy={"Name": "always"})
    home.run("reconcile")
    assert home.word("web") == "Ready"
    assert home.ids() == before


def test_a_container_that_is_killed_for_its_memory_is_brought_back_each_time(home: Home) -> None:
    hungry = NETWORKED.replace('["sleep", "100000"]', '["sh", "-c", "sleep 0.3; exec tail /dev/zero"]')
    home.put("hungry", hungry + "    mem_limit: 16m\n")

    def repairs() -> int:
        return sum("container exited (137)" in line["message"] for line in home.log("action.done", "hungry"))

    wait_until(lambda: repairs() >= 2, "it is started again, and it is said why", 60)
    assert {home.word("web"), home.word("other")} == {"Ready"}
