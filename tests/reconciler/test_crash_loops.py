"""Crash loops of containers that nobody but us starts again: what counts as one, what waits, and what ends it."""

from __future__ import annotations

import pytest

from controller.model.facts import RESTART, STOPPED
from controller.model.observed import Bind, Service
from controller.model.values import replace
from fakes.world import World, good

MAIN = Service("main", "h-main", "image:1")
SIDE = Service("side", "h-side", "image:1")
CONF = "/apps/web/nginx.conf"
SLOW = 15.0
"""Seconds after each start at which it ends: more than an app has to be stable."""


def wake(world: World, name: str = "web") -> None:
    world.queue.add(name, world.clock.monotonic())
    world.rest()


def end(
    world: World, service: str = "main", *, after: float = SLOW, name: str = "web", number: int = 1
) -> None:
    """Its process ends by itself so long after its start."""
    world.let_pass(after)
    world.engine.crash(name, service, 3, number)
    wake(world, name)


def end_from_outside(world: World, who: str) -> None:
    """Somebody kills it, or it goes with the engine, which comes back."""
    if who == "a person":
        world.engine.kill("web", "main")
    else:
        world.engine.down()
        world.engine.up(restarted=True)
    wake(world)


def wait(world: World, name: str = "web") -> float:
    """The time of the next try comes; answers after how many seconds."""
    next_try = world.record(name).next_try
    if next_try is None:
        return 0.0
    left = (next_try - world.clock.now()).total_seconds()
    world.clock.advance(left + 0.01)
    world.rest()
    return left


def loop(world: World, times: int = 7, name: str = "web", after: float = SLOW) -> None:
    """It ends again and again; the last time it waits for its next start."""
    for _ in range(times - 1):
        end(world, after=after, name=name)
        wait(world, name)
    end(world, after=after, name=name)
    assert world.word(name) == "Failed"
    assert "main" not in world.running_services(name)


def ask(world: World, fact: str = "", value: str | None = "1") -> list[str]:
    """A person says something; answers with what was told then."""
    before = len(world.told("web"))
    if fact:
        world.store.put(f"{fact}web", value)
    world.memory.requests.note("web")
    wake(world)
    world.let_pass(2)
    return world.told("web")[before:]


def test_a_loop_slower_than_stable_after_goes_through_the_backoff_and_is_ready_only_after_a_long_calm(
    world: World,
) -> None:
    good(world, MAIN)
    waits, words = [], []
    for _ in range(16):
        end(world)
        waits.append(wait(world))
        words.append(world.word("web"))
    assert waits[0] == 0, "a first end is repaired at once"
    assert all(waits[1:])
    assert min(waits[-4:]) > max(waits[1:4])
    assert words == ["Progressing", *["Degraded"] * 15]
    assert (
        world.message("web")
        == "CrashLooping: service main: restarts again and again (exit 3, 16 times or more)"
    )
    assert world.told("web").count("app.ready") == 2, "after the first start, and after a first end"
    assert world.told("web").count("app.drift") == 1, "later ends are told as what is wrong"
    since = world.clock.now()
    world.until_quiet(limit=900)
    assert world.word("web") == "Ready"
    assert 300 < (world.clock.now() - since).total_seconds() < 350
    end(world, after=400)
    assert wait(world) == 0, "after so long a time it is a first one"
    assert world.word("web") == "Progressing"


def test_what_ends_as_soon_as_it_is_started_is_not_ready_because_one_look_sees_it_run(world: World) -> None:
    world.engine.behaviour["web", "main"] = "crash"
    world.put("web", MAIN)
    world.rest()
    assert world.word("web") == "Failed"
    world.engine.behaviour.clear()
    wait(world)
    assert world.message("web") == "Progressing: it runs again; Ready after 10 s without another end"
    world.let_pass(10.1)
    assert world.word("web") == "Ready"


