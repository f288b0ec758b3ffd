"""What of the records counts as trouble, and whose it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.model.facts import ROLLBACK, STOPPED
from controller.model.observed import Service
from controller.notify.sight import Sight, see
from fakes.world import World


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        yield made


def sight(world: World, app: str) -> Sight:
    return see(world.store.records())[app]


def test_an_app_that_is_ready_or_waits_for_its_first_start_is_no_trouble(world: World) -> None:
    world.put("web")
    world.put("shop", requires=["nobody"])
    world.until_quiet()
    assert sight(world, "web") == Sight("Ready")
    waiting = sight(world, "shop")
    assert (waiting.word, waiting.trouble, waiting.root, waiting.root_word) == (
        "Waiting",
        False,
        "nobody",
        "Missing",
    )


def test_one_that_fails_is_trouble_and_who_waits_for_it_names_it(world: World) -> None:
    world.engine.behaviour["db", "main"] = "crash"
    world.put("db")
    world.put("web", requires=["db"])
    world.put("shop", requires=["web"])
    for _ in range(3):
        world.rest()
        world.clock.advance(5)
        world.engine_moves()
    failed = sight(world, "db")
    assert (failed.word, failed.trouble, failed.root) == ("Failed", True, "")
    assert failed.message
    for consumer in ("web", "shop"):
        waits = sight(world, consumer)
        assert (waits.word, waits.trouble, waits.root, waits.root_word) == ("Waiting", False, "db", "Failed")


def test_one_that_runs_without_its_provider_is_trouble_at_the_providers_root(world: World) -> None:
    world.put("db")
    world.put("web", requires=["db"])
    world.until_quiet()
    world.store.put(STOPPED + "db", "1")
    world.queue.add("db", world.clock.monotonic())
    world.until_quiet(limit=60)
    degraded = sight(world, "web")
    assert (degraded.word, degraded.trouble, degraded.root, degraded.root_word) == (
        "Degraded",
        True,
        "db",
        "Stopped",
    )
    assert not sight(world, "db").trouble, "somebody wants it so"


def test_one_that_somebody_paused_is_no_trouble(world: World) -> None:
    world.put("web")
    world.until_quiet()
    world.engine.pause("web", "main")
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    seen = sight(world, "web")
    assert (seen.word, seen.reason, seen.trouble) == ("Degraded", "Paused", False)


@pytest.mark.parametrize("applied", [False, True])
def test_invalid_files_are_trouble_once_the_app_has_run(world: World, applied: bool) -> None:
    folder = world.put("web")
    if applied:
        world.until_quiet()
    folder.broken = "not YAML"
    folder.compose += "."
    world.resync()
    world.until_quiet()
    assert (sight(world, "web").word, sight(world, "web").trouble) == ("Invalid", applied)


def test_a_rollback_that_a_person_asked_for_is_no_trouble(world: World) -> None:
    folder = world.put("web", Service("main", "h1", "image:1"))
    world.until_quiet()
    world.engine.models["web"] = (Service("main", "h2", "image:1"),)
    folder.compose += "."
    world.resync()
    world.until_quiet()
    world.store.put(ROLLBACK + "web", "")
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet()
    assert (sight(world, "web").word, sight(world, "web").trouble) == ("RolledBack", False)
