"""History: the revisions that were applied of an app, as people name them.

When a revision is kept, counts as good or is gone back to is the reconciler's business.
"""

from __future__ import annotations

import re

from controller.control.errors import Refused
from controller.control.reading import short
from controller.model.record import Record, Target
from controller.status import history

_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{4,64})")


def find_revision(record: Record, wanted: str) -> str:
    """The revision to go back to: `wanted` is a generation, or the first digits (four or more) of a revision.

    "" is the last good one before the present, and is answered with "". Raises `Refused`, naming those there are.
    """
    name, target = record.name, record.target
    if target is None:
        raise Refused(f"{name} was never applied; there is nothing to go back to")
    if not wanted:
        if history.find_revision(record, "") is not None:
            return ""
        raise Refused(f"{name} has no earlier revision that was good. {_listing(record)}")
    found = {known.revision for known in record.applied if _is_named(known, wanted)}
    if len(found) != 1:
        what = "may be several revisions" if found else "is no revision"
        raise Refused(f"{wanted} {what} of {name}. {_listing(record)}")
    (revision,) = found
    if history.find_revision(record, revision) is None:
        raise Refused(f"{wanted} is what {name} runs already. {_listing(record)}")
    return revision


def _is_named(known: Target, wanted: str) -> bool:
    digits = _PREFIX.fullmatch(wanted.lower())
    return str(known.generation) == wanted or (
        digits is not None and known.revision.removeprefix("sha256:").startswith(digits[1])
    )


def _listing(record: Record) -> str:
    if not record.history:
        return "There is none but the one that runs"
    shown = ", ".join(f"{short(known.revision)} (generation {known.generation})" for known in record.history)
    return f"Before the one that runs there were: {shown}. See `homeport history {record.name}`"
