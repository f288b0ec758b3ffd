"""What is at rest is not looked at; what differs in anything that its rest stood on is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from controller.model import effects as fx
from controller.model.effects import drive
from controller.model.errors import EngineUnreachable
from controller.model.facts import ALL_SEEN, RESTART, SUSPENDED, UPDATE
from controller.reconciler import Reconciler
from fakes.world import World


def settle(world: World) -> None:
    """All come to rest, and run for so long that a start since the last look would be worded otherwise."""
    world.until_quiet()
    world.clock.advance(7200)
    world.resync()
    world.until_quiet()
    world.resync()


@pytest.fixture
def world() -> Iterator[World]:
    """A provider, its consumer and a bystander, all Ready and proven."""
    with World() as world:
        world.put("hub", volumes=["data"], exec_service="main")
        world.put("web", requires=("hub",))
        world.put("solo")
        settle(world)
        assert {world.word(name) for name in ("hub", "web", "solo")} == {"Ready"}
        yield world


def restless(world: World, *, reread: bool = False) -> set[str]:
    return set(drive(world.reconciler.look_at_all(reread=reread), world.host))


def edit_manifest(world: World) -> None:
    world.tree.folders["solo"].manifest["version"] = "2"


def touch(world: World) -> None:
    world.tree.folders["solo"].changed_at = world.clock.monotonic()


def take_out(world: World) -> None:
    del world.tree.folders["solo"]


def say(fact: str) -> Callable[[World], None]:
    return lambda world: world.store.put(fact + "solo", "now")


def lose_volume(world: World) -> None:
    world.engine.remove_container("hub", "main")
    world.engine.lose_volume("furtka_hub_data")


def test_when_nothing_has_changed_nobody_has_to_be_looked_at(world: World) -> None:
    assert restless(world) == set()
    world.clock.advance(300)
    assert restless(world, reread=True) == set()


def test_after_a_long_time_without_a_look_words_are_not_enough_and_a_look_that_finds_nothing_writes_nothing(
    world: World,
) -> None:
    before = world.store.records()
    world.clock.advance(30 * 86400)
    assert restless(world) == {"hub", "web", "solo"}
    world.until_quiet()
    assert world.store.records() == before
    assert restless(world) == set()


@pytest.mark.parametrize(
    ("change", "who"),
    [
        (edit_manifest, "solo"),
        (touch, "solo"),
        (take_out, "solo"),
        (lambda world: world.engine.kill("solo", "main"), "solo"),
        (lambda world: world.engine.remove_container("solo", "main"), "solo"),
        (lambda world: world.engine.pause("solo", "main"), "solo"),
        (lambda world: world.engine.plant_surplus("solo", "main"), "solo"),
        (lambda world: world.engine.plant_foreign("solo", "/srv/elsewhere"), "solo"),
        (lose_volume, "hub"),
        (lambda world: world.memory.requests.note("solo"), "solo"),
        (say(SUSPENDED), "solo"),
        (say(RESTART), "solo"),
        (say(UPDATE), "solo"),
    ],
)
def test_whoever_differs_in_anything_is_looked_at_and_nobody_else(
    world: World, change: Callable[[World], None], who: str
) -> None:
    change(world)
    assert restless(world) == {who}


def test_whoever_differs_is_looked_at_until_a_run_has_seen_it(world: World) -> None:
    """Though it may look by chance as it did: a run that reached no engine has seen nothing."""
    world.engine.kill("solo", "main")
    assert restless(world) == {"solo"}
    world.engine.down()
    world.queue.add("solo", world.clock.monotonic())
    world.rest()
    world.engine.up()
    assert restless(world) == {"solo"}
    world.queue.add("solo", world.clock.monotonic())
    world.until_quiet()
    assert restless(world) == set()


def test_a_consumer_is_looked_at_when_what_it_sees_of_its_provider_changed_and_it_was_not_told(
    world: World,
) -> None:
    """The process ended after the provider's record was saved and before the consumer was queued."""
    web = world.record("web")
    world.engine.kill("hub", "main")
    world.queue.add("hub", world.clock.monotonic())
    settle(world)
    assert restless(world) == set()
    # As it was before all this, while the provider's record and containers are those of now.
    world.store.save(web)
    assert restless(world) == {"web"}
    world.crash()
    world.until_quiet()
    assert world.record("web").on_start["hub"] == world.record("hub").incarnation


