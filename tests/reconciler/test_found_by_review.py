"""What reviews of the whole and the soak have found, each as the shortest story that shows it."""

from __future__ import annotations

from random import Random

from controller.model import effects as fx
from controller.model.observed import Bind, Service
from fakes.world import World


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


def test_consumers_hear_that_a_provider_behind_files_of_no_use_is_stable_again(world: World) -> None:
    """They heard it at the next resync only."""
    folder = world.put("db")
    world.put("api", requires=["db"])
    world.until_quiet()
    folder.broken = "is not JSON"
    world.queue.add("db", world.clock.monotonic())
    world.until_quiet()
    for _ in range(3):
        world.engine.crash("db", "main")
        world.queue.add("db", world.clock.monotonic())
        world.queue.add("api", world.clock.monotonic())
        world.rest()
    assert world.record("db").retries
    assert "has to be stable first" in world.message("api") or "db" in world.message("api")
    world.until_quiet(limit=120)
    assert (world.word("db"), world.word("api")) == ("Invalid", "Ready")
    assert world.record("db").unstable_since is None


def test_an_edit_that_is_made_while_a_hook_runs_is_a_generation_of_its_own(world: World) -> None:
    """It was taken in with what the hook gave, as if nobody had made it."""
    world.put("db")
    world.until_quiet()
    folder = world.put("api", requires=["db"])
    while "api" not in world.running or not isinstance(world.running["api"][1], fx.RunHook):
        assert world.step(Random(0))
    folder.compose += " edited"
    world.until_quiet()
    assert world.word("api") == "Ready"
    assert world.record("api").generation == 2
    assert world.installs == ["api"], "and the hook need not run again"
