"""What is remembered between runs: of apps that there are, and by each part what it is for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controller.model.effects import Moment
from controller.reconciler import Memory
from fakes.clock import START

LASTING = {"looks._unseen", "looks._orphans", "removals._at"}
"""What the next look, or the brake, has to know of an app that is gone."""


def full(app: str) -> Memory:
    """A memory in which every part has something of this app."""
    memory = Memory()
    memory.retries.wait(app, 10.0, "a revision")
    memory.settling.unsettled[app] = 1.0
    memory.settling.still_changing[app] = 1.0, "said"
    memory.settling.shrinking[app] = "a revision", 1.0
    memory.settling.take_turn("another", 1.0)
    memory.settling.take_turn(app, 1.0)
    memory.endings.note(app)
    memory.requests.note(app, lift=True)
    memory.looks.note(START, {app})
    memory.looks.note_orphan(app, f"/apps/{app}")
    memory.leaps.take(app, Moment(0.0, START))
    memory.missing.note([app], 1.0)
    memory.missing.tell(app)
    memory.removals.note(app, 1.0)
    return memory


def places(memory: Memory, app: str = "") -> set[str]:
    """Where anything is kept by app; or only where something is of this one."""
    return {
        f"{part}.{name}"
        for part, holder in vars(memory).items()
        for name, held in getattr(holder, "__dict__", {}).items()
        if isinstance(held, dict | set) and (not app or app in held)
    }


def test_of_an_app_that_is_gone_no_part_remembers_anything_but_that_it_went() -> None:
    memory = full("web")
    assert places(memory, "web") == places(memory), "this test knows every part"
    memory.forget("web")
    assert places(memory, "web") == LASTING


def test_a_try_waits_for_its_time_unless_it_failed_against_something_else() -> None:
    retries = Memory().retries
    assert retries.left("web", 5.0) <= 0
    assert not retries.are_outdated("web", "old"), "what did not fail waits for nothing"
    retries.wait("web", 15.0, "old")
    assert retries.left("web", 5.0) == 10.0
    assert not retries.are_outdated("web", "old")
    assert retries.are_outdated("web", "new")
    retries.now("web")
    assert "web" not in retries


def test_what_a_person_asks_is_taken_once_and_lifts_only_where_it_was_said() -> None:
    requests = Memory().requests
    requests.note("web")
    requests.note("db", lift=True)
    assert [requests.take_try("web"), requests.take_try("web")] == [True, False]
    assert [requests.take_lift("web"), requests.take_lift("db"), requests.take_lift("db")] == [
        False,
        True,
        False,
    ]
    assert "db" in requests, "that it is tried at once was not taken"


def test_a_leap_of_the_clock_is_told_once_to_each_app() -> None:
    leaps = Memory().leaps
    assert not leaps.take("web", Moment(0.0, START))
    leaps.note_time(Moment(1.0, START + timedelta(hours=1)))
    later = Moment(2.0, START + timedelta(hours=1, seconds=1))
    assert [leaps.take("web", later), leaps.take("web", later)] == [True, False]


def test_all_have_been_seen_when_each_that_was_restless_had_a_run() -> None:
    looks = Memory().looks
    looks.note(START, ())
    later = START + timedelta(minutes=5)
    looks.note(later, {"web", "db"})
    looks.note_run("web")
    assert looks.all_seen_at() == START
    assert [looks.await_run("web"), looks.await_run("db")] == [False, True]
    looks.note_run("db")
    assert looks.all_seen_at() == later


def test_a_change_of_files_at_rest_is_looked_at_before_their_quiet_period_is_over() -> None:
    settling = Memory().settling
    assert settling.look_after_change("web", 0.3) == 0.15
    assert settling.look_after_change("web", 0.1) == 0.1


def test_files_that_change_all_the_time_are_not_looked_at_for_each_change() -> None:
    settling = Memory().settling
    settling.unsettled["web"] = 1000.0
    assert settling.look_after_change("web", 0.3) == 1.0
    looks = [settling.look_after_look("web", 0.3, 1000.0 + seconds) for seconds in (0.1, 1, 2, 3, 4, 9)]
    assert looks == [0.3, 0.3, 0.5, 0.75, 1.0, 1.0]
    assert settling.look_after_look("other", 2.0, 1000.0) == 1.0


def test_files_that_were_taken_in_while_they_changed_have_been_changing_all_the_same() -> None:
    settling = Memory().settling
    settling.still_changing["web"] = 1000.0, ""
    settling.unsettled["web"] = 1010.0
    assert settling.changing_for("web", 1011.0) == 11.0
    assert settling.changing_for("other", 1011.0) == 0.0


def test_turns_are_given_one_after_the_other_in_the_order_in_which_they_were_asked_for() -> None:
    settling = Memory().settling
    assert [settling.take_turn(app, 100.0) for app in ("a", "b", "c")] == [True, False, False]
    assert [settling.take_turn(app, 100.5) for app in ("c", "d", "b")] == [False, False, True]
    assert [settling.take_turn(app, 101.0) for app in ("d", "c")] == [False, True]
    assert settling.take_turn("d", 107.0), "late, as it was not looked at before"
    assert settling.take_turn("e", 107.0), "and nobody waits for those that had theirs"


def test_who_waits_for_a_turn_is_looked_at_when_it_has_it() -> None:
    settling = Memory().settling
    settling.unsettled["b"] = 80.0
    assert [settling.take_turn(app, 100.0) for app in ("a", "b")] == [True, False]
    assert settling.look_after_look("b", 0.3, 100.1) == pytest.approx(0.4)


def test_a_turn_of_who_came_to_rest_passes_unused() -> None:
    settling = Memory().settling
    assert [settling.take_turn(app, 100.0) for app in ("a", "b", "c")] == [True, False, False]
    settling.end("b")
    assert not settling.take_turn("c", 100.5)
    assert settling.take_turn("c", 101.0)
