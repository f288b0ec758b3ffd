"""Removal: which missing apps may be removed, and which are held by the brake.

A folder that is surely gone removes one app; many at once look like an accident and wait for a person.
How sure it is that they are gone, and for how long, is known elsewhere.
"""

from __future__ import annotations

from datetime import datetime

from controller.model.record import Record

BRAKE_COUNT = 3
BRAKE_SHARE = 0.3
BRAKE_WINDOW = 300.0
"""Seconds over which removals are counted together."""


def brake_holds(missing: int, removed_lately: int, installed: int) -> str:
    """Why these removals wait for a person's yes, or "" when they may go on.

    `installed` counts the apps that were there before, the missing ones among them; `removed_lately` those removed within
    `BRAKE_WINDOW`, so that a slow trickle counts as one accident. These are said apart: a person who is told how many
    are gone looks for as many in the list of what is held.
    """
    gone, before = missing + removed_lately, installed + removed_lately
    if missing >= 2 and missing == installed:
        return f"all {missing} apps are gone from the apps tree"
    if gone > BRAKE_COUNT and gone > BRAKE_SHARE * before:
        now = f"{missing} of {installed} apps {'is' if missing == 1 else 'are'} gone from the apps tree"
        earlier = f", and {removed_lately} were removed within the last {BRAKE_WINDOW / 60:.0f} minutes"
        return now + (earlier if removed_lately else "")
    return ""


def was_there(record: Record, moment: datetime) -> bool:
    """Whether the app was known before that moment.

    What came after the first of others went is no sign that they were meant to go: one stray folder must not make
    "all of them" into "some of them".
    """
    known = [target.applied_at for target in record.applied]
    known += [record.last_change] if record.last_change is not None else []
    return not known or min(known) < moment
