"""Nothing depends on the order of steps, nor on where a process is cut off."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from controller.model.effects import Apply, Effect
from controller.model.observed import Service
from fakes.world import World

HISTORIES = 200


def three_apps(world: World) -> None:
    checked = Service("main", "h1", "image:1", has_healthcheck=True)
    world.put("db", checked, volumes=["data"])
    world.put("app", needs=("DB_USER",), requires=["db"])
    world.put("web", example={"TITLE": "hello"})


def never_too_early(world: World, effect: Effect[Any]) -> None:
    """I14, at the moment of each start."""
    if isinstance(effect, Apply) and effect.app == "app":
        provider = world.engine.container("db", "main")
        assert provider.state == "running"
        assert provider.health == "healthy"
        assert (world.tree.folders["app"].env or {}).get("DB_USER") == "app"


def history(seed: int) -> None:
    chance = Random(seed)
    with World() as world:
        three_apps(world)
        for _ in range(chance.randrange(1, 90)):
            if not world.step(chance, check=lambda effect: never_too_early(world, effect)):
                world.clock.advance(1.0)
                world.engine_moves()
        world.crash()
        world.until_quiet(chance, check=lambda effect: never_too_early(world, effect))
        for name in ("db", "app", "web"):
            assert world.word(name) == "Ready", (seed, name, world.message(name))
            assert world.running_services(name) == ["main"], seed
            record = world.record(name)
            assert record.generation == record.observed_generation == 1, (seed, record.generation)
            assert record.target is not None
            assert record.target.good, seed
        assert len(world.installs) <= 2, (seed, "a crash repeats a hook once at most")
        changes, children = len(world.engine.mutations), world.engine.children
        world.resync()
        world.rest(chance)
        assert (len(world.engine.mutations), world.engine.children) == (changes, children), (seed, "no-op")


@pytest.mark.fault("E01")
def test_200_interleavings_of_three_apps_each_cut_off_after_a_random_effect_end_alike() -> None:
    for seed in range(HISTORIES):
        history(seed)


@pytest.mark.fault("E01")
def test_cut_off_after_each_single_effect_the_story_is_told_whole() -> None:
    cut = 0
    while True:
        with World() as world:
            three_apps(world)
            chance = Random(1)
            for _ in range(cut):
                if not world.step(chance):
                    world.clock.advance(1.0)
                    world.engine_moves()
            ready = all(world.store.record(n) and world.word(n) == "Ready" for n in ("db", "app", "web"))
            world.crash()
            world.until_quiet(chance)
            for name in ("db", "app", "web"):
                assert {"app.discovered", "app.ready"} <= set(world.told(name)), (cut, name, world.told(name))
        if ready:
            return
        cut += 1
