"""Rules of the reconcile, on the real queue and store with a tree and an engine in memory."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from controller.model.errors import AppError, InputInvalid
from controller.model.facts import APPROVED, STOPPED, SUSPENDED
from controller.model.observed import Service
from controller.model.record import Record
from controller.planner.removal import BRAKE_COUNT
from fakes.tree import Folder
from fakes.world import World


def target_of(record: Record) -> str:
    assert record.target is not None
    return record.target.revision


def edit(world: World, folder: Folder, *services: Service) -> None:
    folder.compose += "."
    if services:
        world.engine.models[folder.manifest["name"]] = services
    world.resync()


def test_a_look_that_finds_nothing_new_writes_nothing_and_says_nothing(world: World) -> None:
    world.put("web")
    world.until_quiet()
    before = (world.record("web"), len(world.events), len(world.engine.mutations), world.engine.children)
    world.clock.advance(500)
    world.resync()
    world.until_quiet()
    assert (
        world.record("web"),
        len(world.events),
        len(world.engine.mutations),
        world.engine.children,
    ) == before


def test_an_edit_takes_two_children_and_the_status_has_the_hashes_that_the_second_gave(world: World) -> None:
    folder = world.put("web")
    world.until_quiet()
    assert world.engine.children == 2, "the files are read, and their model is applied"
    given = {"main": {"configHash": world.engine.container("web", "main").config_hash, "image": "image:1"}}
    assert world.record("web").desired_services == given
    for _ in range(2):  # an edit that changes no model; then the same again, from what is on record
        folder.manifest["version"] = "1.0.1"
        world.resync()
        world.until_quiet()
        assert (world.record("web").version, world.record("web").desired_services) == ("1.0.1", given)
        assert target_of(world.record("web")) == world.record("web").revision
    before = world.engine.children
    world.put("web", Service("main", "h2", "image:2"))
    world.until_quiet()
    assert world.engine.children == before + 2
    given = {"main": {"configHash": world.engine.container("web", "main").config_hash, "image": "image:2"}}
    assert world.record("web").desired_services == given


def scribble(world: World, folder: Folder, seconds: float) -> None:
    """Somebody writes the compose file every tenth of a second."""
    for number in range(round(seconds * 10)):
        folder.compose = f"v{number}"
        folder.changed_at = world.clock.monotonic()
        world.queue.add(folder.manifest["name"], world.clock.monotonic())
        world.rest()
        world.clock.advance(0.1)


def test_files_of_a_new_app_that_never_rest_are_said_once_and_again_when_they_rest(world: World) -> None:
    folder = world.put("web", settled=False)
    scribble(world, folder, 6)
    assert world.word("web") == ""
    scribble(world, folder, 20)
    assert world.told("web") == ["app.unsettled"]
    assert world.message("web") == (
        "Progressing: its files do not come to rest (docker-compose.yaml changed last); they are taken in when nothing of "
        "them has changed for 2 s"
    )
    assert not world.engine.mutations
    world.until_quiet()
    assert world.word("web") == "Ready"
    assert world.told("web").count("app.unsettled") == world.told("web").count("app.settled") == 1


def test_a_folder_that_goes_before_it_ever_rested_leaves_nothing(world: World) -> None:
    folder = world.put("web", settled=False)
    scribble(world, folder, 10)
    del world.tree.folders["web"]
    world.resync()
    world.until_quiet()
    assert world.store.record("web") is None
    assert not world.engine.mutations


def test_a_folder_that_went_before_it_ever_rested_has_all_its_time_when_it_comes_back(world: World) -> None:
    scribble(world, world.put("web", settled=False), 10)
    assert world.told("web") == ["app.unsettled"]
    del world.tree.folders["web"]
    world.resync()
    world.until_quiet()
    world.clock.advance(600)
    scribble(world, world.put("web", settled=False), 3)
    assert world.word("web") == "", "three seconds are no time to speak of"
    world.until_quiet()
    assert world.word("web") == "Ready"
    assert "app.settled" not in world.told("web"), "nobody was told that these do not rest"


def test_an_app_that_runs_while_its_files_never_rest_says_so_and_is_ready_when_they_do(world: World) -> None:
    folder = world.put("web")
    world.until_quiet()
    scribble(world, folder, 9)
    assert "app.unsettled" in world.told("web")
    assert "docker-compose.yaml" in world.message("web")
    world.until_quiet()
    assert world.word("web") == "Ready"
    scribble(world, folder, 3)
    world.until_quiet()
    assert world.told("web").count("app.unsettled") == world.told("web").count("app.settled") == 1


def test_of_many_apps_whose_files_never_rest_one_is_taken_in_after_the_other_and_none_before_its_turn(
    world: World,
) -> None:
    """Each is a child of Compose: those of all together would stand before the edit of an app whose files do rest."""
    folders = [world.put(f"web{number}") for number in range(40)]
    world.until_quiet()
    taken_in: list[tuple[float, str]] = []
    changes = {folder.manifest["name"]: 0 for folder in folders}
    began = world.clock.monotonic()
    while (now := world.clock.monotonic() - began) < 80:
        for number, folder in enumerate(folders):
            name = folder.manifest["name"]
            folder.compose, folder.changed_at = f"v{now}", world.clock.monotonic()
            if number % 10 == round(now * 10) % 10:  # at different moments of a second
                world.queue.add_after(name, 1.0, world.clock.monotonic())
        world.rest()
        for name, before in changes.items():
            changes[name] = world.told(name).count("app.changed")
            taken_in += [(now, name)] * (changes[name] - before)
        world.clock.advance(0.1)
    assert min(after - before for (before, _), (after, _) in pairwise(taken_in)) > 0.4
    assert (taken_in[-1][0] - taken_in[0][0]) / len(taken_in) < 0.7, "no turn is left out"
    for folder in folders:
        mine = [0.0] + [at for at, name in taken_in if name == folder.manifest["name"]]
        assert len(mine) > 2
        # Fifteen seconds until it asks for a turn, and forty turns.
        assert max(after - before for before, after in pairwise(mine)) < 15 + 40 * 0.6


def test_a_new_folder_is_left_alone_until_it_has_been_quiet(world: World) -> None:
    world.put("web", settled=False)
    world.resync()
    world.rest()
    assert world.word("web") == ""
    assert not world.engine.mutations
    world.until_quiet()
    assert world.word("web") == "Ready"


def write_once(world: World, folder: Folder) -> None:
    """Somebody writes the compose file once, and the look at the change is made."""
    now, name = world.clock.monotonic(), folder.manifest["name"]
    folder.compose, folder.changed_at = "another", now
    world.queue.add_after(name, world.memory.settling.look_after_change(name, world.policy.settle), now)
    world.clock.advance(world.policy.settle / 2 + 0.01)
    world.rest()


def test_an_edit_is_rendered_while_it_waits_out_its_quiet_period(world: World) -> None:
    folder = world.put("web")
    world.until_quiet()
    world.engine.mutations.clear()
    before = world.engine.children
    write_once(world, folder)
    assert (world.engine.children - before, world.engine.mutations) == (1, [])
    world.until_quiet()
    assert world.word("web") == "Ready"
    assert world.engine.children - before == 1, "an edit that changes no model starts no other child"


def test_files_that_change_all_the_time_are_not_rendered_for_each_change(world: World) -> None:
    folder = world.put("web")
    world.until_quiet()
    before = world.engine.children
    scribble(world, folder, 5)
    assert world.engine.children == before


def test_files_that_mean_nothing_yet_are_said_to_be_wrong_only_when_they_have_come_to_rest(
    world: World,
) -> None:
    folder = world.put("web")
    world.until_quiet()
    world.engine.models["web"] = InputInvalid("SourceInvalid", "half a file")
    before = world.engine.children
    write_once(world, folder)
    assert (world.engine.children - before, world.word("web")) == (1, "Ready")
    world.until_quiet()
    assert world.word("web") == "Invalid"


def test_what_a_hook_has_to_complete_first_is_not_rendered_ahead(world: World) -> None:
    world.put("db")
    world.until_quiet()
    before = world.engine.children
    world.put("web", settled=False, requires=("db",), needs=("DB_USER",))
    world.until_quiet(limit=1.2)
    assert (world.word("web"), world.engine.children - before) == ("", 0)
    world.until_quiet()
    assert world.word("web") == "Ready"


def test_of_a_folder_that_goes_before_it_was_taken_in_no_model_is_kept(world: World) -> None:
    world.put("web", settled=False)
    world.until_quiet(limit=1.2)
    assert any("web" in key for key in world.engine._known)
    del world.tree.folders["web"]
    world.resync()
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet()
    assert not any("web" in key for key in world.engine._known)


def test_what_comes_back_while_its_removal_is_waited_for_has_its_quiet_period(world: World) -> None:
    folder = world.put("web")
    world.put("other")
    world.until_quiet()
    write_once(world, folder)  # the first of what `rm -r` takes away
    del world.tree.folders["web"]
    world.resync()
    world.rest()
    world.clock.advance(9)
    world.rest()
    world.engine.models["web"] = (Service("main", "h7", "image:1"),)
    world.engine.mutations.clear()
    world.tree.put(folder, settled=False)
    for _ in range(7):
        scribble(world, folder, 1)  # a slow copy
        assert world.engine.mutations == []
    world.until_quiet()
    assert world.word("web") == "Ready"
    assert world.engine.mutations


def test_what_is_suspended_and_comes_back_says_nothing_of_its_folder(world: World) -> None:
    for name in ("a", "b", "c"):
        world.put(name)
    world.until_quiet()
    world.store.put(f"{SUSPENDED}a", "1")
    world.resync()
    world.rest()
    folder = world.tree.folders.pop("a")
    world.resync()
    world.until_quiet(limit=60)
    assert world.word("a") == "Held"
    world.tree.put(folder)
    world.resync()
    world.until_quiet(limit=60)
    assert world.word("a") == "Suspended"
    assert not any("folder" in condition.message for condition in world.record("a").conditions)


def test_an_invalid_edit_keeps_what_runs_and_heals_it(world: World) -> None:
    folder = world.put("web")
    world.until_quiet()
    target = target_of(world.record("web"))
    folder.broken = "is not JSON"
    world.resync()
    world.until_quiet()
    assert world.word("web") == "Invalid"
    assert target_of(world.record("web")) == target
    world.clock.advance(60)
    world.engine.remove_container("web", "main")
    world.resync()
    world.until_quiet()
    assert world.running_services("web") == ["main"]
    assert world.word("web") == "Invalid"
    folder.broken = ""
    world.resync()
    world.until_quiet()
    assert world.word("web") == "Ready"
    assert world.record("web").generation == 3, "A, B, A is 1, 2, 3"


def test_a_failed_apply_is_retried_with_growing_waits_and_at_once_after_an_edit(world: World) -> None:
    folder = world.put("web")
    world.engine.fail("apply", "web", AppError("ApplyFailed", "no such device"), times=3)
    world.rest()
    record = world.record("web")
    assert (world.word("web"), record.retries) == ("Failed", 1)
    assert record.next_try is not None
    tries = len(world.engine.mutations)
    world.resync()
    world.rest()
    assert len(world.engine.mutations) == tries, "woken before its time, nothing is tried"
    edit(world, folder)
    world.rest()
    assert world.record("web").retries == 1, "a first try of other files"
    world.until_quiet()
    assert world.word("web") == "Ready"
    assert (world.record("web").retries, world.record("web").next_try) == (0, None)


def test_a_container_that_keeps_dying_young_waits_longer_each_time(world: World) -> None:
    world.put("web")
    world.engine.behaviour["web", "main"] = "crash"
    world.rest()
    waits = []
    for _ in range(6):
        assert world.word("web") == "Failed"
        waits.append(world.memory.retries.left("web", world.clock.monotonic()))
        due = world.queue.tick(world.clock.monotonic())
        assert due is not None
        world.clock.advance(due - world.clock.monotonic() + 0.001)
        world.rest()
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]


def test_one_that_dies_soon_after_a_healthy_start_goes_through_the_backoff_too(world: World) -> None:
    world.put("web")
    world.rest()
    assert world.word("web") == "Ready"
    applied = len(world.engine.mutations)
    world.clock.advance(1)
    world.engine.crash("web", "main", 3)
    world.resync()
    world.rest()
    assert world.word("web") == "Failed"
    assert len(world.engine.mutations) == applied


def test_after_an_unexpected_end_ready_comes_back_only_when_it_stays(world: World) -> None:
    world.put("web")
    world.until_quiet()
    world.clock.advance(100)
    world.engine.kill("web", "main")
    world.resync()
    world.rest()
    assert world.running_services("web") == ["main"], "the first repair is at once"
    assert world.word("web") == "Progressing"
    assert "app.drift" in world.told("web")
    world.until_quiet()
    assert world.word("web") == "Ready"


def test_a_restart_behind_our_back_is_seen_by_its_start_time(world: World) -> None:
    world.put("web", Service("main", "h1", "image:1", restart="always"))
    world.until_quiet()
    world.clock.advance(100)
    world.engine.crash("web", "main", 1)
    world.resync()
    world.rest()
    assert world.running_services("web") == ["main"]
    assert world.word("web") == "Progressing"


def test_a_missing_mounted_path_is_incomplete_and_is_looked_for_again(world: World) -> None:
    from controller.model.observed import Bind

    world.put(
        "web",
        Service("main", "h1", "image:1", binds=(Bind("/apps/web/nginx.conf", "/etc/nginx.conf", True),)),
    )
    world.tree.missing.add("/apps/web/nginx.conf")
    world.rest()
    assert world.word("web") == "Invalid"
    assert "nginx.conf" in world.message("web")
    assert not world.engine.mutations
    world.tree.missing.clear()
    world.until_quiet()
    assert world.word("web") == "Ready"


def test_a_busy_host_port_fails_before_anything_is_touched(world: World) -> None:
    folder = world.put("web")
    world.until_quiet()
    before = list(world.engine.mutations)
    world.engine.ports[80] = "process nginx"
    edit(world, folder, Service("main", "h2", "image:1", ports=(("", 80, "tcp"),)))
    world.rest()
    assert world.message("web").startswith("PreflightFailed: host port 80 is held by process nginx")
    assert world.engine.mutations == before
    assert world.running_services("web") == ["main"]


def test_a_host_port_that_was_taken_while_an_app_was_stopped_fails_its_start_before_anything_is_touched(
    world: World,
) -> None:
    world.put("web", Service("main", "h1", "image:1", ports=(("", 80, "tcp"),)))
    world.until_quiet()
    world.store.put(f"{STOPPED}web", "1")
    world.resync()
    world.until_quiet()
    assert world.word("web") == "Stopped"
    world.engine.ports[80] = "app twin (container twin-web-1)"
    world.engine.mutations.clear()
    world.store.put(f"{STOPPED}web", None)
    world.resync()
    world.rest()
    assert world.message("web").startswith("PreflightFailed: host port 80 is held by app twin")
    assert world.engine.mutations == []
    assert (world.told("web").count("app.failed"), world.told("web").count("action.failed")) == (1, 0)


def test_images_are_pulled_before_anything_is_touched(world: World) -> None:
    folder = world.put("web")
    world.until_quiet()
    before = world.engine.observe("web", ("/apps/web",), ()).containers
    world.engine.absent_images.add("image:2")
    world.engine.unpullable.add("image:2")
    edit(world, folder, Service("main", "h2", "image:2"))
    world.rest()
    assert world.message("web").startswith("PullFailed")
    assert world.engine.observe("web", ("/apps/web",), ()).containers == before


def test_needs_configuration_is_said_once_and_the_app_runs_on(world: World) -> None:
    folder = world.put("web", settings=[{"name": "OWNER", "required": True}], example={"OWNER": "changeme"})
    world.until_quiet()
    assert world.word("web") == "NeedsConfiguration"
    assert folder.env == {"OWNER": "changeme"}
    folder.env = {"OWNER": "me"}
    world.resync()
    world.until_quiet()
    assert world.word("web") == "Ready"
    folder.env = {"OWNER": "changeme"}
    world.resync()
    world.until_quiet()
    assert world.word("web") == "NeedsConfiguration"
    assert world.running_services("web") == ["main"]


def test_a_consumer_waits_names_the_provider_and_is_taken_up_when_it_is_ready(world: World) -> None:
    world.put("app", requires=["db"], needs=("DB_USER",))
    world.rest()
    assert world.word("app") == "Waiting"
    assert world.message("app").startswith("DependencyMissing: waits for db")
    world.put("db", Service("main", "h1", "image:1", has_healthcheck=True))
    world.resync()
    world.rest()
    assert world.message("app").startswith("DependencyNotReady: waits for db")
    world.until_quiet()
    assert world.word("app") == "Ready"
    assert world.installs == ["app"]


def test_a_provider_that_fails_leaves_its_consumer_running_and_said_to_be_degraded(world: World) -> None:
    world.put("db", Service("main", "h1", "image:1", has_healthcheck=True))
    world.put("app", requires=["db"], needs=("DB_USER",))
    world.until_quiet()
    world.clock.advance(400)
    world.engine.set_health("db", "main", "unhealthy")
    world.resync()
    world.rest()
    assert world.word("db") == "Degraded"
    assert world.word("app") == "Degraded"
    assert world.running_services("app") == ["main"]
    assert "app.failed" not in world.told("app"), "it is parked under the one cause, not retried"
    world.engine.set_health("db", "main", "healthy")
    world.resync()
    world.until_quiet()
    assert (world.word("db"), world.word("app")) == ("Ready", "Ready")


def test_a_typo_in_a_providers_manifest_holds_no_consumer_back(world: World) -> None:
    provider = world.put("db")
    world.until_quiet()
    provider.broken = "is not JSON"
    world.put("app", requires=["db"], needs=("DB_USER",))
    world.resync()
    world.until_quiet()
    assert (world.word("db"), world.word("app")) == ("Invalid", "Ready")


def test_a_failing_hook_is_an_error_of_its_consumer_alone(world: World) -> None:
    from controller.model.observed import ExecResult
    from fakes.world import INSTALL

    world.put("db")
    world.put("app", requires=["db"], needs=("DB_USER",))
    good = world.engine.scripts[INSTALL]
    world.engine.scripts[INSTALL] = lambda _env, _container: ExecResult(1, b"DB_USER=half")
    world.rest()
    world.rest()
    assert world.word("db") == "Ready"
    assert world.message("app").startswith("HookFailed")
    assert world.tree.folders["app"].env is None, "nothing is merged"
    assert "hook.failed" in world.told("app")
    world.engine.scripts[INSTALL] = good
    world.tree.folders["db"].scripts["scripts/install.sh"] = INSTALL
    world.tree.folders[
        "db"
    ].compose += " "  # the script is an input of the provider: mending it is an edit there
    world.queue.add("db", world.clock.monotonic())
    world.rest()
    assert world.word("app") == "Ready", "at once, not at the next try"


def test_a_folder_that_is_gone_is_removed_after_the_quiet_period_and_its_volumes_stay(world: World) -> None:
    world.put("web", volumes=["files"])
    world.put("other")
    world.until_quiet()
    folder = world.tree.folders.pop("web")
    world.resync()
    world.rest()
    assert world.running_services("web") == ["main"]
    world.clock.advance(5)
    world.tree.folders["web"] = folder
    world.resync()
    world.until_quiet()
    assert world.word("web") == "Ready"
    assert "remove web" not in world.engine.mutations
    del world.tree.folders["web"]
    world.resync()
    world.until_quiet()
    assert world.running_services("web") == []
    assert world.store.record("web") is None
    assert list(world.engine.volumes) == ["furtka_web_files"]
    assert world.told("web")[-2:] == ["app.removing", "app.removed"]


def test_a_lost_tree_removes_nothing_and_every_quiet_period_starts_anew(world: World) -> None:
    world.put("web")
    world.put("other")
    world.until_quiet()
    del world.tree.folders["web"]
    world.resync()
    world.rest()
    world.clock.advance(9.9)
    world.tree.lost = "is not there"
    world.resync()
    world.rest()
    world.clock.advance(60)
    world.tree.lost = ""
    world.resync()
    world.rest()
    assert world.running_services("web") == ["main"], "the ten seconds before the loss do not count"


def test_a_lost_tree_says_unknown_and_heals_what_runs(world: World) -> None:
    world.put("web")
    world.until_quiet()
    world.clock.advance(60)
    world.tree.lost = "is not there"
    world.engine.remove_container("web", "main")
    world.resync()
    world.until_quiet()
    assert world.word("web") == "Unknown"
    assert world.running_services("web") == ["main"]


def test_many_removals_at_once_are_held_and_a_folder_that_is_back_is_released(world: World) -> None:
    for number in range(10):
        world.put(f"n{number}")
    world.until_quiet()
    gone = [world.tree.folders.pop(f"n{number}") for number in range(BRAKE_COUNT + 1)]
    world.resync()
    world.until_quiet()
    assert [world.word(f"n{number}") for number in range(BRAKE_COUNT + 1)] == ["Held"] * (BRAKE_COUNT + 1)
    assert not [line for line in world.engine.mutations if line.startswith("remove")]
    for folder in gone:
        world.tree.put(folder)
    world.resync()
    world.until_quiet()
    assert {world.word(f"n{number}") for number in range(10)} == {"Ready"}


def test_an_approval_covers_exactly_the_apps_on_its_list(world: World) -> None:
    for number in range(6):
        world.put(f"n{number}")
    world.until_quiet()
    for number in range(5):
        del world.tree.folders[f"n{number}"]
    world.resync()
    world.until_quiet()
    for name in ("n0", "n1"):
        world.store.put(APPROVED + name, "1")
    world.resync()
    world.until_quiet()
    assert [world.word(f"n{number}") for number in range(5)] == ["", "", "Held", "Held", "Held"]
    assert world.store.get(APPROVED + "n0") is None, "a yes covers one removal, not the next one too"


def test_a_required_provider_is_not_removed_until_its_consumer_is(world: World) -> None:
    world.put("db")
    world.put("app", requires=["db"], needs=("DB_USER",))
    world.put("x")
    world.put("y")
    world.until_quiet()
    del world.tree.folders["db"]
    world.resync()
    world.until_quiet()
    assert world.word("db") == "RemovalBlocked"
    assert "required by app" in world.message("db")
    del world.tree.folders["app"]
    world.resync()
    world.until_quiet()
    assert (world.word("db"), world.word("app")) == ("", "")


def test_a_suspended_app_is_left_exactly_as_it_is(world: World) -> None:
    folder = world.put("web")
    world.until_quiet()
    world.store.put(SUSPENDED + "web", "1")
    world.engine.remove_container("web", "main")
    edit(world, folder, Service("main", "h2", "image:1"))
    world.until_quiet()
    assert world.word("web") == "Suspended"
    assert world.running_services("web") == []
    world.store.put(SUSPENDED + "web", None)
    world.resync()
    world.until_quiet()
    assert world.word("web") == "Ready"


def test_a_foreign_project_of_the_same_name_is_left_alone(world: World) -> None:
    world.engine.plant_foreign("web", "/elsewhere/web")
    world.put("web")
    world.until_quiet()
    assert world.message("web").startswith("NameConflict")
    assert "/elsewhere/web" in world.message("web")
    assert not world.engine.mutations


def test_a_cycle_is_named_in_full_and_everyone_else_goes_on(world: World) -> None:
    world.put("a", requires=["b"])
    world.put("b", requires=["a"])
    world.put("c")
    world.until_quiet()
    assert "a -> b -> a" in world.message("a")
    assert "b -> a -> b" in world.message("b")
    assert world.word("c") == "Ready"


def test_a_run_of_one_app_looks_at_no_records_but_those_it_is_bound_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("db")
    world.put("app", requires=["db"], needs=("DB_USER",))
    for name in ("web", "wiki"):
        world.put(name)

    def never(_store: object) -> tuple[Record, ...]:
        raise AssertionError("with a thousand apps each installation would take a thousand times as long")

    monkeypatch.setattr(type(world.store), "records", never)
    for name in ("db", "app", "web", "wiki"):
        world.queue.add(name, world.clock.monotonic())
    world.until_quiet()
    monkeypatch.undo()
    assert [world.word(name) for name in ("db", "app", "web", "wiki")] == ["Ready"] * 4


def test_an_engine_that_is_away_changes_no_record_and_all_goes_on_when_it_is_back(world: World) -> None:
    world.put("web")
    world.until_quiet()
    before = world.record("web")
    world.engine.down()
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    assert world.record("web") == before
    assert world.results["web"][-1].parked
    world.clock.advance(60)
    world.engine.up(restarted=True)
    world.resync()
    world.until_quiet()
    assert world.word("web") == "Ready"


@pytest.mark.fault("F03")
def test_a_lost_store_takes_running_apps_over_without_touching_them_or_running_on_install(
    world: World,
) -> None:
    world.put("db")
    world.put("app", requires=["db"], needs=("DB_USER",))
    world.until_quiet()
    containers = [
        c.incarnation for n in ("db", "app") for c in world.engine.observe(n, (f"/apps/{n}",), ()).containers
    ]
    for name in ("db", "app"):
        world.store.forget(name)
    world.crash()
    world.until_quiet()
    assert (world.word("db"), world.word("app")) == ("Ready", "Ready")
    after = [
        c.incarnation for n in ("db", "app") for c in world.engine.observe(n, (f"/apps/{n}",), ()).containers
    ]
    assert after == containers
    assert world.installs == ["app"]


def test_a_dry_run_asks_for_nothing_that_changes_anything(world: World) -> None:
    from controller.model.effects import Effect, Host, drive

    def perform(effect: Effect[Any], host: Host) -> Any:
        asked.append(effect)
        return effect.perform(host)

    world.put("app", requires=["db"], needs=("DB_USER",), example={"A": "1"}, volumes=["v"])
    world.put("db")
    asked: list[Effect[Any]] = []
    result = drive(world.reconciler.run("app", dry_run=True), world.host, perform)
    assert [str(action) for action in result.actions] == [
        "ensure_volume  furtka_app_v",
        "seed_env       app (.env)",
        "hook           app:db:on_install (scripts/install.sh)",
        "hook           app:db:on_start (scripts/start.sh)",
        "compose_up     app",
    ]
    assert not [effect for effect in asked if effect.mutates]
    assert (world.store.record("app"), world.events, world.engine.mutations) == (None, [], [])
