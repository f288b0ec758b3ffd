"""What the simulation has found, each as the shortest story that shows it. The seeds are in docs/reliability.md."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from controller.model import effects as fx
from controller.model.facts import REMOVE, STOPPED, SUSPENDED
from controller.model.observed import Service
from controller.planner.judge import is_unproven
from controller.reconciler import Policy
from fakes import build
from fakes.world import World

FIRST, SECOND = Service("main", "h1", "image:1"), Service("main", "h2", "image:1")


@pytest.fixture
def world() -> Iterator[World]:
    policy = Policy(settle=0.1, settle_new=0.2, removal_settle=1.0, stable_after=2.0, health_timeout=20.0)
    with World(policy) as made:
        yield made


def until_asks(world: World, app: str, effect: type[fx.Effect[object]]) -> None:
    """Work until the run of that app is about to ask for this."""
    while app not in world.running or not isinstance(world.running[app][1], effect):
        assert world.step(Random(0), workers=1), f"{app} never asks for {effect.__name__}"


def say(world: World, fact: str, value: str | None) -> None:
    """A person says something, or takes it back; and it is looked at."""
    world.store.put(fact, value)
    world.queue.add(fact.partition(":")[2], world.clock.monotonic())
    world.until_quiet()


def test_files_that_are_edited_while_they_are_rendered_are_not_taken_for_the_revision_before(
    world: World,
) -> None:
    """seed 2413: an edit between reading and rendering; undone later, the edit ran on under the old revision's name."""
    world.put("web", FIRST)
    until_asks(world, "web", fx.Render)
    world.put("web", SECOND)
    world.until_quiet()
    assert world.engine.container("web", "main").config_hash == "h2"
    world.put("web", FIRST)
    world.until_quiet()
    assert world.engine.container("web", "main").config_hash == "h1"
    assert world.word("web") == "Ready"


def test_a_manifest_that_breaks_while_its_env_is_seeded_ends_the_run(world: World) -> None:
    """seeds 9, 82: the run went on to the hook of an app that was none any more."""
    world.put("db")
    world.until_quiet()
    folder = world.put("web", requires=["db"], example={"TITLE": "hello"})
    until_asks(world, "web", fx.SeedEnv)
    folder.broken = "is no JSON"
    world.until_quiet()
    assert world.word("web") == "Invalid"
    folder.broken = ""
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet()
    assert world.word("web") == "Ready"


def test_what_a_person_stopped_stays_stopped_when_its_folder_goes(world: World) -> None:
    """seed 19: held for its consumers, it was healed, and so started."""
    world.put("db")
    world.put("web", requires=["db"])
    world.until_quiet()
    world.store.put(STOPPED + "db", "now")
    world.queue.add("db", world.clock.monotonic())
    world.until_quiet()
    assert world.running_services("db") == []
    del world.tree.folders["db"]
    world.queue.add("db", world.clock.monotonic())
    world.until_quiet()
    assert world.word("db") == "RemovalBlocked"
    assert world.running_services("db") == []


def test_what_a_person_suspended_is_left_alone_when_its_folder_goes(world: World) -> None:
    world.put("web")
    world.until_quiet()
    world.store.put(SUSPENDED + "web", "now")
    del world.tree.folders["web"]
    world.engine.kill("web", "main")
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet()
    assert world.word("web") == "Held"
    assert world.running_services("web") == []


def test_what_crashes_behind_files_that_are_no_use_is_said_beside_them(world: World) -> None:
    """seeds 495, 1008: the word went to and fro between Invalid and Failed."""
    world.engine.hash_behaviour["bad"] = "crash"
    folder = world.put("web", Service("main", "bad", "image:1", restart="no"))
    world.until_quiet(limit=5)
    folder.broken = "is no JSON"
    world.queue.add("web", world.clock.monotonic())
    for _ in range(6):
        world.until_quiet(limit=100)
        world.clock.advance(50)
        assert world.word("web") == "Invalid", world.message("web")
    assert "is no JSON" in world.message("web")
    assert "container exited (3)" in world.message("web")


