"""Reading: what stands in documents as values again: times and revisions. It loads nothing, for who only shows documents.

The documents are made in `queries`.
"""

from __future__ import annotations

from datetime import UTC, datetime

SHOWN = 12
"""Hexadecimal digits of a revision that people see."""


def parse_time(value: object) -> datetime | None:
    """A time as the store and the API write it; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def short(revision: str) -> str:
    """A revision as people see it."""
    return revision.removeprefix("sha256:")[:SHOWN]
