"""The hard cases of going back, healing, wishes, mounts and removal: what a demanding reader asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from controller.control.history import find_revision
from controller.control.volumes import left
from controller.model import effects as fx
from controller.model.errors import AppError, WriteFailed
from controller.model.facts import REMOVE, RESTART, ROLLBACK, SUSPENDED, UPDATE
from controller.model.observed import Bind, Container, ExecResult, Rendered, Service
from controller.model.record import Target
from fakes.world import World, good

OLD = Service("main", "h-old", "image:1")
NEW = Service("main", "h-new", "image:1")
DATA = replace(OLD, keeps_data=True)
CHECKED = replace(OLD, has_healthcheck=True)
JOB = Service("job", "h-job", "image:job", is_job=True)
CONF = "/apps/web/nginx.conf"
MOUNTING = replace(OLD, restart="always", binds=(Bind(CONF, "/etc/nginx.conf", True),))
DISK = "/mnt/disk"


def look(world: World, name: str = "web", limit: float = 0.0) -> None:
    """One look at the app, and what follows from it within `limit` seconds."""
    world.queue.add(name, world.clock.monotonic())
    world.until_quiet(limit=limit)


def wish(world: World, fact: str, name: str = "web", value: str = "1", limit: float = 0.0) -> None:
    world.store.put(fact + name, value)
    world.memory.requests.note(name)
    look(world, name, limit)


def main(world: World) -> Container:
    return world.engine.container("web", "main")


def ids(world: World) -> list[str]:
    return [c.incarnation for c in world.engine.observe("web", ("/apps/web",), ()).containers]


def target_of(world: World) -> Target:
    target = world.record("web").target
    assert target is not None
    return target


def break_files(world: World) -> None:
    world.tree.folders["web"].broken = "half a save"


def refuse_one_apply(world: World) -> None:
    """It fails before it touches anything."""
    world.engine.fail("apply", "web", AppError("NoAddressPool", "no pool"))


def cut_off_after(world: World, kind: type[fx.Effect[Any]]) -> None:
    """The process dies right after the first effect of that kind."""
    seen: list[object] = []

    def check(effect: object) -> None:
        if seen and isinstance(seen[-1], kind):
            raise InterruptedError
        seen.append(effect)

    with pytest.raises(InterruptedError):
        world.rest(check=check)


# -- going back ---------------------------------------------------------------------------------------


def test_an_update_that_dies_some_seconds_after_each_start_is_taken_back_after_a_few(world: World) -> None:
    good(world, OLD)
    world.put("web", NEW)
    world.rest()
    deaths = 0
    while world.record("web").quarantine is None:
        if world.running_services("web"):
            assert deaths < 3
            deaths += 1
            world.clock.advance(3.0)
            world.engine.crash("web", "main", 3)
            look(world)
        else:
            due = world.queue.tick(world.clock.monotonic())
            assert due is not None
            world.clock.advance(due - world.clock.monotonic())
            world.rest()
    world.until_quiet(limit=60)
    assert world.word("web") == "RolledBack"
    assert main(world).config_hash == "h-old"


def is_back_and_rests(world: World) -> None:
    assert world.word("web") == "RolledBack", world.message("web")
    assert set(world.running_services("web")) == {"main"}
    world.engine.mutations.clear()
    for _ in range(10):
        look(world)
    look(world, limit=3600)
    assert (world.word("web"), world.engine.mutations) == ("RolledBack", [])


def test_going_back_to_an_image_that_is_gone_ends(world: World) -> None:
    good(world, OLD, JOB)
    world.engine.hash_behaviour["h-new"] = "crash"
    world.put("web", replace(NEW, image="image:2"), JOB)
    world.rest()
    world.engine.lose_image("image:1")
    world.until_quiet(limit=120)
    is_back_and_rests(world)


def test_going_back_to_a_scaled_service_that_ran_two_images_ends(world: World) -> None:
    two = replace(OLD, scale=2)
    target = good(world, two, JOB)
    # As after a foreign `up --no-recreate`.
    applied = replace(target.services["main"], image_ids=("sha256:image:1", "sha256:older"))
    target = replace(target, services={**target.services, "main": applied})
    world.store.save(replace(world.record("web"), target=target))
    world.engine.hash_behaviour["h-new"] = "crash"
    world.put("web", replace(two, config_hash="h-new"), JOB)
    world.until_quiet(limit=300)
    is_back_and_rests(world)


def test_a_repair_leaves_a_good_generation_good_and_a_later_outage_takes_nothing_back(world: World) -> None:
    good(world, CHECKED)
    good(world, replace(CHECKED, config_hash="h-new"))
    world.engine.plant_surplus("web", "main")
    look(world)
    assert target_of(world).good
    world.engine.hash_behaviour["h-new"] = "unhealthy"  # what it talks to is away
    world.engine.set_health("web", "main", "unhealthy")
    look(world, limit=900)
    assert world.word("web") != "RolledBack"
    assert main(world).config_hash == "h-new"


def test_a_broken_save_on_top_of_a_failing_update_does_not_keep_it_from_going_back(world: World) -> None:
    good(world, OLD)
    world.engine.hash_behaviour["h-new"] = "crash"
    world.put("web", NEW)
    world.rest()
    break_files(world)
    look(world, limit=3600)
    assert world.running_services("web") == ["main"], world.message("web")


def test_an_app_goes_back_to_a_revision_that_needs_a_provider_which_the_failed_one_does_not(
    world: World,
) -> None:
    world.put("db")
    good(world, OLD, requires=("db",))
    world.engine.hash_behaviour["h-new"] = "crash"
    world.put("web", NEW)
    world.until_quiet(limit=3600)
    assert world.running_services("web") == ["main"], world.message("web")


def test_going_back_needs_nothing_that_only_the_newer_files_ask_for(world: World) -> None:
    world.put("db")
    good(world, OLD)
    good(world, NEW, requires=("db",))
    world.tree.folders["db"].scripts["scripts/start.sh"] = b"broken"
    world.engine.scripts[b"broken"] = lambda _env, _container: ExecResult(1, b"")
    wish(world, ROLLBACK, value="", limit=3600)
    assert main(world).config_hash == "h-old", world.message("web")


@pytest.mark.parametrize("named", [False, True])
def test_the_rollback_that_the_status_advises_after_a_bad_image_can_be_had(world: World, named: bool) -> None:
    good(world, DATA)
    world.engine.upstream["image:1"] = "sha256:bad"
    world.engine.image_behaviour["sha256:bad"] = "crash"
    wish(world, UPDATE, limit=120)
    assert "`homeport rollback web` goes back" in world.message("web")
    record = world.record("web")
    wish(world, ROLLBACK, value=find_revision(record, record.revision if named else ""), limit=60)
    assert main(world).image_id == "sha256:image:1"


def test_nothing_goes_back_by_itself_over_data_that_a_newer_image_has_had(world: World) -> None:
    good(world, DATA, JOB)
    # The tag has moved: the edit runs an image that migrates the data when it starts. Then the job fails.
    world.engine.move_tag("image:1", "sha256:newer")
    world.engine.hash_behaviour["h-fails"] = "fail"
    world.put(
        "web", replace(DATA, config_hash="h-new"), replace(JOB, config_hash="h-fails", shares_with="main")
    )
    world.until_quiet(limit=60)
    assert main(world).image_id == "sha256:newer", world.message("web")


def test_nothing_goes_back_by_itself_behind_an_on_update_hook_that_ran(world: World) -> None:
    ran = []

    def migrate(env: Mapping[str, str], _container: object) -> bytes:
        ran.append(env["FURTKA_CONSUMER_VERSION"])
        return b""

    def put(version: str, service: Service) -> None:
        folder = world.put("web", service, version=version)
        folder.manifest["requires"] = [{"app": "db", "on_update": "scripts/update.sh"}]
        folder.env = {}
        world.until_quiet(limit=120)

    world.engine.scripts[b"update"] = migrate
    world.put("db").scripts["scripts/update.sh"] = b"update"
    put("1.0.0", OLD)
    world.engine.hash_behaviour["h-new"] = "crash"
    put("2.0.0", NEW)
    assert ran == ["2.0.0"]
    assert main(world).config_hash == "h-new", world.message("web")


# -- healing, and edits that cannot be applied --------------------------------------------------------


def test_what_died_is_healed_while_the_image_of_an_edit_cannot_be_pulled(world: World) -> None:
    good(world, OLD)
    world.engine.absent_images.add("image:2")
    world.engine.unpullable.add("image:2")
    world.put("web", replace(NEW, image="image:2"))
    world.until_quiet(limit=30)
    assert world.running_services("web") == ["main"]
    world.engine.kill("web", "main")
    look(world, limit=3600)
    assert world.running_services("web") == ["main"], world.message("web")


def test_what_is_gone_is_healed_while_an_update_cannot_be_pulled(world: World) -> None:
    good(world, OLD)
    world.engine.fail("pull", "web", AppError("PullFailed", "registry away"), times=10**4)
    wish(world, UPDATE)
    world.engine.remove_container("web", "main")
    look(world, limit=3600)
    assert world.running_services("web") == ["main"], world.message("web")


def test_what_an_interrupted_re_creation_left_running_beside_the_service_is_taken_away(world: World) -> None:
    """Found by the simulation: it ran on beside the other container of the service, and all was said to be well."""
    world.put("web")
    world.until_quiet()
    world.engine.plant_surplus("web", "main")
    world.engine.plant_leftover("web", "main", "running")
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet()
    (left,) = world.engine.observe("web", ("/apps/web",), ()).containers
    assert left.name.startswith("web-main-")


def test_a_surplus_container_is_taken_away_and_the_image_that_was_applied_goes_on(world: World) -> None:
    good(world, OLD)
    world.engine.move_tag("image:1", "sha256:newer")
    world.engine.plant_surplus("web", "main")
    look(world, limit=60)
    assert world.running_services("web") == ["main"]
    assert main(world).image_id == "sha256:image:1"


@pytest.mark.parametrize("tag_moved", [False, True])
def test_a_broken_edit_after_an_apply_that_touched_nothing_changes_nothing(
    world: World, tag_moved: bool
) -> None:
    good(world, OLD)
    before = ids(world)
    if tag_moved:
        world.engine.move_tag("image:1", "sha256:newer")
    refuse_one_apply(world)
    world.put("web", NEW)
    world.rest()
    break_files(world)
    look(world, limit=60)
    target = target_of(world)
    assert (target.generation, target.good) == (1, True)
    assert ids(world) == before


def test_a_fix_of_what_is_unhealthy_is_retried_when_its_apply_touched_nothing(world: World) -> None:
    good(world, CHECKED)
    world.engine.set_health("web", "main", "unhealthy")
    look(world)
    refuse_one_apply(world)
    world.put("web", replace(CHECKED, config_hash="h-new"))
    world.until_quiet(limit=900)
    assert world.word("web") == "Ready", world.message("web")
    assert main(world).config_hash == "h-new"


def test_an_app_that_builds_something_is_applied_when_its_files_change_and_its_model_does_not(
    world: World,
) -> None:
    good(world, replace(OLD, is_built=True))
    world.engine.mutations.clear()
    world.tree.folders["web"].compose += " "  # stands for an edit of the Dockerfile
    look(world, limit=60)
    assert world.record("web").generation == 2
    assert "apply web" in world.engine.mutations


def test_a_crash_while_the_target_moves_on_runs_no_job_again(world: World) -> None:
    good(world, OLD, JOB)
    done = world.engine.container("web", "job").started_at
    world.put("web", OLD, JOB, description="other words")
    cut_off_after(world, fx.KeepModel)
    world.crash()
    world.until_quiet(limit=60)
    assert world.engine.container("web", "job").started_at == done


def test_the_model_of_the_target_on_record_is_kept_when_a_crash_comes_while_it_moves_on(world: World) -> None:
    good(world, OLD)
    world.put("web", OLD, description="other words")
    cut_off_after(world, fx.KeepModel)
    break_files(world)
    world.crash()
    world.until_quiet(limit=60)
    world.engine.kill("web", "main")
    look(world, limit=600)
    assert world.running_services("web") == ["main"], world.message("web")


def test_a_prune_of_stopped_containers_runs_no_finished_job_again(world: World) -> None:
    good(world, OLD, JOB)
    world.engine.remove_container("web", "job")
    world.engine.mutations.clear()
    look(world, limit=60)
    assert world.engine.mutations == []


# -- mounts -------------------------------------------------------------------------------------------


def test_a_service_whose_disk_is_not_there_is_not_started_along_with_another(world: World) -> None:
    first = Service("first", "h", "image:1")
    second = Service("second", "h", "image:1", binds=(Bind(DISK, "/data", False),))
    document = json.dumps({"services": {"first": {}, "second": {}}})
    world.put("web")
    world.engine.models["web"] = lambda app: Rendered(app.revision, (first, second), document)
    world.until_quiet(limit=60)
    before = world.engine.container("web", "second").incarnation
    world.engine.remove_container("web", "first")
    world.engine.lose_network("web")  # so both are due
    world.tree.missing.add(DISK)
    look(world)
    assert world.engine.container("web", "second").incarnation == before


def test_a_disk_that_is_unmounted_for_a_moment_restarts_nothing_onto_the_empty_mount_point(
    world: World,
) -> None:
    world.tree.directories[DISK] = "40:1"
    good(world, replace(DATA, binds=(Bind(DISK, "/data", False),)))
    before = ids(world)
    world.tree.directories[DISK] = "8:913"  # the bare mount point: on another device
    look(world, limit=60)
    assert ids(world) == before


def put_mounting(world: World, data: bytes, **fields: Any) -> None:
    world.put("web", MOUNTING, **fields).mounted = {"nginx.conf": data}
    world.until_quiet(limit=60)


def test_what_runs_from_copies_is_repaired_from_copies(world: World) -> None:
    put_mounting(world, b"good")
    first = target_of(world)
    put_mounting(world, b"bad")
    wish(world, ROLLBACK, value=first.revision, limit=60)
    assert world.word("web") == "RolledBack"
    copy = world.engine.service_of(main(world)).binds[0].source
    assert copy != CONF
    # An edit ends the quarantine, and has to wait: what runs goes on as it is.
    put_mounting(world, b"bad", requires=("nowhere",))
    assert world.word("web") == "Waiting"
    world.engine.crash("web", "main", 1)
    look(world, limit=60)
    world.engine.remove_container("web", "main")
    look(world, limit=60)
    assert world.engine.service_of(main(world)).binds[0].source == copy


def test_a_mounted_file_that_was_edited_after_a_restart_that_nobody_saw_is_taken_in(world: World) -> None:
    put_mounting(world, b"one")
    world.engine.crash("web", "main", 1)  # Homeport is down; the engine starts it again, with "one"
    before = main(world).started_at
    world.clock.advance(100)
    folder = world.tree.folders["web"]
    folder.mounted = {"nginx.conf": b"two"}
    folder.changed_at = world.clock.monotonic()
    world.boot()
    world.until_quiet(limit=60)
    assert main(world).started_at != before


# -- wishes -------------------------------------------------------------------------------------------


def suspended(world: World) -> Callable[[], None]:
    good(world, OLD)
    wish(world, SUSPENDED)
    return lambda: world.store.put(SUSPENDED + "web", None)


def provider_is_down(world: World) -> Callable[[], None]:
    world.put("db")
    good(world, OLD, requires=("db",))
    world.engine.pause("db", "main")
    wish(world, SUSPENDED, "db")  # nobody heals it

    def lift() -> None:
        world.engine.unpause("db", "main")
        look(world, "db")

    return lift


def disk_is_away(world: World) -> Callable[[], None]:
    good(world, OLD, Service("other", "h", "image:1", binds=(Bind(DISK, "/data", False),)))
    world.engine.remove_container("web", "other")
    world.tree.missing.add(DISK)
    return world.tree.missing.clear


@pytest.mark.parametrize("obstacle", [suspended, provider_is_down, disk_is_away])
def test_a_restart_that_cannot_be_done_now_is_done_later(
    world: World, obstacle: Callable[[World], Callable[[], None]]
) -> None:
    lift = obstacle(world)
    before = main(world).started_at
    wish(world, RESTART)
    assert main(world).started_at == before
    lift()
    look(world, limit=120)
    assert main(world).started_at != before
    assert world.store.get(RESTART + "web") is None


def test_a_restart_takes_who_shares_a_namespace_along_in_one_go(world: World) -> None:
    owner, sharer = Service("vpn", "h", "image:1"), Service("app", "h", "image:1", shares_with="vpn")
    good(world, owner, sharer)
    world.engine.mutations.clear()
    wish(world, RESTART, limit=60)
    assert world.engine.mutations == ["restart web"]


def test_an_update_wish_is_not_left_behind_by_a_rollback(world: World) -> None:
    good(world, OLD)
    good(world, NEW)
    world.engine.upstream["image:1"] = "sha256:newer"
    refuse_one_apply(world)
    wish(world, UPDATE)
    wish(world, ROLLBACK, value="", limit=600)
    assert world.word("web") == "RolledBack"
    assert world.store.get(UPDATE + "web") is None
    world.engine.mutations.clear()
    look(world)
    assert world.engine.mutations == []


def test_a_remove_wish_for_an_app_that_is_gone_does_not_wait_for_the_next_of_that_name(world: World) -> None:
    good(world, OLD)
    wish(world, REMOVE, limit=60)
    assert world.store.record("web") is None
    # A second `homeport remove web` that looked a moment before whether there is a web.
    wish(world, REMOVE, limit=600)
    world.put("web", NEW)
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"


# -- removal ------------------------------------------------------------------------------------------


def held(world: World, name: str) -> None:
    """Seven of eight folders are gone for a while and the brake holds; all are back but that of `name`."""
    gone = ["db", *(f"n{number}" for number in range(6))]
    for app in gone:
        world.put(app, requires=("db",) if app == "n0" else ())
    world.put("other")
    world.until_quiet(limit=60)
    folders = {app: world.tree.folders.pop(app) for app in gone}
    world.resync()
    world.until_quiet(limit=60)
    assert world.word(name) == "Held"
    for app in gone:
        if app != name:
            world.tree.put(folders[app])
    world.resync()
    world.until_quiet(limit=60)


def test_a_held_provider_is_not_released_by_an_edit_of_its_consumer(world: World) -> None:
    held(world, "db")
    assert world.word("db") == "RemovalBlocked"
    world.put("n0")  # no longer requires it
    world.resync()
    world.until_quiet(limit=120)
    assert world.word("db") == "Held"


def test_suspend_and_resume_do_not_release_what_is_held(world: World) -> None:
    held(world, "n1")
    wish(world, SUSPENDED, "n1", limit=30)
    world.store.put(SUSPENDED + "n1", None)
    look(world, "n1", limit=60)
    assert world.word("n1") == "Held"


def test_a_removal_that_cannot_move_the_folder_takes_nothing_down(world: World) -> None:
    good(world, OLD)

    def busy(app: str) -> str:
        raise WriteFailed(f"{app}: Device or resource busy")  # a mount point

    world.tree.move_out = busy  # type: ignore[method-assign]
    wish(world, REMOVE, limit=600)
    assert world.running_services("web") == ["main"], world.message("web")


@pytest.mark.fault("F04")
def test_an_app_that_is_installed_anew_is_not_removed_by_the_wish_that_removed_the_old_one(
    world: World,
) -> None:
    good(world, OLD)
    real = world.tree.move_out

    def move_out(app: str) -> str:
        world.engine.down()  # the removal does not get to its end
        return real(app)

    world.tree.move_out = move_out  # type: ignore[method-assign]
    wish(world, REMOVE)
    assert "web" not in world.tree.folders
    world.put("web", NEW)
    world.engine.up()
    world.resync()
    world.until_quiet(limit=120)
    assert world.word("web") == "Ready"


def install_pair(world: World, statuses: list[int]) -> None:
    """web, and db that has a hook for its removal; each run of the hook takes its exit status from the list."""
    world.engine.scripts[b"remove"] = lambda _env, _container: ExecResult(statuses.pop(0), b"")
    world.put("db", volumes=["data"]).scripts["scripts/remove.sh"] = b"remove"
    world.put("web", OLD, requires=("db",)).manifest["requires"][0]["on_remove"] = "scripts/remove.sh"
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"


def test_failures_of_taking_an_app_down_are_no_tries_of_its_on_remove_hook(world: World) -> None:
    statuses = [1, 0]
    install_pair(world, statuses)
    world.engine.fail("remove", "web", AppError("ApplyFailed", "busy"), times=3)
    del world.tree.folders["web"]
    look(world, limit=600)
    assert statuses == []
    assert world.store.record("web") is None


def test_a_provider_that_is_away_for_some_seconds_does_not_cost_the_on_remove_hook(world: World) -> None:
    statuses = [0]
    install_pair(world, statuses)
    world.engine.pause("db", "main")
    wish(world, SUSPENDED, "db")  # nobody heals it
    wish(world, REMOVE, limit=10)
    assert statuses == [0]
    world.engine.unpause("db", "main")
    look(world, "db", limit=600)
    assert statuses == []


def test_an_app_that_comes_back_after_its_on_remove_hook_is_installed_anew(world: World) -> None:
    install_pair(world, [0])
    folder = world.tree.folders.pop("web")
    world.engine.fail("keep_images", "web", AppError("ApplyFailed", "busy"), times=6)
    look(world, limit=20)
    assert world.word("web") == "Removing"
    assert "hook.done" in world.told("web")
    world.tree.put(folder)
    look(world, limit=600)
    assert world.word("web") == "Ready"
    assert world.installs == ["web", "web"], "its user in the database is gone"


def test_volumes_that_were_left_stay_listed_when_the_app_comes_back_without_them(world: World) -> None:
    good(world, OLD, volumes=["data"])
    wish(world, REMOVE, limit=60)
    world.put("web", OLD, volumes=["other"])
    world.until_quiet(limit=60)
    assert "furtka_web_data" in world.engine.volumes
    assert left(world.store) == {"web": ("furtka_web_data",)}


def test_a_plan_for_an_orphan_does_not_forget_it(world: World) -> None:
    good(world, OLD)
    del world.tree.folders["web"]
    world.store.forget("web")
    world.boot()
    world.memory.looks.note_orphan("web", "/apps/web")
    fx.drive(world.reconciler.run("web", dry_run=True), world.host)
    look(world)
    assert world.word("web") == "Orphaned"


def test_a_person_goes_back_though_the_files_are_broken(world: World) -> None:
    good(world, OLD)
    good(world, NEW)
    world.tree.folders["web"].broken = "half a save"
    look(world)
    assert world.word("web") == "Invalid"
    world.store.put(ROLLBACK + "web", "")
    look(world)
    world.until_quiet(limit=60)
    assert world.word("web") == "RolledBack"
    assert world.engine.container("web", "main").config_hash == "h-old"
