"""What is wrong with the service is said when it begins, when it is another thing, and when it is over."""

from __future__ import annotations

import pytest

from controller.complaints import Complaints


class Said:
    """A log of what was told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []
        self.complaints = Complaints(self.tell)

    def tell(self, name: str, message: str, level: str = "info", /) -> None:
        self.lines.append((name, message, level))


@pytest.fixture
def said() -> Said:
    return Said()


def test_what_is_wrong_is_said_once_however_often_it_is_found(said: Said) -> None:
    begun = [said.complaints.say("tree.unwatched", "no watches left") for _ in range(3)]
    assert begun == [True, False, False]
    assert said.lines == [("tree.unwatched", "no watches left", "warning")]


def test_another_message_is_news_unless_only_the_beginning_is(said: Said) -> None:
    for message in ("full", "locked"):
        said.complaints.say("state.lost", message, "error", anew=False)
        said.complaints.say("tree.ignored", message)
    assert [line[:2] for line in said.lines] == [
        ("state.lost", "full"),
        ("tree.ignored", "full"),
        ("tree.ignored", "locked"),
    ]
    assert said.complaints.messages("state.lost") == ["locked"], "and what is shown is what is the case now"


def test_it_is_said_when_it_is_over_and_may_begin_again(said: Said) -> None:
    assert not said.complaints.over("tree.lost", "tree.back", "it is back")
    said.complaints.say("tree.lost", "not there")
    assert said.complaints.holds("tree.lost")
    assert said.complaints.over("tree.lost", "tree.back", "it is back")
    assert not said.complaints.over("tree.lost", "tree.back", "it is back")
    assert said.complaints.say("tree.lost", "not there")
    assert [line[0] for line in said.lines] == ["tree.lost", "tree.back", "tree.lost"]


def test_what_has_no_good_news_ends_in_silence(said: Said) -> None:
    said.complaints.say("tree.ignored", "No App")
    assert said.complaints.over("tree.ignored")
    assert len(said.lines) == 1
    assert said.complaints.messages("tree.ignored") == []
