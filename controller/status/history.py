"""History: what was applied of an app before the present target, newest first. Pure.

Which of it is gone back to, and when, is decided in the planner room; how people name it is control's.
"""

from __future__ import annotations

from controller.model.record import Record, Target
from controller.model.values import replace

KEPT = 5
"""Earlier targets of an app that are kept, the last good one always among them."""


def remember(record: Record, new: Target) -> Record:
    """The record with a new target; the one before goes into the history. What was good once is good again."""
    unique: dict[object, Target] = {}
    for target in record.applied:
        unique.setdefault(_run_of(target), target)
    was = unique.pop(_run_of(new), None)
    if was is not None and was.good:
        new = replace(new, good=True)
    kept = list(unique.values())
    good = next((target for target in kept if target.good), None)
    first = kept[:KEPT]
    if good is not None and good not in first:
        first[-1] = good
    return replace(record, target=new, history=tuple(first))


def is_same_run(one: Target, other: Target) -> bool:
    """Whether both mean the same inputs running from the same images."""
    return _run_of(one) == _run_of(other)


def _run_of(target: Target) -> object:
    return target.revision, tuple(sorted(images_of(target).items()))


def images_of(target: Target) -> dict[str, str]:
    """Service to the one image id it ran from; services of which that is not known are left out."""
    return {name: s.image_ids[0] for name, s in target.services.items() if len(s.image_ids) == 1}


def _came_from(now: Target | None, target: Target) -> bool:
    """Whether it is newer than what was gone back to: whoever goes back twice wants to be further back."""
    if now is None or not now.detached:
        return False
    return target.generation > now.generation or target.revision == now.revision


def find_revision(record: Record, wanted: str) -> Target | None:
    """What a person asks to go back to: a revision, or "" for the last good run before the present one.

    Never the present run itself, unless the folder says something else by now.
    """
    now = record.target
    others = [target for target in record.history if now is None or not is_same_run(target, now)]
    if not wanted:
        return next((target for target in others if target.good and not _came_from(now, target)), None)
    if now is not None and now.revision != record.revision:
        others.append(now)
    return next((target for target in others if target.revision == wanted), None)