def test_a_second_end_is_called_a_loop_at_once_and_its_exit_code_is_told_when_the_ends_have_doubled(
    world: World,
) -> None:
    good(world, MAIN)
    loop(world, 2)
    assert world.message("web") == "CrashLooping: service main: container exited (3)"
    for code, told in (
        (4, "(exit 3, 2 times or more)"),
        (4, "(exit 3, 2 times or more)"),
        (4, "(exit 4, 4 times or more)"),
    ):
        wait(world)
        assert told in world.message("web")
        world.let_pass(SLOW)
        world.engine.crash("web", "main", code)
        wake(world)


def test_an_end_that_somebody_made_between_two_makes_no_first_one_of_the_second(world: World) -> None:
    good(world, MAIN)
    end(world)
    world.let_pass(SLOW)
    world.engine.kill("web", "main")
    wake(world)
    end(world)
    assert wait(world) > 0


@pytest.mark.parametrize("who", ["a person", "the engine"])
def test_what_others_end_again_and_again_is_no_loop(world: World, who: str) -> None:
    good(world, MAIN)
    for _ in range(6):
        world.let_pass(SLOW)
        end_from_outside(world, who)
        assert world.running_services("web") == ["main"]
        assert world.message("web").startswith("Progressing: it ended (exit 137) and runs again")
        world.let_pass(10.1)
        assert world.word("web") == "Ready"


@pytest.mark.parametrize("who", ["a person", "the engine"])
def test_a_first_end_after_one_that_others_made_is_a_first_end(world: World, who: str) -> None:
    good(world, MAIN)
    end_from_outside(world, who)
    end(world)
    assert wait(world) == 0
    assert world.message("web").startswith("Progressing: it ended (exit 3) and runs again; Ready after 10 s")
    end(world)
    assert wait(world) > 0, "and the next one is a second"
    assert world.word("web") == "Degraded"


def test_who_stops_what_the_engine_has_started_again_makes_no_loop_of_it(world: World) -> None:
    good(world, replace(MAIN, restart="unless-stopped"))
    end(world)
    world.let_pass(100)
    world.engine.kill("web", "main")
    wake(world)
    assert world.running_services("web") == ["main"]
    assert world.word("web") == "Progressing"


def test_a_sibling_is_not_blamed_for_what_another_does_and_begins_no_calm_anew(world: World) -> None:
    good(world, MAIN, SIDE)
    loop(world, 3)
    wait(world)
    world.let_pass(30)
    world.engine.kill("web", "side")
    wake(world)
    assert "service main: restarts again and again" in world.message("web")
    world.let_pass(11)
    assert world.word("web") == "Ready", "main was calm for 40 s, side for 10"
    end(world, "side")
    assert "main" not in world.message("web")


def test_a_first_end_waits_for_no_sibling_that_ends_again_and_again(world: World) -> None:
    good(world, MAIN, SIDE)
    loop(world)
    world.let_pass(11)
    world.engine.kill("web", "side")
    wake(world)
    assert world.running_services("web") == ["main", "side"]


def test_a_first_end_is_repaired_at_once_whenever_a_sibling_was_started(world: World) -> None:
    good(world, MAIN, SIDE)
    loop(world, 5)
    world.engine.kill("web", "side")
    wake(world)
    assert world.running_services("web") == ["main", "side"], "main had just ended and waited"
    world.let_pass(SLOW)
    world.engine.crash("web", "main", 3)
    world.engine.kill("web", "side")
    wake(world)
    assert world.running_services("web") == ["main", "side"], "both had ended in one look"


def test_what_ends_with_the_owner_of_its_network_keeps_no_loop_from_being_one(world: World) -> None:
    owner = replace(MAIN, restart="always")
    sharer = Service("side", "h-side", "image:1", shares_with="main")
    good(world, owner, sharer)
    world.put("web", replace(owner, config_hash="h-new"), sharer)
    world.rest()
    for _ in range(4):
        end(world, after=5)
        world.let_pass(1)
    assert world.word("web") == "RolledBack"


