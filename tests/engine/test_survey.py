"""The words in which an engine says since when a container is as it is, and what they leave open."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from controller.engine.survey import ListedAll
from controller.model.observed import Container, Observed

HOUR = 3600.0
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()

# Taken from what an engine said of containers of these ages.
SPOKEN = [
    (0.4, "Less than a second"), (1.2, "1 second"), (59.0, "59 seconds"), (61.0, "About a minute"), (130.0, "2 minutes"),
    (59 * 60.0, "59 minutes"), (61 * 60.0, "About an hour"), (1.6 * HOUR, "2 hours"), (47 * HOUR, "47 hours"),
    (49 * HOUR, "2 days"), (15 * 24 * HOUR, "2 weeks"), (65 * 24 * HOUR, "2 months"), (800 * 24 * HOUR, "2 years"),
]  # fmt: skip


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def is_shown(status: str, age: float, known: float, state: str = "running") -> bool:
    """Whether this status shows a container as it was observed, that is so for `age` seconds, and was known to be so until
    `known` seconds ago."""
    at = moment(NOW - age)
    container = Container(
        "c1", "web-main-1", "main", 1, "hash", "image:1", "sha256:1", state, started_at=at, finished_at=at
    )
    labels = {"com.docker.compose.project": "web"}
    summary = {"Id": "c1", "Names": ["/web-main-1"], "Labels": labels, "State": state, "Status": status}
    since = datetime.fromtimestamp(NOW - known, UTC)
    return ListedAll([summary], (), "created", NOW).shows("web", Observed((container,)), since)


@pytest.mark.parametrize(("age", "words"), SPOKEN[1:])
def test_the_words_for_its_age_show_it_when_it_was_known_a_moment_ago(age: float, words: str) -> None:
    known = min(age / 10, 300.0)
    assert is_shown(f"Up {words}", age, known) or age < 5
    assert is_shown(f"Exited (0) {words} ago", age, known, "exited") or age < 5


@pytest.mark.parametrize("other", [words for _, words in SPOKEN if words != "2 hours"])
def test_the_words_for_another_age_do_not_show_it(other: str) -> None:
    assert not is_shown(f"Up {other}", 1.6 * HOUR, 60)


def test_words_that_would_be_the_same_after_a_start_since_it_was_known_do_not_show_it() -> None:
    assert is_shown("Up 7 hours", 7 * HOUR, 6 * HOUR)
    assert not is_shown("Up 7 hours", 7 * HOUR, 6.9 * HOUR)


def test_what_is_paused_or_in_words_that_are_not_known_is_not_shown() -> None:
    assert not is_shown("Up 2 hours (Paused)", 2 * HOUR, 60, "paused")
    assert not is_shown("läuft seit 2 Stunden", 2 * HOUR, 60)
    assert not is_shown("Up 2 hours (unhealthy)", 2 * HOUR, 60)


def test_a_container_without_a_time_is_not_shown_and_stops_nobody() -> None:
    container = Container("c1", "web-main-1", "main", 1, "hash", "image:1", "sha256:1", "running")
    summary = {
        "Id": "c1",
        "Names": ["/web-main-1"],
        "Labels": {"com.docker.compose.project": "web"},
        "State": "running",
    }
    assert not ListedAll([summary], (), "created", NOW).shows(
        "web", Observed((container,)), datetime.fromtimestamp(NOW - 60, UTC)
    )


def test_what_was_known_in_the_future_says_nothing() -> None:
    """The clock was set back since."""
    assert not is_shown("Up 2 hours", 1.6 * HOUR, -HOUR)


def test_what_a_person_runs_by_hand_beside_a_service_changes_nothing() -> None:
    labels = {"com.docker.compose.project": "web", "com.docker.compose.oneoff": "True"}
    by_hand = {
        "Id": "c2",
        "Names": ["/web-main-run-1"],
        "Labels": labels,
        "State": "running",
        "Status": "Up 1 second",
    }
    assert ListedAll([by_hand], (), "created", NOW).shows("web", Observed(), datetime.fromtimestamp(NOW, UTC))
