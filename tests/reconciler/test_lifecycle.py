"""The rest of an app's life, rule by rule: updates that fail, mounts, wishes of people, removal by command."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controller.model import effects as fx
from controller.model.effects import drive
from controller.model.errors import AppError, EngineUnreachable
from controller.model.facts import ADOPT, LEFT, REMOVE, RESTART, ROLLBACK, STOPPED, SUSPENDED, UPDATE
from controller.model.observed import Bind, ExecResult, Rendered, Service
from controller.status.history import find_revision
from fakes.world import World, good

OLD = Service("main", "h-old", "image:1")
NEW = Service("main", "h-new", "image:1")
CONF = "/apps/web/nginx.conf"


def ids(world: World, name: str = "web") -> list[str]:
    return [c.incarnation for c in world.engine.observe(name, (f"/apps/{name}",), ()).containers]


def wish(world: World, fact: str, name: str = "web", value: str = "1") -> None:
    world.store.put(fact + name, value)
    world.memory.requests.note(name)
    world.queue.add(name, world.clock.monotonic())
    world.until_quiet(limit=60)


# -- updates that fail --------------------------------------------------------------------------------


def test_what_has_ended_is_started_by_the_engine_alone_and_by_compose_where_that_fails(world: World) -> None:
    world.put("web", Service("main", "h1", "image:1"), Service("side", "h2", "image:1"))
    world.until_quiet()
    world.clock.advance(60)
    for fails, made in ((False, ["restart web"]), (True, ["apply web [main]"])):
        if fails:
            world.engine.fail("restart", "web", AppError("ApplyFailed", "its network is gone"))
        before = world.engine.container("web", "main").id
        world.engine.kill("web", "main")
        world.engine.mutations.clear()
        world.resync()
        world.until_quiet()
        assert world.engine.mutations == made
        assert world.word("web") == "Ready"
        assert world.engine.container("web", "main").id == before
        assert world.engine.container("web", "main").state == "running"
        world.clock.advance(60)


def test_who_is_paused_beside_one_that_has_ended_is_left_paused(world: World) -> None:
    world.put("web", Service("main", "h1", "image:1", scale=2))
    world.until_quiet()
    world.clock.advance(60)
    world.engine.pause("web", "main", 1)
    world.engine.kill("web", "main", 2)
    world.resync()
    world.until_quiet()
    states = [world.engine.container("web", "main", number).state for number in (1, 2)]
    assert states == ["paused", "running"]


def test_of_several_services_that_have_ended_compose_knows_the_order(world: World) -> None:
    world.put("web", Service("main", "h1", "image:1"), Service("side", "h2", "image:1"))
    world.until_quiet()
    world.clock.advance(60)
    for service in ("main", "side"):
        world.engine.kill("web", service)
    world.engine.mutations.clear()
    world.resync()
    world.until_quiet()
    assert world.engine.mutations == ["apply web [main side]"]


def test_of_what_an_interrupted_re_creation_left_compose_makes_one_again(world: World) -> None:
    world.put("web")
    world.until_quiet()
    world.clock.advance(60)
    world.engine.plant_leftover("web", "main")
    world.engine.kill("web", "main")
    world.engine.mutations.clear()
    world.resync()
    world.until_quiet()
    assert [made.split()[0] for made in world.engine.mutations] == ["apply"]


@pytest.mark.parametrize("how", ["crash", "unhealthy"])
def test_an_update_that_never_becomes_good_is_taken_back_and_not_tried_again(world: World, how: Any) -> None:
    checked = replace(OLD, has_healthcheck=True)
    good(world, checked)
    world.engine.hash_behaviour["h-new"] = how
    world.put("web", replace(checked, config_hash="h-new"))
    world.until_quiet(limit=900)
    assert world.word("web") == "RolledBack"
    assert "generation 2 failed" in world.message("web")
    assert world.engine.container("web", "main").config_hash.startswith("h-old")
    assert world.running_services("web") == ["main"]
    before = ids(world)
    world.resync()
    world.until_quiet(limit=3600)
    assert ids(world) == before
    assert world.told("web").count("app.rolled_back") == 1


def test_a_service_with_a_restart_policy_that_crashes_again_and_again_is_taken_back(world: World) -> None:
    always = replace(OLD, restart="always")
    good(world, always)
    world.put("web", replace(always, config_hash="h-new"))
    world.rest()
    for _ in range(3):
        world.engine.crash("web", "main", 3)
        world.queue.add("web", world.clock.monotonic())
        world.rest()
        world.clock.advance(0.5)
    world.until_quiet(limit=60)
    assert world.word("web") == "RolledBack"
    assert "restarts again and again" in world.message("web")


def test_an_update_that_runs_for_a_moment_and_ends_again_and_again_is_taken_back(world: World) -> None:
    good(world, OLD)
    world.put("web", NEW)
    world.rest()
    end_and_wait_for_the_next_start(world)
    assert world.engine.container("web", "main").config_hash == "h-new"
    end_and_wait_for_the_next_start(world)
    assert world.word("web") == "RolledBack"
    assert "container exited (3)" in world.message("web")
    assert world.engine.container("web", "main").config_hash == "h-old"


def test_what_ends_again_and_again_is_ready_only_after_it_was_stable_however_long_the_waits_are(
    world: World,
) -> None:
    world.policy = replace(world.policy, stable_after=0.5)
    world.boot()
    world.put("web", OLD)
    world.rest()
    for _ in range(6):
        end_and_wait_for_the_next_start(world)
        assert world.word("web") != "Ready"
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"


def end_and_wait_for_the_next_start(world: World) -> None:
    """Its process ends by itself soon after its start; the time of the next try comes."""
    world.clock.advance(0.2)
    world.engine.crash("web", "main", 3)
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    next_try = world.record("web").next_try
    if next_try is not None:
        world.clock.advance(max(0.0, (next_try - world.clock.now()).total_seconds()) + 0.01)
        world.rest()


def test_a_crash_loop_that_is_first_seen_between_two_runs_is_never_taken_for_good(world: World) -> None:
    world.engine.behaviour["web", "main"] = "crash"
    world.put("web", replace(OLD, restart="always"))
    world.rest()
    assert world.engine.container("web", "main").state == "restarting"
    world.engine.behaviour.clear()
    world.clock.advance(20)  # longer than an app has to be stable
    world.engine.crash("web", "main", 3)  # and the engine starts it again
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    target = world.record("web").target
    assert target is not None
    assert not target.good
    assert world.word("web") == "Progressing"
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"


def test_an_edit_ends_the_quarantine(world: World) -> None:
    good(world, OLD)
    world.engine.hash_behaviour["h-new"] = "crash"
    world.put("web", NEW)
    world.until_quiet(limit=60)
    world.put("web", replace(NEW, config_hash="h-third"))
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"
    assert world.engine.container("web", "main").config_hash == "h-third"
    assert world.record("web").quarantine is None


def test_the_edit_taken_back_by_hand_runs_from_the_folder_again(world: World) -> None:
    good(world, OLD)
    world.engine.hash_behaviour["h-new"] = "crash"
    world.put("web", NEW)
    world.until_quiet(limit=60)
    world.put("web", OLD)
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"
    target = world.record("web").target
    assert target is not None
    assert not target.detached


def test_a_person_who_says_reconcile_has_it_tried_again(world: World) -> None:
    good(world, OLD)
    world.engine.hash_behaviour["h-new"] = "crash"
    world.put("web", NEW)
    world.until_quiet(limit=60)
    world.engine.hash_behaviour.clear()
    world.memory.requests.note("web", lift=True)
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"
    assert world.engine.container("web", "main").config_hash == "h-new"


def fail_apply_once(world: World, error: str, *, takes_away: bool) -> None:
    """The next apply of web fails; with `takes_away` only after it has removed the container of before."""
    real = world.engine.apply

    def apply(app: str, *args: Any, **kwargs: Any) -> None:
        world.engine.apply = real  # type: ignore[method-assign]
        if takes_away:
            world.engine.remove_container("web", "main")
        raise AppError("ApplyFailed", error)

    world.engine.apply = apply  # type: ignore[method-assign]


def test_a_start_that_fails_after_it_took_the_old_one_away_is_taken_back(world: World) -> None:
    good(world, OLD)
    fail_apply_once(world, "exec: no such file", takes_away=True)
    world.put("web", NEW)
    world.until_quiet(limit=60)
    assert world.word("web") == "RolledBack"
    assert "no such file" in world.message("web")
    assert world.running_services("web") == ["main"]


def test_a_start_that_fails_and_took_nothing_away_is_retried(world: World) -> None:
    checked = replace(OLD, has_healthcheck=True)
    good(world, checked)
    world.engine.set_health("web", "main", "unhealthy")
    before = ids(world)
    fail_apply_once(world, "no address pool", takes_away=False)
    world.put("web", replace(checked, config_hash="h-new"))
    world.rest()
    assert world.word("web") == "Failed"
    assert ids(world) == before
    assert world.record("web").applying == ""
    world.until_quiet(limit=10)
    world.engine_moves()
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"
    assert world.record("web").quarantine is None


def test_a_start_that_fails_before_it_touched_anything_leaves_the_old_one_and_is_retried(
    world: World,
) -> None:
    good(world, OLD)
    before = ids(world)
    world.engine.absent_images.add("image:2")
    world.engine.unpullable.add("image:2")
    world.put("web", replace(NEW, image="image:2"))
    world.rest()
    assert world.word("web") == "Failed"
    assert ids(world) == before
    world.engine.unpullable.clear()
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"


def test_what_runs_is_healed_while_the_image_of_the_next_revision_cannot_be_had(world: World) -> None:
    good(world, OLD)
    world.clock.advance(60)
    world.engine.absent_images.add("image:2")
    world.engine.unpullable.add("image:2")
    world.put("web", replace(NEW, image="image:2"))
    world.rest()
    world.engine.remove_container("web", "main")
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    assert world.engine.container("web", "main").config_hash == "h-old"
    assert world.message("web").startswith("PullFailed"), "and the word is that of the failure"
    retries = world.record("web").retries
    again = ids(world)
    world.engine.remove_container("web", "main")
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    assert world.running_services("web") == [], "one that does not stay is not started at every event"
    world.until_quiet(limit=120)
    assert world.running_services("web") == ["main"]
    assert ids(world) != again
    assert world.record("web").retries > retries, "the next revision is tried all the time"
    world.engine.unpullable.clear()
    world.until_quiet(limit=900)
    assert world.word("web") == "Ready"
    assert world.engine.container("web", "main").config_hash == "h-new"


def test_a_first_install_that_fails_is_retried_and_says_that_there_is_nothing_to_go_back_to(
    world: World,
) -> None:
    world.engine.lines["web", "main"] = ["no such device"]
    world.engine.hash_behaviour["h-new"] = "crash"
    world.put("web", NEW)
    world.until_quiet(limit=60)
    assert world.word("web") == "Failed"
    assert world.message("web").count("no earlier revision to go back to") == 1
    assert world.record("web").retries > 1
    world.engine.hash_behaviour.clear()
    world.until_quiet(limit=900)
    assert world.word("web") == "Ready"


def test_another_image_under_data_is_left_as_it_is_and_the_person_decides(world: World) -> None:
    data = replace(OLD, keeps_data=True)
    good(world, data)
    world.engine.hash_behaviour["h-new"] = "crash"
    world.put("web", replace(data, config_hash="h-new", image="image:2"))
    world.until_quiet(limit=60)
    assert world.word("web") == "Failed"
    assert "`homeport rollback web` goes back to generation 1" in world.message("web")
    wish(world, ROLLBACK, value="")
    assert world.word("web") == "RolledBack"
    assert world.engine.container("web", "main").image_id == "sha256:image:1"


def test_a_rollback_runs_the_images_of_then_though_the_tag_has_moved(world: World) -> None:
    good(world, OLD)
    world.engine.move_tag("image:1", "sha256:bad")
    world.engine.image_behaviour["sha256:bad"] = "crash"
    world.put("web", NEW)
    world.until_quiet(limit=60)
    assert world.word("web") == "RolledBack"
    assert world.engine.container("web", "main").image_id == "sha256:image:1"


def test_a_rollback_that_fails_says_so_and_is_tried_again(world: World) -> None:
    good(world, OLD)
    world.engine.hash_behaviour["h-new"] = "crash"
    world.put("web", NEW)
    seen = []

    def check(_effect: object) -> None:
        quarantined = world.record("web").quarantine is not None
        if quarantined and not seen:
            seen.append(1)
            world.engine.fail("apply", "web", AppError("ApplyFailed", "the disk is on fire"))

    world.rest(check=check)
    while not seen and (due := world.queue.tick(world.clock.monotonic())) is not None:
        world.clock.advance(max(0.0, due - world.clock.monotonic()))
        world.rest(check=check)
    assert world.message("web").startswith("RollbackFailed")
    world.until_quiet(limit=60)
    assert world.word("web") == "RolledBack"


def test_a_person_goes_back_and_it_holds_until_the_inputs_change(world: World) -> None:
    good(world, OLD)
    good(world, NEW)
    wish(world, ROLLBACK, value="")
    assert world.word("web") == "RolledBack"
    assert world.engine.container("web", "main").config_hash == "h-old"
    world.crash()
    world.until_quiet(limit=60)
    assert world.engine.container("web", "main").config_hash == "h-old"
    world.put("web", replace(NEW, config_hash="h-third"))
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"


def test_a_bad_edit_is_taken_back_to_what_an_edit_before_it_had_been_undone_to(world: World) -> None:
    good(world, Service("main", "h-first", "image:1"))
    good(world, OLD)
    for service in (NEW, OLD):  # and the undoing runs for a moment only
        world.put("web", service)
        world.rest()
    world.engine.hash_behaviour["h-bad"] = "crash"
    world.put("web", replace(NEW, config_hash="h-bad"))
    world.until_quiet(limit=60)
    assert world.word("web") == "RolledBack"
    assert world.engine.container("web", "main").config_hash == "h-old"


def test_who_goes_back_twice_is_further_back_and_going_to_the_newest_lets_it_in_again(world: World) -> None:
    good(world, Service("main", "h-first", "image:1"))
    good(world, OLD)
    good(world, NEW)
    for config_hash in ("h-old", "h-first"):
        wish(world, ROLLBACK, value="")
        assert world.word("web") == "RolledBack"
        assert world.engine.container("web", "main").config_hash == config_hash
    wish(world, ROLLBACK, value=world.record("web").revision)
    assert (world.word("web"), world.record("web").quarantine) == ("Ready", None)
    assert world.engine.container("web", "main").config_hash == "h-new"


def test_going_forward_again_is_remembered_while_the_engine_is_away(world: World) -> None:
    good(world, OLD)
    good(world, NEW)
    wish(world, ROLLBACK, value="")
    world.engine.down()
    wish(world, ROLLBACK, value=world.record("web").revision)
    world.crash()
    world.engine.up()
    world.resync()
    world.until_quiet(limit=60)
    assert (world.word("web"), world.engine.container("web", "main").config_hash) == ("Ready", "h-new")


def test_an_image_is_gone_back_from_and_forward_to_by_the_revision_that_both_ran(world: World) -> None:
    good(world, OLD)
    world.engine.upstream["image:1"] = "sha256:newer"
    wish(world, UPDATE)
    world.engine_moves()
    world.until_quiet(limit=60)
    revision = world.record("web").revision

    def image() -> str:
        return world.engine.container("web", "main").image_id

    wish(world, ROLLBACK, value="")
    assert image() == "sha256:image:1"
    assert find_revision(world.record("web"), "") is None, "further back there is nothing"
    wish(world, ROLLBACK, value=revision)
    assert (world.word("web"), image()) == ("RolledBack", "sha256:newer")


def test_what_is_kept_out_of_a_suspended_app_stays_so_whoever_says_reconcile(world: World) -> None:
    good(world, OLD)
    good(world, NEW)
    wish(world, ROLLBACK, value="")
    world.store.put(SUSPENDED + "web", "1")
    world.memory.requests.note("web", lift=True)
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    world.store.put(SUSPENDED + "web", None)
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    assert world.word("web") == "RolledBack"


def test_what_a_person_went_back_to_becomes_good_when_it_holds(world: World) -> None:
    world.put("web", OLD)
    world.rest()
    good(world, NEW)
    first = world.record("web").history[0]
    assert not first.good
    wish(world, ROLLBACK, value=first.revision)
    assert world.word("web") == "RolledBack"
    assert (target := world.record("web").target) is not None
    assert (target.revision, target.good) == (first.revision, True)


def test_healing_uses_the_image_that_was_applied_though_its_tag_has_moved(world: World) -> None:
    good(world, OLD)
    world.engine.move_tag("image:1", "sha256:newer")
    world.engine.remove_container("web", "main")
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"
    assert world.engine.container("web", "main").image_id == "sha256:image:1"


def test_an_edit_of_one_service_brings_no_moved_tag_to_its_siblings(world: World) -> None:
    side = Service("side", "h-side", "image:7")
    good(world, OLD, side)
    world.engine.move_tag("image:7", "sha256:newer")
    good(world, NEW, side)
    assert world.engine.container("web", "side").image_id == "sha256:image:7"


def test_the_images_of_good_revisions_are_kept_and_let_go_with_the_app(world: World) -> None:
    good(world, OLD)
    assert world.engine.kept_images["web"] == {"sha256:image:1"}
    del world.tree.folders["web"]
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    assert "web" not in world.engine.kept_images


# -- inputs that are mounted --------------------------------------------------------------------------


def put_mounted(world: World, data: bytes, *services: Service) -> None:
    mounting = Service("main", "h-old", "image:1", binds=(Bind(CONF, "/etc/nginx.conf", True),))
    folder = world.put("web", *(services or (mounting, Service("other", "h", "image:1"))))
    folder.mounted = {"nginx.conf": data}


def starts(world: World) -> dict[str, str]:
    return {c.service: c.started_at for c in world.engine.observe("web", ("/apps/web",), ()).containers}


def test_a_changed_mounted_file_restarts_just_the_service_that_mounts_it(world: World) -> None:
    put_mounted(world, b"one")
    world.until_quiet(limit=60)
    before, same = starts(world), ids(world)
    put_mounted(world, b"two")
    world.until_quiet(limit=60)
    after = starts(world)
    assert world.word("web") == "Ready"
    assert after["other"] == before["other"]
    assert after["main"] != before["main"]
    assert [i.partition("@")[0] for i in ids(world)] == [i.partition("@")[0] for i in same]


def test_a_mounted_file_that_is_gone_is_said_while_what_runs_goes_on(world: World) -> None:
    put_mounted(world, b"one")
    world.until_quiet(limit=60)
    before = ids(world)
    world.tree.folders["web"].mounted = {}
    world.tree.missing = {CONF}
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    assert world.word("web") == "Invalid"
    assert "nginx.conf: mounted by a service but not there" in world.message("web")
    assert ids(world) == before


def test_a_bad_mounted_file_is_taken_back_to_the_copy_of_the_good_one(world: World) -> None:
    put_mounted(world, b"good")
    world.until_quiet(limit=60)
    world.engine.behaviour["web", "main"] = "crash"
    put_mounted(world, b"bad")
    digest = world.tree.load("web").mounted[CONF]  # type: ignore[union-attr]
    before = world.record("web").target
    assert before is not None
    world.rest()

    def back() -> bool:
        if world.record("web").quarantine is not None:
            world.engine.behaviour.clear()
            return True
        return False

    for _ in range(50):
        if back():
            break
        due = world.queue.tick(world.clock.monotonic())
        assert due is not None
        world.clock.advance(max(0.0, due - world.clock.monotonic()))
        world.rest()
    world.until_quiet(limit=60)
    assert world.word("web") == "RolledBack"
    service = world.engine.service_of(world.engine.container("web", "main"))
    then = before.services["main"].mounts[CONF]
    assert then != digest
    assert [bind.source for bind in service.binds] == [world.store.file("web", then)]


def test_an_update_cut_off_after_its_start_does_not_spoil_the_copy_to_go_back_to(world: World) -> None:
    mounting = Service("main", "h-old", "image:1", binds=(Bind(CONF, "/etc/nginx.conf", True),))
    put_mounted(world, b"good", mounting)
    world.until_quiet(limit=60)
    before = world.record("web").target
    assert before is not None
    world.engine.hash_behaviour["h-new"] = "crash"
    put_mounted(world, b"bad", replace(mounting, config_hash="h-new"))
    seen: list[object] = []

    def cut_off(effect: object) -> None:
        if seen and isinstance(seen[-1], fx.Apply):
            raise InterruptedError
        seen.append(effect)

    with pytest.raises(InterruptedError):
        world.rest(check=cut_off)
    world.crash()
    world.until_quiet(limit=60)
    assert world.word("web") == "RolledBack", world.message("web")
    service = world.engine.service_of(world.engine.container("web", "main"))
    assert [bind.source for bind in service.binds] == [
        world.store.file("web", before.services["main"].mounts[CONF])
    ]


def test_a_replaced_mounted_directory_restarts_the_service_and_a_reboot_does_not(world: World) -> None:
    world.tree.directories["/apps/web/conf"] = "8:1"
    mounting = replace(OLD, binds=(Bind("/apps/web/conf", "/conf", False),), restart="always")
    good(world, mounting)
    before = starts(world)
    world.tree.directories["/apps/web/conf"] = "8:2"
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    after = starts(world)
    assert after != before
    world.tree.directories["/apps/web/conf"] = "9:2"
    world.engine.down()
    world.engine.up(restarted=True)
    rebooted = starts(world)
    world.resync()
    world.until_quiet(limit=60)
    assert starts(world) == rebooted
    assert world.word("web") == "Ready"


def test_words_of_the_manifest_change_nothing_that_runs(world: World) -> None:
    good(world, OLD)
    before, done = ids(world), len(world.engine.mutations)
    world.put("web", OLD, description="other words")
    world.until_quiet(limit=60)
    record = world.record("web")
    assert (world.word("web"), record.generation, record.observed_generation) == ("Ready", 2, 2)
    assert ids(world) == before
    assert world.engine.mutations[done:] == []


# -- hooks -------------------------------------------------------------------------------------------


def test_on_update_runs_once_before_the_new_version_starts(world: World) -> None:
    ran = []
    world.engine.scripts[b"update"] = lambda env, _c: (
        ran.append(env["FURTKA_CONSUMER_VERSION"]) or b"NEW_KEY=1\n"
    )  # type: ignore[func-returns-value]
    world.put("db")
    hooked = [{"app": "db", "on_update": "scripts/update.sh"}]

    def put(version: str) -> None:
        folder = world.put("web", OLD)
        folder.manifest |= {"requires": hooked, "version": version}
        folder.env = {}
        world.tree.folders["db"].scripts["scripts/update.sh"] = b"update"

    put("1.0.0")
    world.until_quiet(limit=60)
    assert ran == []
    put("2.0.0")
    world.until_quiet(limit=60)
    assert ran == ["2.0.0"]
    assert world.tree.folders["web"].env == {"NEW_KEY": "1"}
    assert world.word("web") == "Ready"


def test_on_remove_runs_in_the_provider_after_the_app_is_down_with_its_last_values(world: World) -> None:
    seen = []

    def clean_up(env: Any, _container: object) -> bytes:
        seen.append(
            (env["FURTKA_CONSUMER_APP"], env["FURTKA_CONSUMER_ENV_DB_USER"], world.running_services("web"))
        )
        return b""

    world.engine.scripts[b"remove"] = clean_up
    install_pair(world)
    del world.tree.folders["web"]
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    assert seen == [("web", "web", [])]
    assert world.store.record("web") is None


def test_while_an_on_remove_hook_runs_the_status_says_so_and_that_nothing_else_does(world: World) -> None:
    seen = []

    def look(_env: object, _container: object) -> bytes:
        seen.append((world.message("web"), world.record("web").observed_services))
        return b""

    world.engine.scripts[b"remove"] = look
    install_pair(world)
    del world.tree.folders["web"]
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    ((message, services),) = seen
    assert "its containers are gone; now runs: on_remove hook of db (scripts/remove.sh)" in message
    assert services == {}


def install_pair(world: World) -> None:
    world.put("db", volumes=["data"])
    folder = world.put("web", OLD, requires=("db",))
    folder.manifest["requires"][0]["on_remove"] = "scripts/remove.sh"
    world.tree.folders["db"].scripts["scripts/remove.sh"] = b"remove"
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"


def test_an_on_install_hook_that_gives_an_empty_value_runs_once(world: World) -> None:
    runs = []
    world.engine.scripts[b"install"] = lambda _env, _c: runs.append(1) or b"DB_USER=web\nDB_EXTRA=\n"
    install_pair(world)
    world.resync()
    world.until_quiet(limit=60)
    assert len(runs) == 1


def test_an_on_remove_hook_that_always_fails_does_not_hold_the_removal_for_ever(world: World) -> None:
    world.engine.scripts[b"remove"] = lambda _env, _c: ExecResult(1, b"")
    install_pair(world)
    del world.tree.folders["web"]
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    assert world.store.record("web") is None
    assert world.told("web").count("hook.failed") == 3
    assert world.word("db") == "Ready"


def test_a_provider_that_goes_with_its_consumer_goes_last(world: World) -> None:
    install_pair(world)
    world.put("other")
    world.put("another")
    world.until_quiet(limit=60)
    done = len(world.engine.mutations)
    for name in ("db", "web"):
        del world.tree.folders[name]
        world.queue.add(name, world.clock.monotonic())
    world.until_quiet(limit=120)
    removals = [m for m in world.engine.mutations[done:] if m.startswith("remove")]
    assert removals == ["remove web", "remove db"]
    assert "the folder of db is gone, too" in " ".join(e.message for e in world.events if e.app == "web")


def test_a_consumer_that_follows_its_provider_is_restarted_with_it(world: World) -> None:
    world.put("db", OLD)
    folder = world.put("web", OLD)
    folder.manifest["requires"] = [{"app": "db", "restart": True}]
    world.until_quiet(limit=60)
    before = starts(world)
    world.engine.kill("db", "main")
    world.queue.add("db", world.clock.monotonic())
    world.until_quiet(limit=60)
    assert world.word("db") == world.word("web") == "Ready"
    once = starts(world)
    assert once != before
    world.resync()
    world.until_quiet(limit=60)
    assert starts(world) == once


# -- wishes ------------------------------------------------------------------------------------------


def test_stop_stays_over_a_restart_of_the_service_until_start(world: World) -> None:
    good(world, OLD)
    wish(world, STOPPED)
    assert (world.word("web"), world.running_services("web")) == ("Stopped", [])
    world.crash()
    world.until_quiet(limit=60)
    assert (world.word("web"), world.running_services("web")) == ("Stopped", [])
    world.store.put(STOPPED + "web", None)
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    assert (world.word("web"), world.running_services("web")) == ("Ready", ["main"])
    assert "app.drift" not in world.told("web")


def test_restart_is_done_once(world: World) -> None:
    good(world, OLD, Service("other", "h", "image:1"))
    before = starts(world)
    wish(world, RESTART)
    once = starts(world)
    assert all(once[service] != before[service] for service in before)
    world.resync()
    world.until_quiet(limit=60)
    assert starts(world) == once
    assert world.store.get(RESTART + "web") is None


def test_update_pulls_and_applies_what_moved_and_nothing_else(world: World) -> None:
    good(world, OLD, Service("other", "h", "image:9"))
    before = starts(world)
    world.engine.upstream["image:1"] = "sha256:newer"
    wish(world, UPDATE)
    after = starts(world)
    assert world.word("web") == "Ready"
    assert world.engine.container("web", "main").image_id == "sha256:newer"
    assert after["other"] == before["other"]
    assert world.store.get(UPDATE + "web") is None
    assert "app.up_to_date" not in world.told("web")


def test_an_update_whose_pull_fails_is_told_and_what_runs_is_healed_all_the_same(world: World) -> None:
    good(world, OLD)
    world.engine.unpullable.add("image:1")
    wish(world, UPDATE)
    assert "PullFailed" in str(world.events)
    world.engine.crash("web", "main", 3)
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"
    assert world.running_services("web") == ["main"]


def test_an_update_whose_pull_fails_while_the_engine_goes_leaves_no_app_that_progresses_for_ever(
    world: World,
) -> None:
    good(world, OLD)
    world.engine.unpullable.add("image:1")
    world.engine.crash("web", "main", 3)
    world.engine.fail("restart", "web", EngineUnreachable("it is gone for a moment"))
    world.store.put(UPDATE + "web", "1")
    world.memory.requests.note("web")
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    assert world.results["web"][-1].parked, "it went"
    assert (world.word("web"), world.told("web").count("action.failed")) == ("Ready", 1)


def test_an_update_that_cannot_be_pulled_is_told_once_and_changes_nothing(world: World) -> None:
    good(world, OLD)
    before = ids(world)
    world.engine.fail("pull", "web", AppError("PullFailed", "the registry is down"))
    wish(world, UPDATE)
    assert (world.word("web"), ids(world)) == ("Ready", before)
    assert [str(a) for a in world.results["web"][-1].actions] == [
        "error          web (PullFailed: the registry is down)"
    ]
    assert world.told("web")[-1] == "action.failed"
    assert world.store.get(UPDATE + "web") is None


def test_an_update_that_cannot_be_pulled_lets_nothing_in_that_is_kept_out(world: World) -> None:
    good(world, OLD)
    good(world, NEW)
    wish(world, ROLLBACK, value="")
    before = ids(world)
    world.engine.fail("pull", "web", AppError("PullFailed", "the registry is down"))
    wish(world, UPDATE)
    assert (world.word("web"), ids(world)) == ("RolledBack", before)
    wish(world, UPDATE)
    assert (world.word("web"), world.engine.container("web", "main").config_hash) == ("Ready", "h-new")


def test_an_update_to_a_bad_image_is_taken_back(world: World) -> None:
    good(world, OLD)
    world.engine.upstream["image:1"] = "sha256:bad"
    world.engine.image_behaviour["sha256:bad"] = "crash"
    wish(world, UPDATE)
    world.until_quiet(limit=60)
    assert world.word("web") == "RolledBack"
    assert world.engine.container("web", "main").image_id == "sha256:image:1"
    assert world.store.get(UPDATE + "web") is None


def test_a_moved_tag_alone_changes_nothing_and_is_shown_in_the_plan(world: World) -> None:
    from controller.model.effects import drive

    good(world, OLD)
    before = ids(world)
    world.engine.move_tag("image:1", "sha256:newer")
    world.resync()
    world.until_quiet(limit=60)
    assert ids(world) == before
    (action,) = drive(world.reconciler.run("web", dry_run=True), world.host).actions
    assert str(action).startswith("skip           web (service main: image:1 is another image now")


def test_adopt_takes_over_a_project_that_runs_from_elsewhere(world: World) -> None:
    world.engine.plant_foreign("web", "/srv/old/web")
    world.put("web", OLD)
    world.until_quiet(limit=60)
    assert world.message("web").startswith("NameConflict")
    assert world.running_services("web") == []
    wish(world, ADOPT)
    assert world.word("web") == "Ready"


def test_a_suspended_app_says_in_what_it_differs(world: World) -> None:
    good(world, OLD)
    world.store.put("suspended:web", "1")
    world.put("web", NEW)
    world.until_quiet(limit=60)
    suspended = world.record("web").condition("Suspended")
    assert suspended is not None
    assert suspended.message.endswith("; drift: service main: config hash differs (hash)")
    assert world.engine.container("web", "main").config_hash == "h-old"


def test_a_suspended_app_names_the_mounted_file_that_changed_and_restarts_nothing(world: World) -> None:
    put_mounted(world, b"one")
    world.until_quiet(limit=60)
    world.store.put("suspended:web", "1")
    before = ids(world)
    put_mounted(world, b"two")
    world.until_quiet(limit=60)
    suspended = world.record("web").condition("Suspended")
    assert suspended is not None
    assert suspended.message.endswith(f"; drift: service main: bind-mounted file {CONF} changed")
    assert ids(world) == before
    world.store.put("suspended:web", None)
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"
    assert ids(world) != before


# -- removal by command, leftovers, orphans ------------------------------------------------------------


def test_remove_takes_the_app_down_keeps_its_folder_aside_and_its_volumes_listed(world: World) -> None:
    good(world, OLD, volumes=["data"])
    wish(world, REMOVE)
    assert world.store.record("web") is None
    assert list(world.tree.removed) == ["/apps/.removed/web"]
    assert world.store.get(LEFT + "web") == '["furtka_web_data"]'
    assert "furtka_web_data" in world.engine.volumes
    world.put("web", OLD, volumes=["data"])
    world.until_quiet(limit=60)
    assert world.word("web") == "Ready"


def test_remove_of_a_provider_is_withdrawn_for_its_consumer(world: World) -> None:
    install_pair(world)
    wish(world, REMOVE, "db")
    assert world.store.get(REMOVE + "db") is None
    assert "required by" in next(e.message for e in world.events if e.name == "action.failed")
    assert world.word("db") == "Ready"
    assert world.running_services("db") == ["main"]


def test_a_renamed_folder_is_one_removal_and_then_one_install(world: World) -> None:
    good(world, OLD)
    folder = world.tree.folders.pop("web")
    renamed = world.put("site", OLD)
    renamed.identity = folder.identity
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    assert "its folder was web until now" in world.message("site")
    assert world.running_services("site") == []
    world.until_quiet(limit=60)
    said = [
        e.message for e in world.events if e.app == "site" and "its folder was web until now" in e.message
    ]
    assert len(said) == 1, "told, and once"
    assert world.word("site") == "Ready"
    assert world.store.record("web") is None


@pytest.mark.parametrize("asked", [False, True])
def test_a_folder_that_goes_and_was_never_applied_takes_nothing_down_unless_a_person_says_so(
    world: World, asked: bool
) -> None:
    world.put("other")
    world.engine.plant_foreign("web", "/apps/web")
    world.put("web", OLD).broken = "is not there"
    world.until_quiet(limit=60)
    assert world.word("web") == "Invalid"
    if asked:
        wish(world, REMOVE)
    else:
        del world.tree.folders["web"]
        world.resync()
    world.until_quiet(limit=60)
    assert world.store.record("web") is None
    assert world.running_services("web") == ([] if asked else ["theirs"])
    (said,) = (event.message for event in world.events if event.name == "app.removed")
    assert ("nothing of it was ever started here" in said) is not asked


def test_an_orphan_is_said_and_never_removed_until_a_person_does(world: World) -> None:
    good(world, OLD)
    del world.tree.folders["web"]
    world.store.forget("web")
    world.boot()
    world.memory.looks.note_orphan("web", "/apps/web")
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    assert world.word("web") == "Orphaned"
    world.resync()
    world.until_quiet(limit=3600)
    assert world.running_services("web") == ["main"]
    wish(world, REMOVE)
    assert world.running_services("web") == []
    assert world.store.record("web") is None


def test_an_orphan_is_still_one_when_the_tree_was_lost_in_between(world: World) -> None:
    good(world, OLD)
    del world.tree.folders["web"]
    world.store.forget("web")
    world.boot()
    world.memory.looks.note_orphan("web", "/apps/web")
    world.queue.add("web", world.clock.monotonic())
    world.until_quiet(limit=60)
    world.tree.lost = "its disk is gone"
    world.resync()
    world.rest()
    assert world.word("web") == "Unknown"
    world.tree.lost = ""
    world.resync()
    world.until_quiet(limit=3600)
    assert world.word("web") == "Orphaned"
    assert world.running_services("web") == ["main"]


# -- root causes --------------------------------------------------------------------------------------


def test_a_chain_of_consumers_waits_under_the_one_root_cause(world: World) -> None:
    world.engine.absent_images.add("image:1")
    world.engine.unpullable.add("image:1")
    world.put("a", OLD)
    other = replace(OLD, image="image:7")
    world.put("b", other, requires=("a",))
    world.put("c", other, requires=("b",))
    world.until_quiet(limit=900)
    assert world.message("b") == "DependencyNotReady: waits for a: it is Failed (PullFailed)"
    assert world.message("c") == "DependencyNotReady: waits for b: it waits for a: it is Failed (PullFailed)"
    assert world.record("c").retries == 0
    assert len(world.told("c")) <= 4
    world.engine.unpullable.clear()
    world.until_quiet(limit=900)
    assert [world.word(name) for name in "abc"] == ["Ready"] * 3


def test_who_runs_between_two_ends_is_not_ready_and_no_consumer_starts_on_it(world: World) -> None:
    world.put("db", OLD)
    world.rest()
    for number in range(5):
        world.engine.crash("db", "main", 3)
        world.queue.add("db", world.clock.monotonic())
        world.rest()
        assert world.word("db") == "Failed"
        while not world.running_services("db"):
            due = world.queue.tick(world.clock.monotonic())
            assert due is not None
            world.clock.advance(max(0.0, due - world.clock.monotonic()))
            world.rest()
        if number == 0:
            world.put("web", OLD, requires=("db",))
        world.resync()
        world.rest()
        assert world.word("db") != "Ready", "however long the wait before this start was"
        assert (world.word("web"), world.record("web").retries) == ("Waiting", 0)
    assert world.told("web") == ["app.discovered", "app.waiting"], "one cause, said once"
    world.until_quiet(limit=900)
    assert [world.word(name) for name in ("db", "web")] == ["Ready", "Ready"]


# -- what a container said last -------------------------------------------------------------------------


def test_a_crash_loop_is_told_with_its_exit_code_and_last_lines_once(world: World) -> None:
    world.engine.lines["web", "main"] = ["loading", "boom: no config"]
    world.engine.behaviour["web", "main"] = "crash"
    world.put("web", replace(OLD, restart="always"))
    world.rest()
    assert world.word("web") == "Degraded"
    ended = "ContainerExited: service main: ended (exit 3), and the engine starts it again"
    assert world.message("web") == f"{ended}; main said last: loading | boom: no config"
    told = len(world.events)
    world.engine.lines["web", "main"] = ["loading", "boom: other"]
    world.resync()
    world.rest()
    assert len(world.events) == told


def test_a_first_end_is_no_loop_and_a_second_one_is(world: World) -> None:
    world.engine.behaviour["web", "main"] = "crash"
    world.put("web", OLD)
    world.rest()
    assert world.word("web") == "Failed"
    assert world.message("web").startswith("ContainerExited: service main: container exited (3)")
    while world.record("web").retries < 2:
        world.until_quiet(limit=2)
    assert world.message("web").startswith("CrashLooping: service main: container exited (3)")


def crash_every(world: World, seconds: float, times: int) -> None:
    for _ in range(times):
        world.engine.crash("web", "main", 9)
        world.queue.add("web", world.clock.monotonic())
        until = world.clock.monotonic() + seconds
        world.until_quiet(limit=seconds)
        world.clock.advance(until - world.clock.monotonic())


@pytest.mark.parametrize("seconds", [2.0, 13.0, 170.0, 300.0])
def test_a_crash_loop_is_a_line_now_and_then_however_slow_it_is(world: World, seconds: float) -> None:
    good(world, replace(OLD, restart="unless-stopped"))
    world.engine.lines["web", "main"] = ["out of memory"]
    crash_every(world, seconds, 10)
    begun = len(world.told("web"))
    for number in range(90):
        crash_every(world, seconds, 1)
        if number % 10 == 0:
            assert world.word("web") == "Degraded"
            assert "(exit 9, " in world.message("web")
            assert world.message("web").endswith("; main said last: out of memory")
    assert world.told("web")[begun:] == ["app.degraded"] * 3, "at 16, 32 and 64 ends"
    assert "64 times or more" in world.message("web")
    world.until_quiet(limit=400)
    assert world.word("web") == "Ready"


def test_a_crash_loop_is_degraded_since_it_began(world: World) -> None:
    good(world, replace(OLD, restart="unless-stopped"))
    crash_every(world, 13, 3)
    since = world.record("web").word_since
    crash_every(world, 13, 20)
    assert world.record("web").word_since == since
    healthy = world.record("web").condition("Healthy")
    assert healthy is not None
    assert (healthy.status, healthy.reason) == ("False", "CrashLooping")


def test_a_first_end_is_told_with_its_exit_code_and_last_lines(world: World) -> None:
    good(world, replace(OLD, restart="unless-stopped"))
    world.engine.lines["web", "main"] = ["out of memory"]
    before = len(world.events)
    crash_every(world, 13, 1)
    assert [event.name for event in world.events[before:]] == ["app.drift", "app.progressing", "app.ready"]
    told = "ended or restarted by no action of ours: web-main-1 (exit 9); main said last: out of memory"
    assert world.events[before].message == told


def test_what_a_person_restarts_begins_anew(world: World) -> None:
    good(world, replace(OLD, restart="unless-stopped"))
    crash_every(world, 2, 8)
    assert world.word("web") == "Degraded"
    wish(world, RESTART)
    assert world.word("web") == "Ready"
    assert world.record("web").ends == {}


def test_a_container_that_looped_and_then_stays_is_ready_again(world: World) -> None:
    good(world, replace(OLD, restart="always"))
    for _ in range(4):
        world.engine.crash("web", "main", 3)
        world.queue.add("web", world.clock.monotonic())
        world.rest()
    assert world.message("web").startswith("CrashLooping")
    world.until_quiet(limit=60)
    assert world.message("web").startswith("CrashLooping"), "four ends need more calm than one"
    world.until_quiet(limit=100)
    assert world.word("web") == "Ready"


# -- what time decides ----------------------------------------------------------------------------------


def test_the_moment_at_which_health_is_decided_is_on_record_until_it_is(world: World) -> None:
    world.engine.lines["web", "main"] = ["loading"]
    world.engine.behaviour["web", "main"] = "unhealthy"
    world.put("web", replace(OLD, has_healthcheck=True))
    world.rest()
    begun = world.record("web")
    assert (world.word("web"), begun.started_at is not None) == ("Progressing", True)
    assert begun.deadline == begun.started_at + timedelta(seconds=world.policy.health_timeout)  # type: ignore[operator]
    world.resync()
    world.rest()
    assert world.record("web").deadline == begun.deadline
    world.until_quiet(limit=900)
    assert (world.word("web"), world.record("web").deadline) == ("Degraded", None)
    told = "HealthCheckFailed: service main: health check fails; main said last: loading; "
    assert world.message("web").startswith(told)


def test_the_moment_at_which_it_has_been_stable_is_on_record(world: World) -> None:
    world.put("web", OLD)
    world.until_quiet(limit=60)
    world.engine.crash("web", "main", 3)
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    healed = world.record("web")
    assert world.word("web") == "Progressing"
    assert healed.deadline is not None
    world.until_quiet(limit=60)
    assert (world.word("web"), world.record("web").deadline) == ("Ready", None)


# -- what a plan says -----------------------------------------------------------------------------------


def test_an_edit_is_told_with_what_it_changes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def differences(rendered: Rendered, before: Rendered) -> dict[str, str]:
        seen.append((before.revision, rendered.revision))
        return {"main": "environment WORD changed"}

    monkeypatch.setattr(world.engine, "differences", differences)
    world.put("web", OLD)
    world.until_quiet(limit=60)
    world.resync()
    world.rest()
    assert seen == [], "asked for an edit alone"
    world.put("web", NEW)
    world.until_quiet(limit=60)
    assert len(set(seen)) == 1
    told = [event.message for event in world.events if event.name == "app.progressing"]
    assert told[-1] == "compose_up web: service main: config hash differs (environment WORD changed)"


def test_the_plan_of_an_app_whose_provider_waits_for_a_person_has_nothing_that_is_due(world: World) -> None:
    world.store.put(STOPPED + "db", "1")
    world.put("db", OLD)
    world.put("web", OLD, requires=("db",))
    world.until_quiet(limit=60)
    assert [world.word(name) for name in ("db", "web")] == ["Stopped", "Waiting"]
    (action,) = drive(world.reconciler.run("web", dry_run=True), world.host).actions
    assert (action.kind, "db" in action.detail) == ("wait", True)
