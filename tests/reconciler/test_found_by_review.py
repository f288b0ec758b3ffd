"""What reviews of the whole have found, each as the shortest story that shows it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.model.observed import Service
from fakes.world import World


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        yield made


def test_a_leap_of_the_clock_is_not_forgotten_when_the_first_look_after_it_finds_no_engine(
    world: World,
) -> None:
    """A machine slept, and its engine is not quite awake: the update that was on its way was taken back."""
    world.put("web", Service("main", "h1", "image:1", has_healthcheck=True))
    world.until_quiet()
    world.clock.advance(60)
    world.resync()
    world.until_quiet()
    world.put("web", Service("main", "h2", "image:1", has_healthcheck=True))
    world.rest()
    assert world.word("web") == "Progressing"
    world.clock.offset += 3600.0
    world.engine.down()
    world.resync()
    world.rest()
    world.engine.up()
    world.resync()
    world.rest()
    assert world.word("web") == "Progressing", world.message("web")


def test_a_service_of_which_no_container_is_wanted_takes_no_port(world: World) -> None:
    """Blue and green publish one port, and one of them has no replicas."""
    port = (("", 8080, "tcp"),)
    blue, green = (
        Service("blue", "h1", "image:1", ports=port),
        Service("green", "h2", "image:1", ports=port, scale=0),
    )
    world.put("web", blue, green)
    world.until_quiet(limit=60)
    assert world.running_services("web") == ["blue"], world.message("web")
