"""Transition: from a record and what a run found to the next record. Pure.

A run ends in one `Verdict`; the table `_ROWS` says which conditions each word has and whether the status
now speaks of the newest generation. What happened and why is the verdict's; when to try again is the queue's.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from controller.model.record import Condition, ConditionStatus, Record, Verdict
from controller.model.values import replace
from controller.status.conditions import with_condition, without_condition
from controller.status.summary import last_word


class _Row(NamedTuple):
    ready: ConditionStatus
    reconciling: str | None
    stalled: bool
    observed: bool
    """Whether observedGeneration moves to the newest generation."""


_ROWS = {
    "Unknown": _Row("Unknown", None, False, False),
    "Held": _Row("False", None, False, True),
    "RemovalBlocked": _Row("False", None, False, True),
    "Removing": _Row("False", "Removing", False, True),
    "Orphaned": _Row("False", None, False, False),
    "Suspended": _Row("Unknown", None, False, True),
    "Stopped": _Row("False", None, False, True),
    "Invalid": _Row("False", None, True, True),
    "NeedsConfiguration": _Row("False", None, True, True),
    "RolledBack": _Row("False", None, True, True),
    "Failed": _Row("False", "ProgressingWithRetry", False, False),
    "Waiting": _Row("False", None, False, False),
    "Progressing": _Row("False", "Progressing", False, False),
    "Degraded": _Row("False", None, False, True),
    "Ready": _Row("True", None, False, True),
}


MISSING = "SourceMissing"
"""Condition of an app whose folder is gone and may come back; abnormal-true."""

_NOT_KEPT = frozenset({"Suspended", "RemovalHeld", "RemovalBlocked", "Removing", "Orphaned"})
"""Reasons that speak of a folder that was gone: they are over once the app is there to be suspended."""


def transition(record: Record, verdict: Verdict, now: datetime) -> Record:
    """The record after this verdict. Nothing moves that has not changed, `last_reconcile` excepted."""
    row = _ROWS[verdict.word]
    record = without_condition(record, MISSING)
    if row.observed:
        record = replace(record, observed_generation=record.generation)
    ready = record.condition("Ready")
    suspended = verdict.word == "Suspended"
    if suspended and ready is not None and ready.reason not in _NOT_KEPT:
        # A suspended app keeps its last word beside the Suspended condition; only the generation moves on.
        record = _set(record, "Ready", ready.status, ready.reason, ready.message, now)
    else:
        record = _set(record, "Ready", row.ready, verdict.reason, verdict.message, now)
    record = _flag(record, "Reconciling", row.reconciling, verdict, now)
    record = _flag(record, "Stalled", verdict.reason if row.stalled else None, verdict, now)
    record = _flag(record, "Suspended", "Suspended" if suspended else None, verdict, now)
    if verdict.healthy is None:
        record = without_condition(record, "Healthy")
    else:
        reason = "Healthy" if verdict.healthy else verdict.health_reason
        record = _set(
            record, "Healthy", "True" if verdict.healthy else "False", reason, verdict.health_message, now
        )
    if verdict.dependencies is None:
        record = without_condition(record, "DependenciesReady")
    else:
        met = not verdict.dependencies
        reason = "DependenciesReady" if met else "DependencyNotReady"
        record = _set(
            record, "DependenciesReady", "True" if met else "False", reason, verdict.dependencies, now
        )
    return replace(record, last_reconcile=now)


def with_since(record: Record, saved: Record, before: Record, now: datetime) -> Record:
    """The record with the moment since when its word is what it is, about to be saved.

    `saved`: as it was saved last; `before`: as the run found it. What an app is called during a try does not count: one that
    failed, and has failed again, has been Failed all the while; and one that runs between two ends has been in that trouble.
    """
    word = last_word(record)
    failing_since = (record.failing_since or now) if record.retries else None
    if failing_since != record.failing_since:
        record = replace(record, failing_since=failing_since)
    if word in ("Failed", "Degraded") and failing_since is not None:
        since: datetime | None = failing_since
    elif word == last_word(saved):
        since = saved.word_since
    elif word == last_word(before) and _turned(record) == _turned(before):
        since = before.word_since
    else:
        since = now
    return record if since == record.word_since else replace(record, word_since=since)


def _turned(record: Record) -> datetime | None:
    """When its Ready condition last took the status that it has."""
    ready = record.condition("Ready")
    return ready.last_transition_time if ready is not None else None


def with_missing(record: Record, message: str, now: datetime) -> Record:
    """The record of an app whose folder is gone, while it is waited for: all else is as it was. Every verdict, and
    `without_condition`, takes it back."""
    return _set(record, MISSING, "True", "FolderMissing", message, now)


def _set(
    record: Record, kind: str, status: ConditionStatus, reason: str, message: str, now: datetime
) -> Record:
    return with_condition(record, Condition(kind, status, reason, message, now, record.generation))


def _flag(record: Record, kind: str, reason: str | None, verdict: Verdict, now: datetime) -> Record:
    """Abnormal-true conditions are present only while True."""
    if reason is None:
        return without_condition(record, kind)
    if kind == "Reconciling" and reason == "Progressing" and verdict.reason == "AwaitingHooks":
        reason = "AwaitingHooks"
    return _set(record, kind, "True", reason, verdict.message, now)
