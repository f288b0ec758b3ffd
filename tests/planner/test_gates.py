"""Gates, cycles, order, and where hooks run."""

from __future__ import annotations

from controller.planner.gates import choose_container, find_closed, find_cycle, order
from controller.planner.removal import brake_holds
from fakes.build import container, observed, provider


def test_a_missing_provider_is_named_before_one_that_is_not_ready() -> None:
    providers = {"a": provider("a", available=False, why="it starts"), "b": provider("b", known=False)}
    closed = find_closed(["a", "b"], providers)
    assert closed is not None
    assert (closed.reason, "waits for b" in closed.message) == ("DependencyMissing", True)


def test_a_gate_says_why_the_provider_is_not_available() -> None:
    closed = find_closed(
        ["a"], {"a": provider("a", available=False, why="service a: health check is starting")}
    )
    assert closed is not None
    assert closed.reason == "DependencyNotReady"
    assert closed.message == "waits for a: service a: health check is starting"


def test_gates_open_when_all_providers_are_available() -> None:
    assert find_closed(["a"], {"a": provider("a")}) is None


def test_a_cycle_is_named_in_full() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}
    assert find_cycle("a", graph) == ("a", "b", "c", "a")
    assert find_cycle("d", graph) == ()


def test_order_is_providers_first_then_alphabetical() -> None:
    assert order({"z": [], "a": ["z"], "b": [], "c": ["missing"]}) == ("b", "c", "z", "a")


def test_order_names_the_members_of_a_cycle_last() -> None:
    assert order({"a": ["b"], "b": ["a"], "c": []}) == ("c", "a", "b")


def test_hooks_run_in_exec_service_else_the_only_service_else_the_one_named_like_the_app() -> None:
    two = observed(container("one"), container("two"))
    assert choose_container("app", "two", two)[0] == "id-two"
    assert choose_container("app", None, observed(container("one")))[0] == "id-one"
    assert choose_container("two", None, two)[0] == "id-two"
    none, why = choose_container("app", None, two)
    assert none == ""
    assert "one, two" in why


def test_the_brake_holds_all_and_large_shares_but_lets_a_single_app_go() -> None:
    assert brake_holds(1, 0, 1) == ""
    assert brake_holds(2, 0, 2) != ""
    assert brake_holds(3, 0, 4) == ""
    assert brake_holds(4, 0, 10) != ""
    assert brake_holds(4, 0, 20) == ""
    assert brake_holds(1, 3, 7) != "", "a slow trickle is one accident"


def test_the_brake_says_how_many_are_gone_now_and_apart_from_that_how_many_were_removed_before() -> None:
    assert brake_holds(4, 0, 10) == "4 of 10 apps are gone from the apps tree"
    assert brake_holds(1, 3, 7) == (
        "1 of 7 apps is gone from the apps tree, and 3 were removed within the last 5 minutes"
    )
