"""How conditions move, and the word that is computed from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.record import Record, Verdict
from controller.status.conditions import lint, same_verdict
from controller.status.summary import WORDS, last_word, summarize
from controller.status.transition import transition, with_since
from fakes.build import NOON, at, record, target

REASONS = {
    "Unknown": "SourceUnavailable", "Held": "RemovalHeld", "RemovalBlocked": "RemovalBlocked", "Removing": "Removing",
    "Orphaned": "Orphaned", "Suspended": "Suspended",
    "Stopped": "Stopped", "Invalid": "SourceInvalid", "NeedsConfiguration": "NeedsConfiguration",
    "RolledBack": "RolledBack", "Failed": "ApplyFailed", "Waiting": "DependencyNotReady", "Progressing": "Progressing",
    "Degraded": "HealthCheckFailed", "Ready": "ReconciliationSucceeded",
}  # fmt: skip


def verdict(word: str, message: str = "because", **fields: object) -> Verdict:
    return replace(Verdict(word, REASONS[word], message), **fields)


@pytest.mark.parametrize("word", WORDS)
def test_the_word_of_a_verdict_is_the_word_of_the_record(word: str) -> None:
    assert last_word(transition(record(), verdict(word), NOON)) == word


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8))
def test_every_record_on_the_way_is_sound_and_says_its_last_word(words: list[str]) -> None:
    moving = record()
    for second, word in enumerate(words):
        moving = transition(moving, verdict(word), at(second))
        assert lint(moving) == []
        assert last_word(moving) == word


def test_a_dependency_reason_is_degraded_once_the_revision_was_started() -> None:
    started = record(target=target(revision="rev2"))
    judged = transition(started, Verdict("Degraded", "DependencyNotReady", "db is down"), NOON)
    assert last_word(judged) == "Degraded"


def test_transition_time_moves_only_with_the_status() -> None:
    first = transition(record(), verdict("Failed", "one"), at(0))
    second = transition(first, verdict("Failed", "two"), at(5))
    ready = second.condition("Ready")
    assert ready is not None
    assert (ready.message, ready.last_transition_time) == ("two", at(0))
    third = transition(second, verdict("Ready"), at(9))
    ready = third.condition("Ready")
    assert ready is not None
    assert ready.last_transition_time == at(9)


def told(before: Record, word: str, second: float, saved: Record | None = None) -> Record:
    """The record as a run saves it that comes to this word; `saved`: what the same run saved on its way."""
    known = saved or before
    return with_since(transition(known, verdict(word), at(second)), known, before, at(second))


def test_since_when_the_word_is_what_it_is_moves_with_the_word_and_not_with_a_condition() -> None:
    failed = told(record(), "Failed", 0)
    invalid = told(failed, "Invalid", 5)
    ready = invalid.condition("Ready")
    assert ready is not None
    assert (ready.last_transition_time, invalid.word_since) == (at(0), at(5))
    assert told(invalid, "Invalid", 9).word_since == at(5)
    assert told(invalid, "RolledBack", 9).word_since == at(9)


def test_one_more_try_that_fails_is_no_new_failure_and_a_repair_makes_a_new_ready() -> None:
    failed = told(record(), "Failed", 0)
    trying = told(failed, "Progressing", 20)
    assert trying.word_since == at(20)
    assert told(failed, "Progressing", 21, trying).word_since == at(20)
    assert told(failed, "Failed", 30, trying).word_since == at(0)
    ready = told(record(), "Ready", 0)
    mending = told(ready, "Progressing", 20)
    assert told(ready, "Ready", 30, mending).word_since == at(30)


def test_observed_generation_starts_at_minus_one_and_moves_when_the_status_speaks_of_it() -> None:
    new = Record("web", generation=1)
    assert new.observed_generation == -1
    assert transition(new, verdict("Progressing"), NOON).observed_generation == -1
    assert transition(new, verdict("Waiting"), NOON).observed_generation == -1
    for word in ("Ready", "Invalid", "NeedsConfiguration", "Suspended"):
        assert transition(new, verdict(word), NOON).observed_generation == 1


def test_a_suspended_app_keeps_its_last_ready_condition() -> None:
    ready = transition(record(), verdict("Ready", "all is well"), at(0))
    suspended = transition(ready, verdict("Suspended"), at(1))
    condition = suspended.condition("Ready")
    assert condition is not None
    assert (condition.status, condition.message) == ("True", "all is well")
    assert last_word(transition(suspended, verdict("Ready"), at(2))) == "Ready"


def test_a_second_look_with_the_same_verdict_shows_no_difference() -> None:
    first = transition(record(), verdict("Ready"), at(0))
    assert same_verdict(first, transition(first, verdict("Ready"), at(60)))
    assert not same_verdict(first, transition(first, verdict("Degraded"), at(60)))


def test_a_record_is_unknown_without_an_engine_or_when_it_is_old() -> None:
    ready = transition(record(), verdict("Ready"), at(0))
    assert summarize(ready, at(1)) == "Ready"
    assert summarize(ready, at(1), known=False) == "Unknown"
    assert summarize(ready, at(700), stale_after=600) == "Unknown"


def test_long_messages_are_cut() -> None:
    condition = transition(record(), verdict("Failed", "x" * 9999), NOON).condition("Ready")
    assert condition is not None
    assert len(condition.message) == 2048
