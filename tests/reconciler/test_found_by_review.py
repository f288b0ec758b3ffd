"""What reviews of the whole and the soak have found, each as the shortest story that shows it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.model.observed import Bind, Service
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


def test_what_is_down_when_a_mounted_file_is_edited_has_not_died_of_the_edit(world: World) -> None:
    """Soak, seed 41: the engine was restarted, a mounted file was edited meanwhile, and the edit was taken back."""
    bind = Bind("/apps/web/app.conf", "/app.conf", True)
    folder = world.put("web", Service("main", "h1", "image:1", binds=(bind,)))
    folder.mounted = {"app.conf": b"one"}
    world.until_quiet()
    world.clock.advance(60)
    world.resync()
    world.until_quiet()
    world.engine.kill("web", "main")
    folder.mounted = {"app.conf": b"two"}
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet()
    assert world.word("web") == "Ready", world.message("web")
    assert "app.failed" not in world.told("web")
