"""What others, and what an interrupted start, left on the engine under our names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig.engine import SAMPLE_IMAGE, api
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.fault("D11")]

NETWORKED = SLEEPER.replace("    network_mode: none\n", "")


@pytest.fixture
def strangers(home: Home) -> Iterator[list[str]]:
    """Containers and networks that are nobody's app; removed at the end, before the engine is looked at."""
    names: list[str] = []
    yield names
    home.stop()
    with api(home.engine) as client:
        for container in client.containers(all=True):
            if any(name.startswith(f"/{home.prefix}") for name in container["Names"]):
                client.remove_container(container["Id"], force=True)
        for network in client.networks():
            if network["Name"] in names:
                client.remove_network(network["Id"])


def plant(home: Home, name: str, **more: object) -> str:
    """A container of somebody else's that runs; answers with its id."""
    with api(home.engine) as client:
        container = client.create_container(SAMPLE_IMAGE, ["sleep", "100000"], name=name, **more)
        client.start(container["Id"])
        return str(container["Id"])


def look(home: Home, identity: str) -> tuple[str, str]:
    with api(home.engine) as client:
        details = client.inspect_container(identity)
    return details["Name"], details["State"]["StartedAt"]


def test_a_strangers_container_of_our_name_is_named_and_left_alone(home: Home, strangers: list[str]) -> None:
    name = f"{home.name('web')}-main-1"
    strangers.append(name)
    theirs = plant(home, name)
    before = look(home, theirs)
    home.put("web")
    home.put("other")
    home.start()
    home.wait("other", "Ready")
    ready = ready_of(home.wait("web", "Failed"))
    assert name in ready["message"]
    assert look(home, theirs) == before
    with api(home.engine) as client:
        client.rename(theirs, f"{name}-theirs")
        strangers.append(f"{name}-theirs")
    home.wait("web", "Ready")
    assert look(home, theirs)[1] == before[1]


def test_a_strangers_network_of_our_name_is_used_and_left_where_it_is(
    home: Home, strangers: list[str]
) -> None:
    name = f"{home.name('web')}_default"
    strangers.append(name)
    with api(home.engine) as client:
        network = client.create_network(name)["Id"]
        guest = plant(home, home.name("guest"))
        client.connect_container_to_network(guest, network)
        before = look(home, guest)
        folder = home.put("web", NETWORKED)
        home.start()
        home.wait("web", "Ready")
        folder.rename(home.apps.parent / "aside")
        wait_until(lambda: home.status("web") is None, "it goes", 60)
        assert look(home, guest) == before
        assert list(client.inspect_network(network)["Containers"]) == [guest]


def test_of_two_networks_of_one_name_none_is_taken_and_it_is_said(home: Home, strangers: list[str]) -> None:
    name = f"{home.name('web')}_default"
    strangers.append(name)
    with api(home.engine) as client:
        networks = [client.create_network(name, check_duplicate=False)["Id"] for _ in range(2)]
        home.put("web", NETWORKED)
        home.put("other")
        home.start()
        home.wait("other", "Ready")
        assert name in ready_of(home.wait("web", "Failed"))["message"]
        client.remove_network(networks[0])
        home.wait("web", "Ready", timeout=60)
        assert client.inspect_network(networks[1])


def test_an_edit_of_a_network_on_which_a_stranger_hangs_stops_nothing_that_runs(
    home: Home, strangers: list[str]
) -> None:
    network = f"{home.name('web')}_default"
    folder = home.put("web", NETWORKED)
    home.start()
    home.wait("web", "Ready")
    strangers.append(home.name("guest"))
    guest = plant(home, home.name("guest"))
    with api(home.engine) as client:
        client.connect_container_to_network(guest, network)
    before, theirs = home.ids("web"), look(home, guest)
    (folder / "docker-compose.yaml").write_text(NETWORKED + "networks: {default: {labels: {new: '1'}}}\n")
    ready = ready_of(home.wait("web", "Failed", timeout=60))
    assert ready["reason"] == "PreflightFailed"
    assert f"container {home.name('guest')} on network {network}" in ready["message"]
    assert home.ids("web") == before
    assert look(home, guest) == theirs
    with api(home.engine) as client:
        client.disconnect_container_from_network(guest, network)
    wait_until(lambda: home.ids("web") not in (before, {}), "it is done when the stranger is gone", 60)
    home.wait("web", "Ready")
    with api(home.engine) as client:
        assert client.inspect_network(network)["Labels"]["new"] == "1"


def test_a_stranger_whom_our_removal_meets_keeps_its_network(home: Home, strangers: list[str]) -> None:
    network = f"{home.name('web')}_default"
    folder = home.put("web", NETWORKED)
    home.start()
    home.wait("web", "Ready")
    strangers += [home.name("guest"), network]
    guest = plant(home, home.name("guest"))
    with api(home.engine) as client:
        client.connect_container_to_network(guest, network)
    theirs = look(home, guest)
    folder.rename(home.apps.parent / "aside")
    wait_until(lambda: home.log("app.removed", "web") or home.word("web") == "Removing", "it goes", 60)
    wait_until(lambda: not home.containers("web"), "its containers go", 60)
    assert look(home, guest) == theirs
    with api(home.engine) as client:
        client.disconnect_container_from_network(guest, network)
    wait_until(lambda: home.status("web") is None, "it is gone", 60)
