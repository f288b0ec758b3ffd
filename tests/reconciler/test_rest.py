"""What is at rest is not looked at; what differs in anything that its rest stood on is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from controller.model.effects import drive
from controller.model.errors import EngineUnreachable
from controller.model.facts import RESTART, SUSPENDED, UPDATE
from controller.reconciler import Reconciler
from fakes.world import World


@pytest.fixture
def world() -> Iterator[World]:
    """A provider, its consumer and a bystander, all Ready and proven."""
    with World() as world:
        world.put("hub", volumes=["data"], exec_service="main")
        world.put("web", requires=("hub",))
        world.put("solo")
        world.until_quiet()
        assert {world.word(name) for name in ("hub", "web", "solo")} == {"Ready"}
        yield world


def restless(world: World, *, reread: bool = False) -> set[str]:
    return set(drive(world.reconciler.find_restless(reread=reread), world.host))


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
    world.clock.advance(86400)
    assert restless(world, reread=True) == set()


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
        (lambda world: world.memory.force("solo"), "solo"),
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
    world.until_quiet()
    world.clock.advance(60)
    world.until_quiet()
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
