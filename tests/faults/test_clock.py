"""The wall clock leaps, as on a machine without a battery for it or one that slept: nobody is out of time by that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from controller.model.errors import AppError
from controller.model.observed import Service
from fakes.clock import SteppedClock
from fakes.world import World

pytestmark = pytest.mark.fault("E06")

YEAR = 365 * 24 * 3600.0
LEAPS = {"an hour ahead": 3600.0, "a year ahead": YEAR, "an hour back": -3600.0, "a year back": -YEAR}


class Leaping(SteppedClock):
    ahead = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        world.clock = world.tree.clock = world.engine.clock = Leaping()
        world.boot()
        yield world


def leap(world: World, seconds: float) -> None:
    assert isinstance(world.clock, Leaping)
    world.clock.ahead += seconds


@pytest.mark.parametrize("how", LEAPS)
def test_what_runs_is_left_alone(world: World, how: str) -> None:
    world.put("web")
    world.until_quiet()
    world.clock.advance(60)
    world.resync()
    world.until_quiet()
    done = list(world.engine.mutations)
    leap(world, LEAPS[how])
    world.resync()
    world.until_quiet()
    assert (world.word("web"), world.engine.mutations) == ("Ready", done)


@pytest.mark.parametrize("how", LEAPS)
def test_an_update_on_its_way_to_health_keeps_its_time_for_it(world: World, how: str) -> None:
    first = Service("main", "h1", "image:1", has_healthcheck=True)
    folder = world.put("web", first)
    world.until_quiet()
    world.engine.set_health("web", "main", "healthy")
    world.clock.advance(60)
    world.resync()
    world.until_quiet()
    assert world.word("web") == "Ready"
    world.engine.models["web"] = (Service("main", "h2", "image:1", has_healthcheck=True),)
    folder.compose += "."
    world.resync()
    world.rest()
    assert world.word("web") == "Progressing"
    leap(world, LEAPS[how])
    world.resync()
    world.rest()
    assert world.word("web") == "Progressing", "nothing is taken back for a time that never passed"
    world.engine.set_health("web", "main", "healthy")
    world.resync()
    world.until_quiet()
    assert (world.word("web"), world.record("web").quarantine) == ("Ready", None)


@pytest.mark.parametrize("how", LEAPS)
def test_the_next_try_comes_neither_earlier_nor_later(world: World, how: str) -> None:
    world.put("web")
    world.engine.fail("apply", "web", AppError("ApplyFailed", "no"), times=3)
    world.rest()
    assert world.word("web") == "Failed"
    tries = world.backoffs.num_requeues("web")
    leap(world, LEAPS[how])
    world.resync()
    world.rest()
    assert world.backoffs.num_requeues("web") == tries
    world.until_quiet()
    assert world.word("web") == "Ready"