def test_who_shares_the_network_of_a_loop_is_restarted_at_once_each_time(world: World) -> None:
    good(world, replace(MAIN, restart="always"), Service("side", "h-side", "image:1", shares_with="main"))
    for _ in range(5):
        end(world)
        assert world.engine.mutations[-1].startswith("restart web")
    assert "app.failed" not in world.told("web")


def test_who_shares_the_network_of_what_was_started_follows_at_once_and_has_not_failed(world: World) -> None:
    good(world, MAIN, Service("side", "h-side", "image:1", shares_with="main"))
    end(world)
    world.let_pass(0.2)
    assert world.engine.mutations[-2:] == ["restart web", "restart web"], "main, then side"
    assert "app.failed" not in world.told("web")
    loop(world, 5)
    wait(world)
    world.let_pass(0.2)
    assert world.message("web").startswith("CrashLooping: service main: restarts again and again")


def test_a_loop_is_one_though_the_engine_forgets_each_end_soon(world: World) -> None:
    good(world, MAIN)
    for number in range(6):
        end(world, after=60)
        assert (wait(world) > 0) is (number > 0)
        world.engine.forget_events()
    assert world.word("web") == "Degraded"


def test_what_ends_once_a_day_after_the_machine_slept_is_no_loop(world: World) -> None:
    good(world, MAIN)
    for _ in range(3):
        world.let_pass(600)
        world.clock.offset += 8 * 3600
        world.resync()
        end(world, after=20)
        assert wait(world) == 0
        assert world.word("web") == "Progressing"


def test_a_restart_that_has_to_wait_forgets_no_end_until_it_is_made(world: World) -> None:
    good(world, MAIN, name="db")
    good(world, replace(MAIN, restart="always"), requires=("db",))
    world.store.put(f"{STOPPED}db", "1")
    wake(world, "db")
    ask(world, RESTART)
    told = len(world.told("web"))
    for _ in range(12):
        end(world)
    assert world.store.get(f"{RESTART}web") == "1"
    assert world.record("web").ends["web-main-1"].count == 12
    assert world.told("web")[told:].count("app.drift") == 1
    world.store.put(f"{STOPPED}db", None)
    wake(world, "db")
    world.let_pass(30)
    assert world.store.get(f"{RESTART}web") is None
    assert world.record("web").ends == {}


def test_what_is_gone_in_the_look_that_sees_a_loop_of_the_engines_is_made_at_once(world: World) -> None:
    good(world, replace(MAIN, restart="always"), SIDE)
    for _ in range(3):
        end(world)
    world.let_pass(SLOW)
    world.engine.crash("web", "main", 3)
    world.engine.remove_container("web", "side")
    wake(world)
    assert world.running_services("web") == ["main", "side"]


def test_two_that_end_again_and_again_both_go_through_the_backoff(world: World) -> None:
    good(world, MAIN, SIDE)
    waits = []
    for _ in range(4):
        for service in ("main", "side"):
            end(world, service)
            waits.append(wait(world))
    assert waits[:2] == [0, 0]
    assert waits[2:] == sorted(waits[2:])
    assert waits[-1] > 10 * waits[2] > 0


def test_replicas_are_counted_one_by_one(world: World) -> None:
    good(world, replace(MAIN, scale=3))
    for number in (1, 2, 3):
        end(world, number=number)
        assert wait(world) == 0
    end(world, number=2)
    assert wait(world) > 0


def test_of_a_loop_that_goes_on_it_is_known_how_often_and_since_when(world: World) -> None:
    good(world, MAIN)
    loop(world, 2)
    since = world.record("web").failing_since
    assert since == world.clock.now()
    for number in range(2, 6):
        wait(world)
        assert (world.word("web"), world.record("web").word_since) == ("Degraded", since)
        end(world)
        seen = world.record("web")
        assert (seen.retries, seen.failing_since, seen.word_since) == (number, since, since)


