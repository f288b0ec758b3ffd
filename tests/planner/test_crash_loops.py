"""Crash loops: which ends count together, how they are called, and how long it takes until Ready after them."""

from __future__ import annotations

from typing import Any

from controller.model.observed import Container
from controller.model.record import End, Record
from controller.model.values import replace
from controller.planner.health import find_faults
from controller.planner.judge import (
    Judgement,
    Times,
    count_end,
    is_milestone,
    is_unproven,
    judge,
    looping,
    note_starts,
    recent_ends,
    restarted_often,
    unexpected_ends,
    with_crash_loops,
)
from fakes.build import at, container, observed, record, rendered, service, target

ALWAYS = rendered(service(restart="unless-stopped"))
STABLE = 10.0


def looked_at(known: Record, found: Container, now: float, good: bool = True) -> Judgement:
    """How an app is judged that is seen like that."""
    seen, applied = observed(found), target(good=good)
    faults = find_faults(ALWAYS, applied, seen)
    faults = with_crash_loops(faults, known, seen, at(now), STABLE)
    often = restarted_often(known, seen)
    return judge(known, applied, faults, "", False, at(now), Times(STABLE, 60), often)


def after(count: int, **fields: Any) -> Record:
    """What is remembered of an app whose container has just ended for so many times."""
    ends = {"app-web-1": End(count, at(0), f"end {count}", 9)}
    return record(unstable_since=at(0), ends=ends, **fields)


def running(count: int) -> Container:
    return container(restarts=count, finished_at=f"end {count}")


def restarting(count: int) -> Container:
    return container(state="restarting", restarts=count, finished_at=f"end {count}", exit_code=9)


def test_a_first_end_is_told_as_an_end_and_only_a_second_one_as_a_loop() -> None:
    first = looked_at(after(1), restarting(1), 1).verdict
    assert (first.word, first.reason) == ("Degraded", "ContainerExited")
    assert first.message == "service web: ended (exit 9), and the engine starts it again"
    second = looked_at(after(2), restarting(2), 1).verdict
    assert (second.word, second.reason) == ("Degraded", "CrashLooping")
    assert second.message == "service web: restarts again and again (exit 9, 2 times or more)"


def test_after_a_first_end_ready_comes_back_after_stable_after_and_the_exit_code_is_said_until_then() -> None:
    verdict = looked_at(after(1), running(1), 9).verdict
    assert verdict.word == "Progressing"
    assert verdict.message == "it ended (exit 9) and runs again; Ready after 10 s without another end"
    assert looked_at(after(1), running(1), 10).verdict.word == "Ready"
    started = replace(after(1), started_at=at(2), ends={"app-web-1": End(1, at(2), "end 1", 9)})
    assert looked_at(started, running(1), 11).verdict.message == verdict.message, "two seconds later, by us"


def test_a_loop_is_told_alike_whether_its_container_runs_at_the_moment_or_not() -> None:
    for health in ("", "starting", "healthy", "unhealthy"):
        up = container(restarts=3, finished_at="end 3", health=health)
        assert looked_at(after(3), up, 5).verdict == looked_at(after(3), restarting(3), 5).verdict


def test_the_calm_that_ready_needs_doubles_with_each_end_up_to_five_minutes() -> None:
    for count, calm in ((2, 20), (3, 40), (4, 80), (5, 160), (6, 320), (7, 320), (5000, 320)):
        assert looked_at(after(count), running(count), calm - 1).verdict.reason == "CrashLooping"
        assert looked_at(after(count), running(count), calm).verdict.word == "Ready"


def test_a_message_changes_only_when_the_number_of_ends_has_doubled() -> None:
    messages = [looked_at(after(count), running(count), 1).verdict.message for count in range(2, 1000)]
    assert len(set(messages)) == 9
    assert messages[0] != messages[2] == messages[4] != messages[6]
    assert [count for count in range(1, 20) if is_milestone(count)] == [1, 2, 4, 8, 16]


def test_one_end_is_counted_once_at_however_many_looks_it_is_seen() -> None:
    known = record(incarnation=container().incarnation)
    for found in (
        restarting(1),
        restarting(1),
        container(restarts=1, finished_at="end 1", started_at="later"),
    ):
        for container_ in unexpected_ends(known, ALWAYS, observed(found)):
            known = record(ends={"app-web-1": count_end(known.ends.get("app-web-1"), container_, at(0))})
    assert known.ends["app-web-1"].count == 1


def test_ends_are_one_loop_for_as_long_as_the_longest_calm_and_no_longer() -> None:
    assert recent_ends(after(3), at(319), STABLE) == after(3).ends
    assert recent_ends(after(3), at(321), STABLE) == {}


def test_the_wait_for_the_next_try_is_no_calm_and_a_sibling_that_was_started_begins_no_other_calm() -> None:
    ends = {name: End(2, at(0), "end 2", 9) for name in ("app-web-1", "app-side-1")}
    side = container("side", restarts=2, finished_at="end 2")
    down = observed(container(state="exited", finished_at="end 2"), side)
    up = observed(container(started_at="later", finished_at="end 2"), side)
    started = note_starts(record(unstable_since=at(0), ends=ends), down, up, at(300))
    assert [c.service for c in looping(started, up, at(301), STABLE)] == ["web"]
    assert set(recent_ends(started, at(321), STABLE)) == {"app-web-1"}


def test_what_has_been_calm_since_is_not_in_a_loop_again_when_a_sibling_ends() -> None:
    ends = {"app-web-1": End(2, at(-60), "end 2", 9), "app-side-1": End(1, at(0), "side", 1)}
    known = record(unstable_since=at(0), ends=ends)
    verdict = looked_at(known, running(2), 5).verdict
    assert (verdict.word, verdict.message) == (
        "Progressing", "it ended (exit 1) and runs again; Ready after 10 s without another end"
    )  # fmt: skip
    assert looked_at(known, running(2), 10).verdict.word == "Ready"


def test_what_looped_and_has_run_for_long_since_is_proven_though_nobody_settled_it() -> None:
    seen = observed(running(2))
    assert is_unproven(after(2), seen, at(19), STABLE)
    assert not is_unproven(after(2), seen, at(20), STABLE)


def test_two_containers_that_end_once_each_are_no_loop() -> None:
    ends = {name: End(1, at(0), "end 1", 9) for name in ("app-web-1", "app-side-1")}
    known = record(unstable_since=at(0), ends=ends)
    seen = observed(running(1), container("side", restarts=1, finished_at="end 1"))
    assert looping(known, seen, at(1), STABLE) == ()
    assert not is_unproven(known, seen, at(1), STABLE)


def test_what_we_start_again_is_a_loop_like_what_the_engine_starts_again() -> None:
    started = container(started_at="later", finished_at="end 2")
    assert looked_at(after(2), started, 1).verdict == looked_at(after(2), running(2), 1).verdict


def test_a_revision_that_never_was_good_is_given_up_at_its_third_restart_not_at_its_second() -> None:
    begun = at(-5)
    assert not looked_at(after(2, started_at=begun), restarting(2), 1, good=False).given_up
    assert looked_at(after(3, started_at=begun), restarting(3), 1, good=False).given_up
    assert looked_at(after(3, started_at=begun), running(3), 1, good=False).given_up
    assert not looked_at(after(3), restarting(3), 1).given_up