def test_a_new_process_takes_over_what_rests_without_a_look(world: World) -> None:
    world.crash()
    assert restless(world) == set()
    assert not world.queue.tick(world.clock.monotonic())
    assert len(world.queue) == 0, "nobody was queued"


def test_other_rules_than_those_it_was_judged_by_end_every_rest(world: World) -> None:
    world.reconciler = Reconciler(world.policy, world.memory, "providers are allowed")
    assert restless(world) == {"hub", "web", "solo"}


def test_a_tree_that_moved_ends_every_rest(world: World) -> None:
    world.tree.root = "/moved"
    assert restless(world) == {"hub", "web", "solo"}


def test_when_the_tree_is_lost_everybody_has_to_say_so(world: World) -> None:
    world.tree.lost = "its marker is not there"
    assert restless(world) == {"hub", "web", "solo"}


def test_an_engine_that_does_not_answer_shows_nobody_at_rest(world: World) -> None:
    world.engine.down()
    with pytest.raises(EngineUnreachable):
        restless(world)


def test_what_runs_from_the_tree_with_neither_folder_nor_record_is_found(world: World) -> None:
    world.store.forget("solo")
    del world.tree.folders["solo"]
    assert restless(world) == {"solo"}
    world.resync()
    world.until_quiet()
    assert world.word("solo") == "Orphaned"


def test_a_consumer_rests_on_what_it_saw_of_its_provider_and_not_on_what_became_of_that_meanwhile(
    world: World,
) -> None:
    """Found by a review: it looked, the provider was restarted and its run ended, and then the process."""
    run = world.reconciler.run("web")
    effect = run.send(None)
    while not (isinstance(effect, fx.Observe) and effect.app == "hub"):
        effect = run.send(effect.perform(world.host))
    effect = run.send(effect.perform(world.host))
    world.store.put(RESTART + "hub", "now")
    drive(world.reconciler.run("hub"), world.host)
    with contextlib.suppress(StopIteration):
        while True:
            effect = run.send(effect.perform(world.host))
    world.crash()
    settle(world)
    assert world.record("web").on_start["hub"] == world.record("hub").incarnation


def test_what_another_homeport_kept_is_looked_at_when_that_lets_go(world: World) -> None:
    world.tree.lost, world.tree.kept_by_other = "is kept by a running Homeport", True
    world.resync()
    world.until_quiet()
    assert {world.word(name) for name in ("hub", "web", "solo")} == {"Unknown"}
    world.tree.lost, world.tree.kept_by_other = "", False
    world.crash()
    world.until_quiet()
    assert {world.word(name) for name in ("hub", "web", "solo")} == {"Ready"}


def test_when_the_engine_does_not_list_everybody_looks_for_himself(world: World) -> None:
    world.engine.fail("survey", "", EngineUnreachable("timed out"))
    world.resync()
    assert len(world.queue) == 3


def test_a_restart_that_no_run_of_the_process_came_to_is_found_by_the_next_one(world: World) -> None:
    """Its words are those of before by then: when it was known to be at rest decides, not when all was looked at."""
    target = world.record("solo").target
    assert target is not None
    model = world.store.model("solo", target.revision)
    assert model is not None
    world.clock.advance(8 * 3600)
    world.engine.kill("solo", "main")
    world.engine.apply("solo", "/apps/solo", model, ())
    world.clock.advance(1800)
    world.resync()
    assert world.store.get(ALL_SEEN) is not None
    world.running.clear()
    world.clock.advance(47 * 3600 - 1800)
    world.crash()
    world.until_quiet()
    assert "app.drift" in world.told("solo")