@pytest.mark.parametrize("after", [SLOW, 0.5])
def test_a_person_who_asks_for_a_try_has_it_at_once_and_nothing_fails_for_it(
    world: World, after: float
) -> None:
    good(world, MAIN)
    loop(world, after=after)
    assert ask(world) == ["app.progressing", "action.done", "app.degraded"]
    assert world.running_services("web") == ["main"]
    assert not world.results["web"][-1].failed


def test_an_edit_in_the_wait_has_it_tried_at_once_and_nothing_fails_for_it(world: World) -> None:
    good(world, MAIN)
    loop(world, after=0.5)
    told = len(world.told("web"))
    world.tree.folders["web"].manifest["description"] = "edited"
    wake(world)
    world.let_pass(1)
    assert world.running_services("web") == ["main"]
    assert "app.failed" not in world.told("web")[told:]


def test_a_restart_begins_anew_though_nothing_runs(world: World) -> None:
    good(world, MAIN)
    loop(world)
    assert ask(world, RESTART) == ["app.progressing", "action.done", "app.ready"]
    assert world.store.get(f"{RESTART}web") is None, "what was just started is not stopped once more"
    end(world)
    assert wait(world) == 0


def test_a_stop_and_a_start_begin_anew_though_nothing_ran(world: World) -> None:
    good(world, MAIN)
    loop(world)
    assert ask(world, STOPPED) == ["app.stopped"]
    assert "app.failed" not in ask(world, STOPPED, None)
    assert world.word("web") == "Ready"


def test_a_mounted_file_that_is_mended_between_two_tries_is_not_taken_back(world: World) -> None:
    folder = world.put("web", replace(MAIN, binds=(Bind(CONF, "/etc/nginx.conf", True),)))
    folder.mounted["nginx.conf"] = b"broken"
    world.until_quiet(limit=60)
    loop(world)
    folder.mounted["nginx.conf"] = b"mended"
    wake(world)
    world.let_pass(1)
    assert (world.word("web"), world.record("web").generation) == ("Ready", 2)
    world.let_pass(900)
    assert world.word("web") == "Ready"
    assert "app.rolling_back" not in world.told("web")


def test_what_is_gone_back_to_has_not_ended_yet(world: World) -> None:
    good(world, replace(MAIN, restart="always"))
    world.put("web", replace(MAIN, restart="always", config_hash="h-new"))
    world.rest()
    world.tree.folders["web"].broken = "no model"
    for _ in range(3):
        end(world, after=1)
    assert world.engine.container("web", "main").config_hash.startswith("h-main")
    assert (world.record("web").ends, world.record("web").unstable_since) == ({}, None)


def test_behind_a_pull_that_fails_the_next_start_of_what_ran_for_long_is_at_once(world: World) -> None:
    good(world, MAIN)
    loop(world)
    wait(world)
    world.engine.unpullable.add("image:2")
    world.engine.absent_images.add("image:2")
    world.put("web", replace(MAIN, image="image:2", config_hash="h-new"))
    for _ in range(3):
        end(world, after=60)
        assert world.running_services("web") == ["main"]


def test_a_consumer_says_one_thing_while_its_provider_ends_again_and_again(world: World) -> None:
    good(world, MAIN, name="db")
    loop(world, name="db")
    world.put("web", MAIN, requires=("db",))
    world.let_pass(3)
    told = len(world.told("web"))
    for _ in range(3):
        wait(world, "db")
        world.resync()
        world.rest()
        end(world, name="db")
        world.let_pass(12)
        world.resync()
        world.rest()
        assert world.message("web").endswith("its containers end again and again; it has to be stable first")
    assert world.told("web")[told:] == []


def test_what_is_remembered_of_long_ago_makes_no_loop(world: World) -> None:
    good(world, MAIN)
    loop(world)
    wait(world)
    world.let_pass(86_400)
    assert world.record("web").ends["web-main-1"].count == 7
    end(world)
    assert wait(world) == 0
    assert world.record("web").ends["web-main-1"].count == 1
