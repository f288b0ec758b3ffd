"""Rollback: which earlier revision an app goes back to, and whether it may do so by itself. Pure.

When a try counts as failed is judged in `judge`; going back is an apply like any other, planned in `plan`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from controller.model.observed import Rendered
from controller.model.record import Record, Target

Mode = Literal["auto", "always", "never"]

KEPT = 5
"""Earlier revisions of an app that are kept, the last good one always among them."""


@dataclass(frozen=True)
class WayBack:
    """The revision to go back to; or, with None, why the app stays as it is."""

    to: Target | None
    why_not: str = ""


def find_way_back(record: Record, rendered: Rendered | None, mode: Mode) -> WayBack:
    """Where an app goes whose newest revision failed before it was ever good.

    `rendered`: the model of the revision that failed. With `auto` nothing is taken back by itself when a service
    that keeps data got another image: the new one may have changed the data for good.
    """
    good = last_good(record)
    if good is None:
        return WayBack(None, "there is no earlier revision to go back to")
    choice = f"`homeport rollback {record.name}` goes back to generation {good.generation}"
    if mode == "never":
        return WayBack(None, f"rollback is off; {choice}")
    risky = _changed_images(record.target, good, rendered) if mode == "auto" and rendered is not None else []
    if risky:
        return WayBack(
            None,
            f"not taken back by itself, as {', '.join(risky)} keeps data and got another image: {choice}, "
            f"`homeport reconcile {record.name}` tries again",
        )
    return WayBack(good)


def last_good(record: Record) -> Target | None:
    """The newest revision that was good, other than the one that is failing."""
    known = (record.target, *record.history) if record.target else record.history
    return next((target for target in known if target.good), None)


def _changed_images(failed: Target | None, good: Target, rendered: Rendered) -> list[str]:
    """Services that keep data and were started, or were to be started, from another image than before."""
    changed = []
    for service in rendered.services:
        before = good.services.get(service.name)
        if before is None or not service.keeps_data:
            continue
        after = failed.services.get(service.name) if failed is not None and failed is not good else None
        if before.image != service.image or (
            after and after.image_ids and after.image_ids != before.image_ids
        ):
            changed.append(f"service {service.name}")
    return changed


def is_same_run(one: Target, other: Target) -> bool:
    """Whether both mean the same inputs running from the same images."""
    return one.revision == other.revision and images_of(one) == images_of(other)


def images_of(target: Target) -> dict[str, str]:
    """Service to the one image id it ran from; services of which that is not known are left out."""
    return {name: s.image_ids[0] for name, s in target.services.items() if len(s.image_ids) == 1}


def remember(record: Record, new: Target) -> Record:
    """The record with a new target; the one before goes into the history."""
    older = (record.target, *record.history) if record.target is not None else record.history
    kept: list[Target] = []
    for target in older:
        if not is_same_run(target, new) and not any(is_same_run(target, other) for other in kept):
            kept.append(target)
    good = next((target for target in kept if target.good), None)
    first = kept[:KEPT]
    if good is not None and good not in first:
        first[-1] = good
    return replace(record, target=new, history=tuple(first))


def find_revision(record: Record, wanted: str) -> Target | None:
    """The kept revision that a person asked for; "" is the last good one before the present."""
    if wanted:
        known = (record.target, *record.history) if record.target else record.history
        return next((target for target in known if target.revision == wanted), None)
    return next((target for target in record.history if target.good), None)
