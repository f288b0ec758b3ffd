"""Reading: how times and revisions stand in documents, how they are read again, and what is said where there is none. It loads
nothing, for who only shows documents.

The documents are made in `queries`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from controller.model.names import APP_NAME, NO_APP_NAME

SHOWN = 12
"""Hexadecimal digits of a revision that people see."""


def rfc3339(moment: datetime) -> str:
    """A time as all documents have it: RFC 3339 in UTC, in whole seconds, which every program reads (`fromdate` of jq)."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


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


def name_trouble(app: str) -> str:
    """Why a folder of this name is never looked at, or ""."""
    return "" if APP_NAME.fullmatch(app) else f"{app} {NO_APP_NAME}"


def never_looked_at(app: str) -> str:
    """What is known of a folder of which nothing is on record."""
    trouble = name_trouble(app)
    return f"it is never looked at: {trouble}" if trouble else "it was never looked at"
