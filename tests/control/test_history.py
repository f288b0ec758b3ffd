"""Which revision a person means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.control.errors import Refused
from controller.control.history import find_revision
from controller.model.record import Record, Target
from fakes.build import record, target


def applied(digits: str, generation: int, *, good: bool = True) -> Target:
    return replace(target(revision=f"sha256:{digits:0<64}", good=good), generation=generation)


NOW, BEFORE, OLDEST = applied("cccc", 12), applied("bbbb", 4, good=False), applied("bbba1", 3)


def app(*history: Target, disk: str = NOW.revision) -> Record:
    return record("web", revision=disk, target=NOW, history=history)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("3", OLDEST), ("bbbb", BEFORE), ("sha256:bbba", OLDEST), ("BBBA1", OLDEST), (OLDEST.revision, OLDEST)],
)
def test_a_revision_is_named_by_its_generation_or_its_first_digits(wanted: str, found: Target) -> None:
    assert find_revision(app(BEFORE, OLDEST), wanted) == found.revision


def test_a_revision_that_was_applied_twice_is_one() -> None:
    again = replace(OLDEST, generation=7)
    assert find_revision(app(again, BEFORE, OLDEST), "bbba") == OLDEST.revision


@pytest.mark.parametrize("wanted", ["5", "bbb", "dddd", "latest", "-1", "sha256:"])
def test_no_revision_of_that_name_lists_those_there_are(wanted: str) -> None:
    with pytest.raises(Refused, match=r"no revision of web.*bbbb00000000 \(generation 4\), bbba10000000"):
        find_revision(app(BEFORE, OLDEST), wanted)


def test_digits_that_may_mean_two_revisions_mean_none() -> None:
    twin = applied("bbbbb", 2)
    with pytest.raises(Refused, match="may be several revisions of web"):
        find_revision(app(BEFORE, twin), "bbbb")
    number = applied("1234", 9)
    with pytest.raises(Refused, match="may be several"):
        find_revision(app(number, applied("dddd", 1234)), "1234")


def test_none_named_needs_an_earlier_one_that_was_good() -> None:
    assert find_revision(app(BEFORE, OLDEST), "") == ""
    for history in ((), (BEFORE,), (replace(NOW, generation=3),)):
        with pytest.raises(Refused, match="no earlier revision that was good"):
            find_revision(app(*history), "")


def test_what_runs_can_be_gone_back_to_only_from_other_files() -> None:
    with pytest.raises(Refused, match="runs already"):
        find_revision(app(OLDEST), "12")
    assert find_revision(app(OLDEST, disk="sha256:dddd"), "12") == NOW.revision
