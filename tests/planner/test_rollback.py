"""Whether a failed update is taken back, and to what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.planner.rollback import KEPT, WayBack, find_revision, find_way_back, is_same_run, remember
from fakes.build import record, rendered, service, target

GOOD = replace(target(revision="rev1"), generation=1)
FAILED = replace(target(revision="rev2", good=False), generation=2)
UPDATED = record(generation=2, target=FAILED, history=(GOOD,))


def test_a_failed_update_goes_back_to_the_last_good_revision() -> None:
    assert find_way_back(UPDATED, rendered(), "auto") == WayBack(GOOD)


def test_a_first_install_has_nothing_to_go_back_to() -> None:
    first = record(target=FAILED)
    assert find_way_back(first, rendered(), "always") == WayBack(
        None, "there is no earlier revision to go back to"
    )


def test_a_start_that_never_came_about_goes_back_to_what_was_applied_before() -> None:
    assert find_way_back(record(generation=2, target=GOOD), rendered(), "auto").to == GOOD


def test_with_rollback_off_the_person_is_told_how() -> None:
    way = find_way_back(UPDATED, rendered(), "never")
    assert way == WayBack(None, "rollback is off; `homeport rollback web` goes back to generation 1")


@pytest.mark.parametrize("keeps_data", [True, False])
def test_another_image_on_a_service_that_keeps_data_is_not_taken_back_by_itself(keeps_data: bool) -> None:
    new = replace(service("web", keeps_data=keeps_data), image="image:2")
    way = find_way_back(UPDATED, rendered(new), "auto")
    assert (way.to is None) is keeps_data
    assert find_way_back(UPDATED, rendered(new), "always").to == GOOD
    if keeps_data:
        assert "service web keeps data and got another image" in way.why_not
        assert "`homeport rollback web` goes back to generation 1" in way.why_not


def test_a_tag_that_moved_is_another_image_too() -> None:
    moved = replace(FAILED, services={"web": replace(FAILED.services["web"], image_ids=("sha256:i2",))})
    way = find_way_back(replace(UPDATED, target=moved), rendered(service(keeps_data=True)), "auto")
    assert way.to is None


def test_the_history_keeps_the_newest_and_always_the_last_good_one() -> None:
    moving = record(target=GOOD)
    for number in range(2, 12):
        moving = remember(moving, replace(target(revision=f"rev{number}", good=False), generation=number))
    assert [t.generation for t in moving.history] == [10, 9, 8, 7, 1]
    assert len(moving.history) == KEPT


def test_going_back_leaves_no_second_entry_of_the_same_run() -> None:
    back = remember(UPDATED, replace(GOOD, detached=True))
    assert [t.revision for t in back.history] == ["rev2"]


def test_the_same_inputs_from_another_image_are_another_run() -> None:
    other = replace(GOOD, services={"web": replace(GOOD.services["web"], image_ids=("sha256:i2",))})
    assert not is_same_run(GOOD, other)
    assert remember(record(target=GOOD), other).history == (GOOD,)


def test_a_person_names_a_revision_or_takes_the_last_good_one_before_the_present() -> None:
    now = record(target=replace(target(revision="rev3")), history=(FAILED, GOOD))
    assert find_revision(now, "") == GOOD
    assert find_revision(now, "rev2") == FAILED
    assert find_revision(now, "rev9") is None
