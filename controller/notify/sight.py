"""Sight: what of an app counts for a message, made of the records. Pure.

Whether anything is told of it is the digest's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.control.why import chain_of
from controller.model.record import Record
from controller.status.summary import last_word

MISSING = "Missing"
"""The word of a provider that is not there."""
_TROUBLE = frozenset({"Failed", "Degraded", "RolledBack", "Held", "RemovalBlocked"})
_TROUBLE_ONCE_APPLIED = frozenset({"Invalid", "NeedsConfiguration"})
"""Of an app that was never applied its author is at work on it."""


@dataclass(frozen=True)
class Sight:
    """One app at one moment."""

    word: str
    reason: str = ""
    message: str = ""
    trouble: bool = False
    """Whether a person would want to be told."""
    root: str = ""
    """The app at the root of it; "" when that is the app itself."""
    root_word: str = ""
    requires: tuple[str, ...] = ()


def see(records: Iterable[Record]) -> dict[str, Sight]:
    """All apps on record, by name."""
    known = {record.name: record for record in records}
    return {name: _sight(known, record) for name, record in known.items()}


def _sight(records: Mapping[str, Record], record: Record) -> Sight:
    word = last_word(record)
    ready = record.condition("Ready")
    if word == "Ready" or ready is None:
        return Sight(word, requires=record.requires)
    root = chain_of(records, record.name)[-1]
    elsewhere = root.app != record.name
    return Sight(
        word,
        ready.reason,
        ready.message,
        _is_trouble(record, word, ready.reason),
        root.app if elsewhere else "",
        root.summary if elsewhere else "",
        record.requires,
    )


def _is_trouble(record: Record, word: str, reason: str) -> bool:
    if reason == "Paused" or (word == "RolledBack" and record.quarantine and record.quarantine.by_person):
        return False  # somebody wants it so
    return word in _TROUBLE or (word in _TROUBLE_ONCE_APPLIED and record.target is not None)
