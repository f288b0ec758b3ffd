"""Accidents, and what people do after them: each of these once went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from controller.control.verbs import held
from controller.model.errors import AppError, WriteFailed
from controller.model.facts import APPROVED, REMOVE
from controller.model.observed import Service
from fakes.clock import SteppedClock
from fakes.world import World


def look(world: World) -> None:
    world.resync()
    world.until_quiet()


def apps(world: World, count: int) -> list[str]:
    names = [f"n{number}" for number in range(count)]
    for name in names:
        world.put(name)
    world.until_quiet()
    return names


def take_out(world: World, *names: str) -> Mapping[str, Any]:
    return {name: world.tree.folders.pop(name) for name in names}


def removed(world: World) -> list[str]:
    return [line.removeprefix("remove ") for line in world.engine.mutations if line.startswith("remove ")]


# -- removals -----------------------------------------------------------------------------------------


def test_putting_one_of_many_folders_back_is_no_yes_to_the_removal_of_the_others(world: World) -> None:
    apps(world, 10)
    gone = take_out(world, "n0", "n1", "n2", "n3")
    look(world)
    world.tree.put(gone["n0"])
    look(world)
    assert [world.word(f"n{n}") for n in range(4)] == ["Ready", "Held", "Held", "Held"]
    assert removed(world) == []


def test_one_of_two_apps_that_were_all_is_held_when_the_other_is_back(world: World) -> None:
    apps(world, 2)
    gone = take_out(world, "n0", "n1")
    look(world)
    world.tree.put(gone["n0"])
    look(world)
    assert (world.word("n1"), removed(world)) == ("Held", [])


@pytest.mark.fault("G03")
@pytest.mark.parametrize(("count", "strays"), [(2, 1), (3, 1), (4, 20)])
def test_a_stray_folder_that_comes_as_the_others_go_does_not_unlock_their_removal(
    world: World, count: int, strays: int
) -> None:
    names = apps(world, count)
    take_out(world, *names)
    for number in range(strays):
        world.put(f"stray{number}")
    look(world)
    assert [world.word(name) for name in names] == ["Held"] * count
    assert removed(world) == []
    assert world.word("stray0") == "Ready"


def test_neither_new_apps_nor_time_release_what_is_held(world: World) -> None:
    apps(world, 12)
    take_out(world, "n0", "n1", "n2", "n3")
    look(world)
    for name in ("new1", "new2", "new3"):
        world.put(name)
    world.clock.advance(1000)
    look(world)
    assert removed(world) == []
    assert world.word("n0") == "Held"


@pytest.mark.fault("G03")
@pytest.mark.fault("G04")
def test_a_held_removal_survives_a_crash_of_the_service(world: World) -> None:
    apps(world, 10)
    gone = take_out(world, "n0", "n1", "n2", "n3")
    look(world)
    world.crash()
    world.tree.put(gone["n0"])
    look(world)
    assert removed(world) == []


def test_the_brake_tells_of_as_many_as_the_list_of_what_is_held_has(world: World) -> None:
    apps(world, 10)
    for name in ("n0", "n1", "n2"):
        take_out(world, name)
        look(world)
    assert removed(world) == ["n0", "n1", "n2"]
    take_out(world, "n3")
    look(world)
    assert held(world.store) == ("n3",)
    ready = world.record("n3").condition("Ready")
    assert ready is not None
    assert ready.message.startswith("1 of 7 apps is gone from the apps tree, and 3 were removed within")


def test_removals_that_a_person_let_go_do_not_hold_the_next_one(world: World) -> None:
    apps(world, 10)
    take_out(world, "n0", "n1", "n2", "n3", "n4")
    look(world)
    for number in range(5):
        world.store.put(f"{APPROVED}n{number}", "1")
    look(world)
    assert sorted(removed(world)) == ["n0", "n1", "n2", "n3", "n4"]
    take_out(world, "n5")
    look(world)
    assert "n5" in removed(world)


def test_an_approval_that_a_crash_left_behind_ends_when_the_folder_is_there(world: World) -> None:
    world.store.put(APPROVED + "web", "1")
    world.put("web")
    world.until_quiet()
    assert world.store.get(APPROVED + "web") is None


def test_a_folder_that_was_back_for_a_moment_has_its_whole_quiet_period_again(world: World) -> None:
    apps(world, 5)
    folders = take_out(world, "n0", "n1")
    world.resync()
    world.rest()
    world.tree.put(folders["n1"])
    world.clock.advance(8)
    # Nobody looked at n1 while it was there; a look at the other saw it.
    world.queue.add("n0", world.clock.monotonic())
    world.rest()
    take_out(world, "n1")
    world.clock.advance(8)
    world.resync()
    world.rest()
    assert "n1" not in removed(world)


def test_deleting_an_app_that_keeps_failing_does_not_wait_for_its_next_try(world: World) -> None:
    apps(world, 5)
    world.put("bad")
    world.engine.fail("apply", "bad", AppError("ApplyFailed", "no"), times=50)
    world.until_quiet(limit=200)
    take_out(world, "bad")
    world.resync()
    world.rest()
    world.clock.advance(11)
    world.resync()
    world.rest()
    assert world.store.record("bad") is None


def test_an_app_whose_removal_is_blocked_is_kept_running_in_deed(world: World) -> None:
    world.put("db")
    world.put("app", requires=["db"], needs=("DB_USER",))
    world.until_quiet()
    take_out(world, "db")
    look(world)
    assert world.word("db") == "RemovalBlocked"
    world.clock.advance(60)
    world.engine.kill("db", "main")
    look(world)
    assert world.running_services("db") == ["main"]
    assert (world.word("db"), world.running_services("app")) == ("RemovalBlocked", ["main"])


def test_a_blocked_provider_goes_when_its_consumer_no_longer_requires_it(world: World) -> None:
    world.put("db")
    folder = world.put("app", requires=["db"], needs=("DB_USER",))
    world.put("x")
    world.until_quiet()
    take_out(world, "db")
    look(world)
    folder.manifest["requires"] = []
    world.queue.add("app", world.clock.monotonic())
    world.until_quiet()
    assert world.store.record("db") is None


# -- edits --------------------------------------------------------------------------------------------


def test_a_failed_edit_that_is_taken_back_leaves_nothing_of_itself(world: World) -> None:
    folder = world.put("web")
    world.until_quiet()
    main, extra = Service("main", "h1", "image:1"), Service("extra", "h9", "image:1")
    real = world.engine.apply

    def half(app: str, where: str, rendered: Any, services: Sequence[str] = (), **how: Any) -> None:
        real(app, where, rendered, services, **how)
        raise AppError("ApplyFailed", "half-way")

    world.engine.models["web"] = (main, extra)
    folder.compose += "."
    world.engine.apply = half  # type: ignore[method-assign]
    world.resync()
    world.rest()
    assert world.word("web") == "Failed"
    world.engine.apply = real  # type: ignore[method-assign]
    world.engine.models["web"] = (main,)
    folder.compose = folder.compose.removesuffix(".")
    look(world)
    assert (world.word("web"), world.running_services("web")) == ("Ready", ["main"])


def test_a_service_that_disappears_is_removed_only_after_the_removal_quiet_period(world: World) -> None:
    folder = world.put("web", Service("main", "h1", "image:1"), Service("db", "h1", "image:1"))
    world.until_quiet()
    world.engine.models["web"] = (Service("main", "h1", "image:1"),)
    folder.compose += "."
    world.resync()
    world.rest()
    world.clock.advance(9)
    world.resync()
    world.rest()
    assert world.running_services("web") == ["db", "main"]
    assert "service db is no longer in the files" in world.message("web")
    world.until_quiet()
    assert (world.word("web"), world.running_services("web")) == ("Ready", ["main"])


def test_a_model_that_cannot_be_rendered_now_is_tried_again_and_what_runs_is_healed(world: World) -> None:
    folder = world.put("web")
    world.until_quiet()
    world.clock.advance(60)
    world.engine.fail("render", "web", AppError("DiskFull", "no space left"), times=2)
    folder.compose += "."
    world.engine.remove_container("web", "main")
    world.resync()
    world.rest()
    assert world.message("web").startswith("DiskFull")
    assert world.running_services("web") == ["main"]
    world.until_quiet()
    assert world.word("web") == "Ready"


def test_an_env_that_cannot_be_written_does_not_make_the_next_edit_ours(world: World) -> None:
    folder = world.put("web", example={"A": "1"})
    real = world.tree.seed_env

    def refuse(_app: Any) -> tuple[str, ...]:
        raise WriteFailed(".env is a link")

    world.tree.seed_env = refuse  # type: ignore[method-assign]
    world.rest()
    assert world.message("web").startswith("EnvWriteFailed")
    world.tree.seed_env = real  # type: ignore[method-assign]
    folder.compose += "."
    look(world)
    assert (world.word("web"), world.record("web").generation) == ("Ready", 2)


def test_no_hook_runs_for_an_app_that_may_not_start(world: World) -> None:
    world.put("db")
    world.put("app", requires=["db"], settings=[{"name": "OWNER", "required": True}], example={"OWNER": ""})
    world.until_quiet()
    assert world.word("app") == "NeedsConfiguration"
    hooks = [event.fields["target"] for event in world.events if event.name == "hook.done"]
    assert hooks == ["app:db:on_install"]


def test_a_moved_tree_keeps_its_apps(world: World) -> None:
    world.put("web")
    world.until_quiet()
    world.clock.advance(60)
    world.tree.root = "/moved"
    look(world)
    assert world.word("web") == "Ready"
    assert world.record("web").folders == ("/apps/web",)


# -- time and failures --------------------------------------------------------------------------------


def test_failures_are_forgotten_once_the_app_has_been_stable(world: World) -> None:
    world.put("web")
    world.engine.fail("apply", "web", AppError("ApplyFailed", "no"), times=6)
    world.until_quiet()
    assert (world.word("web"), world.backoffs.num_requeues("web")) == ("Ready", 0)


def test_a_new_container_of_the_provider_makes_the_next_try_at_once_and_the_waits_short_again(
    world: World,
) -> None:
    world.put("db")
    world.put("app", requires=["db"], needs=("DB_USER",))
    world.engine.fail("apply", "app", AppError("ApplyFailed", "no"), times=10)
    world.until_quiet(limit=300)
    assert world.word("app") == "Failed"
    world.engine.remove_container("db", "main")
    world.resync()
    world.rest()
    assert world.backoffs.num_requeues("app") <= 1


def test_a_loop_of_wake_ups_in_the_backoff_tells_a_drift_once(world: World) -> None:
    world.put("web")
    world.until_quiet()
    world.clock.advance(60)
    for verb in ("restart", "apply"):
        world.engine.fail(verb, "web", AppError("ApplyFailed", "no"), times=3)
    world.engine.kill("web", "main")
    for _ in range(5):
        world.resync()
        world.rest()
    assert world.told("web").count("app.drift") == 1


@pytest.mark.fault("E06")
def test_a_clock_that_is_set_back_makes_nobody_wait_until_it_is_there_again(world: World) -> None:
    class SetBack(SteppedClock):
        behind = 0.0

        def now(self) -> Any:
            return super().now() - timedelta(seconds=self.behind)

    world.put("web")
    world.until_quiet()
    world.clock.advance(60)
    world.engine.kill("web", "main")
    world.resync()
    world.rest()
    clock = SetBack()
    clock.seconds, clock.behind = world.clock.seconds, 6 * 3600
    world.clock = world.tree.clock = world.engine.clock = clock
    world.crash()
    world.until_quiet()
    assert world.word("web") == "Ready"


@pytest.mark.fault("F03")
def test_a_lost_state_and_a_broken_file_do_not_make_on_install_run_again(world: World) -> None:
    world.put("db")
    folder = world.put("app", requires=["db"], needs=("DB_USER",))
    world.until_quiet()
    for name in ("db", "app"):
        world.store.forget(name)
    folder.broken = "is not JSON"
    world.crash()
    world.until_quiet()
    folder.broken = ""
    look(world)
    assert (world.word("app"), world.installs) == ("Ready", ["app"])


def test_a_person_who_asks_during_a_failing_run_is_heard(world: World) -> None:
    world.put("web")
    world.engine.fail("apply", "web", AppError("ApplyFailed", "no"), times=1)
    chance = Random(0)
    while "web" not in world.running or "Apply" not in type(world.running["web"][1]).__name__:
        world.step(chance)
    world.memory.requests.note("web")
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    assert world.word("web") == "Ready"


# -- another Homeport -----------------------------------------------------------------------------------


def test_where_another_homeport_keeps_the_tree_nothing_is_done_and_every_app_says_so(world: World) -> None:
    names = apps(world, 2)
    world.tree.lost, world.tree.kept_by_other = "is kept by a running Homeport, pid 7", True
    world.engine.kill("n0", "main")
    world.store.put(REMOVE + "n1", "1")
    calls = list(world.engine.mutations)
    look(world)
    assert world.engine.mutations == calls
    for name in names:
        ready = world.record(name).condition("Ready")
        assert ready is not None
        assert (world.word(name), ready.reason) == ("Unknown", "SourceUnavailable")
        assert "pid 7" in ready.message
    world.tree.lost, world.tree.kept_by_other = "", False
    look(world)
    assert world.word("n0") == "Ready"
    assert removed(world) == ["n1"], "and then what was asked for is done"
