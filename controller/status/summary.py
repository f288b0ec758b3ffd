"""The one word people read, computed from a record and never stored.

A table: the first row that matches wins. Its inverse, which conditions a word has, is in `transition`.
"""

from __future__ import annotations

from datetime import datetime

from controller.model.record import Record

WORDS = (
    "Unknown", "Held", "RemovalBlocked", "Removing", "Orphaned", "Suspended", "Stopped", "Invalid", "NeedsConfiguration",
    "RolledBack", "Failed", "Waiting", "Progressing", "Degraded", "Ready",
)  # fmt: skip
"""All words there are."""

_BY_REASON = {
    "RemovalHeld": "Held",
    "RemovalBlocked": "RemovalBlocked",
    "Removing": "Removing",
    "Orphaned": "Orphaned",
    "Stopped": "Stopped",
    "NeedsConfiguration": "NeedsConfiguration",
    "RolledBack": "RolledBack",
}
DEPENDENCY_REASONS = frozenset({"DependencyMissing", "DependencyNotReady"})


def summarize(record: Record, now: datetime, *, known: bool = True, stale_after: float | None = None) -> str:
    """The word for this record at this moment.

    `known`: whether what happens now can be seen and noted at all: the engine answers, the state can be written.
    `stale_after` (seconds): a record whose last reconcile is older is Unknown; None: age does not count.
    """
    if not known:
        return "Unknown"
    if stale_after is not None and (
        record.last_reconcile is None or (now - record.last_reconcile).total_seconds() > stale_after
    ):
        return "Unknown"
    return last_word(record)


def last_word(record: Record) -> str:
    """The word of the last reconcile, whatever its age."""
    ready = record.condition("Ready")
    if ready is None:
        return "Unknown"
    stalled = record.condition("Stalled") is not None
    reconciling = record.condition("Reconciling")
    word = _BY_REASON.get(ready.reason)
    if word in ("Held", "RemovalBlocked", "Removing", "Orphaned"):
        return word
    if record.condition("Suspended") is not None:
        return "Suspended"
    if ready.status == "Unknown" and ready.reason == "SourceUnavailable":
        return "Unknown"
    if word is not None:
        return word
    if stalled:
        return "Invalid"
    if ready.status == "True":
        return "Ready"
    if reconciling is not None and reconciling.reason == "ProgressingWithRetry":
        return "Failed"
    if ready.reason in DEPENDENCY_REASONS:
        started = record.target is not None and record.target.revision == record.revision
        return "Degraded" if started else "Waiting"
    if reconciling is not None and reconciling.reason in ("Progressing", "AwaitingHooks"):
        return "Progressing"
    return "Degraded"
