"""Whether a failed update is taken back, and to what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.model.observed import Observed
from controller.model.record import Quarantine
from controller.planner.rollback import WayBack, describe, find_way_back
from controller.status.history import KEPT, find_revision, is_same_run, remember
from fakes.build import container, ledger, observed, record, rendered, service, target

GOOD = replace(target(revision="rev1"), generation=1)
FAILED = replace(target(revision="rev2", good=False), generation=2)
UPDATED = record(generation=2, target=FAILED, history=(GOOD,))


def test_a_failed_update_goes_back_to_the_last_good_revision() -> None:
    assert find_way_back(UPDATED, rendered(), Observed(), "auto") == WayBack(GOOD)


def test_a_first_install_has_nothing_to_go_back_to() -> None:
    first = record(target=FAILED)
    assert find_way_back(first, rendered(), Observed(), "always") == WayBack(
        None, "there is no earlier revision to go back to"
    )


def test_of_earlier_revisions_that_were_never_good_none_is_gone_back_to_by_itself_and_that_is_said() -> None:
    never = record(generation=2, target=FAILED, history=(replace(GOOD, good=False),))
    assert find_way_back(never, rendered(), Observed(), "always") == WayBack(
        None, "no earlier revision was ever good; `homeport history web` lists them"
    )


def test_a_start_that_never_came_about_goes_back_to_what_was_applied_before() -> None:
    assert find_way_back(record(generation=2, target=GOOD), rendered(), Observed(), "auto").to == GOOD


def test_with_rollback_off_the_person_is_told_how() -> None:
    way = find_way_back(UPDATED, rendered(), Observed(), "never")
    assert way == WayBack(None, "rollback is off; `homeport rollback web` goes back to generation 1")


@pytest.mark.parametrize("keeps_data", [True, False])
def test_another_image_on_a_service_that_keeps_data_is_not_taken_back_by_itself(keeps_data: bool) -> None:
    new = replace(service("web", keeps_data=keeps_data), image="image:2")
    way = find_way_back(UPDATED, rendered(new), Observed(), "auto")
    assert (way.to is None) is keeps_data
    assert find_way_back(UPDATED, rendered(new), Observed(), "always").to == GOOD
    if keeps_data:
        assert "service web keeps data and got another image" in way.why_not
        assert "`homeport rollback web` goes back to generation 1" in way.why_not


def test_a_tag_that_moved_is_another_image_once_a_container_of_it_has_run() -> None:
    def way(started_at: str) -> WayBack:
        seen = observed(replace(container(started_at=started_at), image_id="sha256:i2"))
        return find_way_back(UPDATED, rendered(service(keeps_data=True)), seen, "auto")

    assert way("2026-01-01T11:00:00Z").to is None
    assert way("").to == GOOD


def test_what_an_on_update_hook_did_in_a_provider_is_not_gone_back_behind_by_itself() -> None:
    updated = replace(UPDATED, version="2.0.0", on_update={"db": replace(ledger(), version="2.0.0")})
    assert (
        "on_update for version 2.0.0 has run in db"
        in find_way_back(updated, rendered(), Observed(), "auto").why_not
    )
    assert find_way_back(updated, rendered(), Observed(), "always").to == GOOD


def test_the_history_keeps_the_newest_and_always_the_last_good_one() -> None:
    moving = record(target=GOOD)
    for number in range(2, 12):
        moving = remember(moving, replace(target(revision=f"rev{number}", good=False), generation=number))
    assert [t.generation for t in moving.history] == [10, 9, 8, 7, 1]
    assert len(moving.history) == KEPT


def test_going_back_leaves_no_second_entry_of_the_same_run() -> None:
    back = remember(UPDATED, replace(GOOD, detached=True))
    assert [t.revision for t in back.history] == ["rev2"]


def test_what_was_good_is_good_when_it_runs_again() -> None:
    edited_back = remember(UPDATED, replace(GOOD, generation=3, good=False))
    assert edited_back.target is not None
    assert (edited_back.target.generation, edited_back.target.good) == (3, True)


def test_the_same_inputs_from_another_image_are_another_run() -> None:
    other = replace(GOOD, services={"web": replace(GOOD.services["web"], image_ids=("sha256:i2",))})
    assert not is_same_run(GOOD, other)
    assert remember(record(target=GOOD), other).history == (GOOD,)


def test_a_person_names_a_revision_or_takes_the_last_good_one_before_the_present() -> None:
    now = record(target=target(revision="rev3"), revision="rev3", history=(FAILED, GOOD))
    assert find_revision(now, "") == GOOD
    assert find_revision(now, "rev3") is None
    assert find_revision(now, "rev2") == FAILED
    assert find_revision(now, "rev9") is None


def test_what_was_taken_back_is_told_in_one_sentence_whoever_noted_it() -> None:
    kept_out = Quarantine(2, GOOD, "CrashLooping", "container exited (1)")
    told = "generation 2 failed (CrashLooping: container exited (1)); generation 1 runs again"
    assert describe(kept_out) == told
    by_an_earlier_homeport = f"{told}. 2 is not tried again until an input changes"
    assert describe(replace(kept_out, message=by_an_earlier_homeport)) == by_an_earlier_homeport
    assert describe(replace(kept_out, message="a person went back", by_person=True)) == "a person went back"
