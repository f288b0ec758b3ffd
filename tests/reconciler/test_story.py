"""What a person who only tails the log gets to read: who, what, why, and what comes next."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from controller.control import why
from controller.model.errors import AppError, EngineUnreachable
from controller.model.facts import STOPPED, SUSPENDED
from controller.model.observed import ExecResult, Rendered, Service
from controller.planner.health import Fault, FaultKind
from controller.planner.judge import health_reason
from controller.workqueue import ExponentialBackoff
from fakes.build import record
from fakes.world import INSTALL, World

CHECKED = Service("main", "h1", "image:1", has_healthcheck=True)


def look(world: World) -> None:
    world.resync()
    world.rest()


def story(world: World, name: str) -> list[str]:
    """What was said of the app since this was asked last, of levels and fields only the words."""
    said = [f"{event.name}: {event.message}" for event in world.events if event.app == name]
    world.events[:] = [event for event in world.events if event.app != name]
    return said


def test_of_several_folders_that_go_together_each_is_said_to_be_gone_and_its_status_says_so(
    world: World,
) -> None:
    for name in ("a", "b", "c", "d"):
        world.put(name)
    world.until_quiet()
    folders = {name: world.tree.folders.pop(name) for name in ("a", "b")}
    for name in folders:
        story(world, name)
    look(world)
    for name in folders:
        gone = "its folder is gone; if it stays so for 10 s it is removed, unless something holds it"
        assert story(world, name) == [f"app.missing: {gone}"]
        missing = world.record(name).condition("SourceMissing")
        assert missing is not None
        assert (missing.status, missing.reason, missing.message) == ("True", "FolderMissing", gone)
        assert world.word(name) == "Ready", "it runs on until the quiet period is over"
    look(world)
    assert story(world, "a") == [], "it is said once"
    world.tree.put(folders["a"])
    look(world)
    assert story(world, "a") == ["app.back: its folder is back; nothing was removed"]
    assert world.record("a").condition("SourceMissing") is None
    world.until_quiet()
    assert [line.partition(":")[0] for line in story(world, "b")] == ["app.removing", "app.removed"]


def test_that_a_folder_whose_removal_was_held_is_back_is_said_once_and_nothing_is_held_any_more(
    world: World,
) -> None:
    for number in range(10):
        world.put(f"n{number}")
    world.until_quiet()
    gone = [world.tree.folders.pop(f"n{number}") for number in range(4)]
    look(world)
    world.until_quiet()
    assert world.word("n0") == "Held"
    for number in range(4):
        story(world, f"n{number}")
    world.tree.put(replace(gone[0], compose="v2"), settled=False)  # edited meanwhile: it has to come to rest
    look(world)
    assert world.message("n0") == "Progressing: its folder is back"
    world.until_quiet()
    said = [line.partition(":")[0] for line in story(world, "n0")]
    assert (said[0], said.count("app.back"), world.word("n0")) == ("app.back", 1, "Ready")
    story(world, "n1")
    world.crash()  # from now on the others are missing anew, and still held
    world.rest()
    world.tree.put(gone[1])
    look(world)
    world.until_quiet()
    assert [line.partition(":")[0] for line in story(world, "n1")] == ["app.missing", "app.back", "app.ready"]
    assert {world.word(f"n{number}") for number in (2, 3)} == {"Held"}


def test_a_suspended_app_whose_folder_was_away_says_what_it_said_before(world: World) -> None:
    for name in ("a", "b", "c"):
        world.put(name)
    world.until_quiet()
    world.store.put(f"{SUSPENDED}a", "1")
    look(world)
    before = world.record("a")
    folder = world.tree.folders.pop("a")
    look(world)
    assert world.record("a").condition("SourceMissing") is not None
    world.tree.put(folder)
    look(world)
    assert world.record("a").conditions == before.conditions


def test_an_edit_names_the_files_that_changed(world: World) -> None:
    folder = world.put("web")
    world.until_quiet()
    story(world, "web")
    world.tree.put(replace(folder, compose="v2"))
    look(world)
    (changed,) = [event for event in world.events if event.name == "app.changed"]
    assert changed.message == "docker-compose.yaml changed"
    assert changed.fields["files"] == ["docker-compose.yaml"]


def test_what_an_app_waits_for_after_its_start_is_said(world: World) -> None:
    world.engine.hash_behaviour["h1"] = "unhealthy"
    world.put("web", CHECKED)
    world.rest()
    assert story(world, "web")[-1] == (
        "app.progressing: service main: health check is starting; it has 300 s to get there"
    )
    world.engine.set_health("web", "main", "healthy")
    look(world)
    assert story(world, "web") == ["app.ready: runs generation 1"]


def test_that_a_person_starts_or_resumes_an_app_is_said(world: World) -> None:
    world.put("web")
    world.until_quiet()
    for fact, said in (
        (STOPPED, "app.started: no longer stopped, by `homeport start`"),
        (SUSPENDED, "app.resumed: looked after again, by `homeport resume`"),
    ):
        world.store.put(f"{fact}web", "1")
        look(world)
        world.store.put(f"{fact}web", None)
        story(world, "web")
        look(world)
        assert story(world, "web")[0] == said


def test_a_suspended_app_that_is_to_be_stopped_says_so_before_it_is_resumed(world: World) -> None:
    world.put("web")
    world.until_quiet()
    for fact in (SUSPENDED, STOPPED):
        world.store.put(f"{fact}web", "1")
    look(world)
    suspended = world.record("web").condition("Suspended")
    assert suspended is not None
    assert "once it is taken up again it is stopped" in suspended.message
    assert world.word("web") == "Suspended"


def test_what_was_told_and_not_saved_does_not_stay_the_last_word(world: World) -> None:
    world.put("web", CHECKED)
    world.until_quiet()
    world.engine.set_health("web", "main", "unhealthy")
    world.resync()
    while "app.degraded" not in world.told("web"):
        world.step(Random(0))
    world.crash()
    assert world.word("web") == "Ready", "cut off between the two"
    world.engine.set_health("web", "main", "healthy")
    look(world)
    assert world.told("web")[-1] == "app.ready"
    story(world, "web")
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    assert story(world, "web") == []


def test_an_app_that_fails_again_and_again_has_failed_since_the_first_time(world: World) -> None:
    world.put("web")
    world.until_quiet()
    assert world.record("web").word_since is not None
    world.engine.fail("apply", "web", AppError("ApplyFailed", "no"), times=50)
    world.put("web", Service("main", "h2", "image:1"))
    world.rest()
    since = world.record("web").word_since
    assert (world.word("web"), since) == ("Failed", world.clock.now())
    world.until_quiet(limit=10)
    assert world.record("web").retries > 2
    assert world.record("web").word_since == since


def test_what_ends_soon_after_each_start_has_failed_since_the_first_time(world: World) -> None:
    world.put("web")
    world.rest()
    failed = set()
    for number in range(4):
        world.until_quiet(limit=1)
        world.engine.crash("web", "main", 3)
        world.queue.add("web", world.clock.monotonic())
        world.rest()
        assert world.word("web") == "Failed"
        failed.add(world.record("web").word_since)
        world.until_quiet(limit=8)
        assert world.word("web") == ("Degraded" if number else "Progressing"), "it runs for the moment"
    assert len(failed) == 1
    assert world.record("web").retries == 4


def test_a_try_within_a_second_is_not_said_to_be_in_none(world: World) -> None:
    world.put("web")
    world.until_quiet()
    world.backoffs = ExponentialBackoff(0.3, 300)
    world.engine.fail("apply", "web", AppError("ApplyFailed", "no"), times=50)
    world.put("web", Service("main", "h2", "image:1"))
    world.rest()
    assert story(world, "web")[-1] == "app.failed: no; next try in 1 s"


@pytest.mark.parametrize(("stopped", "reason"), [(False, "ContainerExited"), (True, "Stopped")])
def test_what_is_not_healthy_for_another_reason_than_its_check_says_which(
    world: World, stopped: bool, reason: str
) -> None:
    world.put("web")
    world.until_quiet()
    if stopped:
        world.store.put(f"{STOPPED}web", "1")
    else:
        world.clock.advance(60)
        world.engine.hash_behaviour["h1"] = "crash"
        world.engine.crash("web", "main", 3)
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    healthy = world.record("web").condition("Healthy")
    assert healthy is not None
    assert (healthy.status, healthy.reason) == ("False", reason)


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        (("missing",), "ContainerExited"), (("unhealthy", "down"), "ContainerExited"), (("looping",), "CrashLooping"),
        (("restarting",), "ContainerExited"),
        (("unhealthy", "starting"), "HealthCheckFailed"), (("paused", "starting"), "Paused"), (("starting",), "Progressing"),
        (("starting", "network"), "Drifted"), (("changed",), "Drifted"), ((), ""),
    ],
)  # fmt: skip
def test_the_worst_of_what_is_wrong_is_why_an_app_is_not_healthy(
    kinds: tuple[FaultKind, ...], reason: str
) -> None:
    assert health_reason(record(), [Fault("main", kind, "") for kind in kinds]) == reason


def test_what_is_not_there_has_not_ended_again_and_again() -> None:
    assert health_reason(record(retries=3), [Fault("main", "missing", "")]) == "ContainerExited"
    assert health_reason(record(retries=3), [Fault("main", "down", "")]) == "CrashLooping"


def test_what_was_taken_back_is_said_in_the_log_with_what_comes_next_and_on_record_without(
    world: World,
) -> None:
    world.put("web")
    world.until_quiet(limit=60)
    world.engine.hash_behaviour["h2"] = "crash"
    world.put("web", Service("main", "h2", "image:1"))
    world.until_quiet(limit=900)
    (told,) = [line for line in story(world, "web") if line.startswith("app.rolled_back")]
    said = world.message("web").removeprefix("RolledBack: ")
    kept_out = world.record("web").quarantine
    assert kept_out is not None
    assert said == f"generation 2 failed ({kept_out.reason}: {kept_out.message}); generation 1 runs again"
    next_to_come = "2 is not tried again until an input changes or you say `homeport reconcile web`"
    assert told == f"app.rolled_back: {said}. {next_to_come}"


def test_tries_of_the_files_before_an_edit_are_no_tries_of_the_edit(world: World) -> None:
    world.put("web")
    world.until_quiet()
    world.engine.fail("apply", "web", AppError("ApplyFailed", "no"), times=50)
    world.put("web", Service("main", "h2", "image:1"))
    world.until_quiet(limit=10)
    assert world.record("web").retries > 2
    world.put("web", Service("main", "h3", "image:1"))
    world.rest()
    assert world.record("web").retries == 1


def test_why_and_status_say_of_a_folder_that_is_gone_the_same(world: World) -> None:
    for name in ("a", "b", "c"):
        world.put(name)
    world.until_quiet()
    world.tree.folders.pop("a")
    look(world)
    records = {record.name: record for record in world.store.records()}
    told = why.to_text(why.explain(records, "a", world.clock.now(), {"running": True}))
    assert "But its folder is gone; if it stays so for 10 s it is removed" in told


@pytest.mark.parametrize("what", ["apply", "pull"])
def test_a_try_that_failed_is_one_line_with_what_failed_why_how_long_it_took_and_what_comes_next(
    world: World, what: str
) -> None:
    if what == "pull":
        world.engine.absent_images.add("image:1")
    world.engine.fail(what, "web", AppError("PullFailed", "image:1 cannot be had; log in"), times=3)
    world.put("web", Service("main", "h1", "image:1"))
    world.until_quiet(limit=60)
    failed = [event for event in world.events if event.name.endswith(".failed")]
    assert [event.name for event in failed] == ["app.failed"] * 3
    for event in failed:
        assert re.fullmatch(r"image:1 cannot be had; log in; next try in \d+ s", event.message)
        assert {"kind": "compose_up", "target": "web", "reason": "PullFailed"}.items() <= event.fields.items()
        assert float(str(event.fields["seconds"])) >= 0
        assert float(str(event.fields["retry_in"])) > 0


def test_a_try_that_failed_is_told_and_counted_also_where_the_engine_goes_while_what_ran_before_is_healed(
    world: World,
) -> None:
    world.put("db")
    folder = world.put("web", *(Service(name, "h1", "image:1") for name in ("main", "side")))
    world.until_quiet(limit=60)
    world.clock.advance(60)
    folder.manifest["requires"] = [{"app": "db", "on_install": "scripts/install.sh"}]
    folder.compose += "."
    works = world.engine.scripts[INSTALL]
    world.engine.scripts[INSTALL] = lambda _env, _container: ExecResult(3, b"")
    world.engine.kill("web", "main")
    world.engine.fail("restart", "web", EngineUnreachable("it is gone for a moment"))
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    assert (world.running_services("web"), world.results["web"][-1].parked) == (["side"], True), "it went"
    assert [event.name for event in world.events if event.name.endswith(".failed")] == [
        "hook.failed",
        "app.failed",
    ]
    left = world.record("web")
    assert (left.retries, left.next_try is not None, left.reason) == (1, True, "HookFailed")
    world.engine.scripts[INSTALL] = works
    world.until_quiet(limit=60)
    assert (world.word("web"), world.running_services("web")) == ("Ready", ["main", "side"])


def test_a_start_that_failed_is_told_and_counted_also_where_the_engine_goes_before_it_is_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("web", Service("main", "h1", "image:1"))
    world.until_quiet(limit=60)

    def fails(*_args: object, **_options: object) -> tuple[str, ...]:
        world.engine.fail("observe", "web", EngineUnreachable("it is gone for a moment"))
        raise AppError("ApplyFailed", "no such device")

    monkeypatch.setattr(world.engine, "apply", fails)
    world.put("web", Service("main", "h2", "image:1"))
    world.clock.advance(60)
    world.queue.add("web", world.clock.monotonic())
    world.rest()
    assert world.results["web"][-1].parked, "it went"
    (failed,) = (event for event in world.events if event.name.endswith(".failed"))
    assert failed.message.startswith("no such device; next try in ")
    left = world.record("web")
    assert (left.retries, left.next_try is not None, left.reason) == (1, True, "ApplyFailed")
    monkeypatch.undo()
    world.until_quiet(limit=120)
    assert (world.word("web"), world.running_services("web")) == ("Ready", ["main"])


@pytest.mark.parametrize("by", ["the engine that went", "a kill of the service"])
def test_what_a_start_took_away_that_nobody_could_look_at_is_brought_back_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    world.put("web", Service("main", "h1", "image:1"))
    world.until_quiet(limit=120)
    starts = _breaking(world, monkeypatch, goes=by == "the engine that went")
    world.put("web", Service("main", "h2", "image:2"))
    if by == "a kill of the service":
        world.clock.advance(5)
        chance = Random(0)
        while not starts:
            assert world.step(chance)
        world.crash()
    world.until_quiet(limit=3600)
    assert (world.word("web"), world.running_services("web")) == ("RolledBack", ["main"])
    assert len(starts) == 2, "the try that nobody looked at, and one more"


def test_an_app_that_the_engine_took_down_and_left_waits_for_nothing_but_the_engine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("web", Service("main", "h1", "image:1"))
    world.until_quiet(limit=120)
    world.engine.absent_images.add("image:2")
    world.engine.unpullable.add("image:2")
    world.put("web", Service("main", "h2", "image:2"))
    world.until_quiet(limit=400)
    assert world.record("web").retries > 5, "the next wait would be minutes"
    world.engine.unpullable.clear()
    starts = _breaking(world, monkeypatch, goes=True)
    while not starts:
        world.clock.advance(1)
        world.queue.tick(world.clock.monotonic())
        world.rest()
    monkeypatch.undo()
    world.queue.add("web", world.clock.monotonic())  # as everything is when the engine is back
    world.rest()
    assert (world.word("web"), world.running_services("web")) == ("Ready", ["main"])


def _breaking(world: World, monkeypatch: pytest.MonkeyPatch, *, goes: bool) -> list[str]:
    """Starts of image:2 end what runs and fail; after the first of them the engine is away for a moment, if it `goes`."""
    starts: list[str] = []
    works = world.engine.apply

    def apply(app: str, folder: str, rendered: Rendered, *args: Any, **options: Any) -> tuple[str, ...]:
        if rendered.services[0].image != "image:2":
            return works(app, folder, rendered, *args, **options)
        starts.append(app)
        if world.running_services("web"):
            world.engine.kill("web", "main")
        if goes and len(starts) == 1:
            world.engine.fail("observe", "web", EngineUnreachable("it is gone for a moment"))
        raise AppError("ApplyFailed", "no such device")

    monkeypatch.setattr(world.engine, "apply", apply)
    return starts


def test_a_hook_that_failed_is_told_for_itself_and_its_app_says_what_comes_next(world: World) -> None:
    world.engine.scripts[INSTALL] = lambda _env, _container: ExecResult(3, b"")
    world.put("db")
    world.put("web", requires=["db"], needs=("DB_USER",))
    world.rest()
    hook, app = [event for event in world.events if event.name.endswith(".failed")]
    assert (hook.name, app.name) == ("hook.failed", "app.failed")
    assert "exit status 3" in hook.message
    assert float(str(hook.fields["seconds"])) >= 0
    assert re.fullmatch(
        r"on_install hook of db \(scripts/install.sh\) failed; next try in \d+ s", app.message
    )


def test_a_failed_start_that_is_taken_back_is_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("web", Service("main", "h1", "image:1"))
    world.until_quiet(limit=60)
    story(world, "web")

    def takes_away(*_: object, **__: object) -> tuple[str, ...]:
        monkeypatch.undo()
        world.engine.remove_container("web", "main")
        raise AppError("ApplyFailed", "no such command")

    monkeypatch.setattr(world.engine, "apply", takes_away)
    world.put("web", Service("main", "h2", "image:1"))
    world.until_quiet(limit=60)
    said = story(world, "web")
    first = next(line for line in said if "no such command" in line)
    assert first.startswith("app.rolling_back: generation 2 failed, going back to 1: no such command")
    assert not [line for line in said if line.startswith(("action.failed", "app.failed"))]