def test_an_edit_that_gives_up_a_provider_that_is_gone_is_applied(world: World) -> None:
    """seed 157: it waited for ever for what only the version before had required."""
    world.put("db")
    world.put("web", FIRST, requires=["db"])
    world.until_quiet()
    say(world, STOPPED + "web", "now")
    world.put("web", SECOND)
    world.until_quiet()
    say(world, REMOVE + "db", "now")
    assert "db" not in world.tree.folders
    say(world, STOPPED + "web", None)
    assert world.word("web") == "Ready", world.message("web")
    assert world.engine.container("web", "main").config_hash == "h2"


def test_behind_a_placeholder_an_update_that_never_was_good_gives_way_to_the_last_good_one(
    world: World,
) -> None:
    """seed 637: taken back behind invalid files only, it ended again and again for as long as a setting was missing."""
    world.engine.hash_behaviour["bad"] = "crash"
    world.put("web", FIRST)
    world.until_quiet()
    folder = world.put("web", Service("main", "bad", "image:1", restart="always"))
    world.until_quiet(limit=1)
    folder.env = {"PASSWORD": "changeme"}
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=100)
    assert world.word("web") == "NeedsConfiguration"
    assert world.engine.container("web", "main").config_hash == "h1"
    assert world.running_services("web") == ["main"]


def test_a_wish_to_remove_what_others_require_is_withdrawn(world: World) -> None:
    """seed 241: it held up everything else of that app, the way back from a bad update too."""
    world.put("db")
    world.put("web", requires=["db"])
    world.until_quiet()
    world.store.put(REMOVE + "db", "now")
    world.queue.add("db", world.clock.monotonic())
    world.until_quiet()
    assert world.store.get(REMOVE + "db") is None
    assert "action.failed" in world.told("db")
    assert world.word("db") == "Ready"


def test_a_provider_that_has_run_for_a_while_is_one_whatever_its_own_next_version_fails_on() -> None:
    """seed 1513: tries that failed for a hook were taken for containers that end again and again."""
    failing = build.record(unstable_since=build.at(0), started_at=build.at(1), retries=13)
    there = build.observed(build.container())
    assert is_unproven(failing, there, build.at(5), stable_after=10)
    assert not is_unproven(failing, there, build.at(12), stable_after=10)


def test_how_long_a_folder_is_gone_is_counted_from_the_look_that_missed_it(world: World) -> None:
    """seed 438: counted from the start of a run that a slow disk held up, it was gone for long at the first look."""
    world.put("solo")
    world.put("api")
    world.put("more")
    world.until_quiet()
    del world.tree.folders["api"]
    world.queue.add("api", world.clock.monotonic())
    until_asks(world, "api", fx.TakeCensus)
    world.clock.advance(5)
    del world.tree.folders["solo"]
    world.queue.add("solo", world.clock.monotonic())
    world.rest()
    assert "app.removing" not in world.told("solo")
    world.until_quiet()
    assert "app.removed" in world.told("solo")


def test_a_project_that_comes_up_from_elsewhere_after_the_look_is_not_taken_for_orphans_of_ours(
    world: World,
) -> None:
    """seed 5673: `up` removed what ran under the app's name from another folder, for its model did not know it."""
    world.put("web", FIRST)
    until_asks(world, "web", fx.Apply)
    world.engine.plant_foreign("web", "/srv/elsewhere")
    world.until_quiet()
    theirs = world.engine.container("web", "theirs")
    assert theirs.state == "running"
    assert (world.word("web"), world.record("web").reason) == ("Invalid", "NameConflict")


def test_what_is_gone_back_to_and_waits_for_its_provider_says_so_and_is_started_when_that_is_there(
    world: World,
) -> None:
    """seed 6794: the bad edit gave the provider up, so nobody said that its absence kept the way back closed."""
    world.put("db", FIRST)
    world.put("web", FIRST, requires=["db"])
    world.until_quiet()
    say(world, STOPPED + "db", "1")
    world.engine.hash_behaviour["h2"] = "crash"
    world.put("web", SECOND)
    world.until_quiet()
    assert world.word("web") == "RolledBack"
    assert "and now: waits for db: it was stopped by `homeport stop`" in world.message("web")
    assert world.running_services("web") == []
    say(world, STOPPED + "db", None)
    say(world, REMOVE + "db", "now")
    assert "db" in world.tree.folders, "what runs instead of the edit needs it"
    assert world.running_services("web") == ["main"]
    assert world.word("web") == "RolledBack"
    assert "and now" not in world.message("web")
