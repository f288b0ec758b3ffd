"""Taking in: what a run brings the record up to before it looks at the engine. The clock, the folder, its files.

Generation and revision are counted here. What people said is taken in by `wishes`, at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from controller.model import effects as fx
from controller.model.desired import Invalid, Present, Unreadable
from controller.model.effects import Run, ask
from controller.model.facts import APPROVED
from controller.model.record import Record, Verdict
from controller.model.values import replace
from controller.reconciler import wishes
from controller.reconciler.memory import Leaps, Memory
from controller.reconciler.work import Policy, Work
from controller.status.conditions import without_condition
from controller.status.summary import last_word
from controller.status.transition import MISSING, transition

_HELD = ("Held", "RemovalBlocked")
"""Words of an app whose folder was gone, and that ran on."""
_GONE = (*_HELD, "Removing", "Orphaned")
"""Words of an app whose folder was gone."""

_MOST_LISTED = 5
"""Changed files that a message names."""


# -- the clock ----------------------------------------------------------------------------------------


def not_from_the_future(record: Record, now: datetime) -> Record:
    """A clock that was set back must not make a wait last until it is there again: what lies ahead is now."""

    def past(moment: datetime | None) -> datetime | None:
        return now if moment is not None and moment > now else moment

    target = record.target
    if target is not None and target.applied_at > now:
        target = replace(target, applied_at=now)
    started, unstable = past(record.started_at), past(record.unstable_since)
    ends = {name: replace(end, at=min(end.at, now)) for name, end in record.ends.items()}
    before = record.target, record.started_at, record.unstable_since, record.ends
    if (target, started, unstable, ends) == before:
        return record
    return replace(record, target=target, started_at=started, unstable_since=unstable, ends=ends)


def note_leap(work: Work, known: Record | None, leaps: Leaps) -> Run[None]:
    """After a leap of the clock nobody is out of time, or proven stable, by minutes that never were."""
    if leaps.take(work.name, work.moment) and known is not None:
        work.record = _begun_anew(work.record, work.moment.now)
        # At once: an engine that is not awake yet would end the run, and the leap is noted once.
        yield from ask(fx.SaveRecord(work.record))


def _begun_anew(record: Record, now: datetime) -> Record:
    started = replace(record, started_at=now if record.started_at is not None else None)
    if record.unstable_since is None:
        return started  # of what is calm the ends are long ago, and stay so
    ends = {name: replace(end, at=now) for name, end in record.ends.items()}
    return replace(started, unstable_since=now, ends=ends)


# -- the folder and its files -------------------------------------------------------------------------


def note_back(work: Work, memory: Memory, dry_run: bool) -> Run[None]:
    """Its folder is there: that somebody let its removal go is of no use any more, and nothing is missing or held."""
    memory.note_back(work.name)
    if dry_run:
        return
    was = last_word(work.before)
    if work.before.generation == 0 or was in _GONE:
        yield from ask(fx.WriteFact(APPROVED + work.name))
    missing = work.record.condition(MISSING) is not None
    if isinstance(work.desired, Unreadable) or not (missing or was in _HELD):
        return
    # Back in time: what the status said before counts again, and nothing else happened.
    work.record = without_condition(work.record, MISSING)
    if was in _HELD and not (work.before.suspended or work.before.suspended_by_manifest):
        going_on = Verdict("Progressing", "Progressing", "its folder is back")
        work.record = transition(work.record, going_on, work.moment.now)
    yield from work.tell("app.back", "its folder is back; nothing was removed")
    yield from work.save()
    work.before = work.record


def take_in(work: Work, policy: Policy, memory: Memory, dry_run: bool) -> Run[None]:
    """Generation, revision, the manifest's facts and what a person said into the record."""
    desired, before, name = work.desired, work.before, work.name
    seen: dict[str, Any] = {}
    if isinstance(desired, Present | Invalid):
        seen |= {"folder": desired.folder, "revision": desired.revision, "own_write": False}
        seen |= {"identity": desired.identity, "inputs": desired.inputs}
        if before.folder not in ("", desired.folder):
            seen["folders"] = tuple(dict.fromkeys((before.folder, *before.folders)))
        if desired.revision != before.revision and not before.own_write:
            generation = before.generation + 1
            seen |= {"generation": generation, "last_change": work.moment.now, "quarantine": None}
            seen |= {"retries": 0}  # those were tries of other files
            told: dict[str, object] = {"generation": generation}
            told["revision"] = desired.revision.removeprefix("sha256:")[:12]
            if generation == 1:
                work.news.append(work.event("app.discovered", "new app folder", **told))
            else:
                changed = _changed(before.inputs, desired.inputs)
                message = f"{_listed(changed) or 'inputs'} changed"
                work.news.append(work.event("app.changed", message, **told, files=changed))
            for warning in desired.warnings if isinstance(desired, Present) else ():
                work.news.append(work.event("app.warning", warning, "warning"))
            if not dry_run:
                memory.retries.now(name)
                work.at_once = True
                yield from ask(fx.ResetBackoff(name))
    if isinstance(desired, Present):
        manifest = desired.manifest
        seen |= {
            "display_name": manifest.display_name,
            "version": manifest.version,
            "requires": tuple(sorted(r.app for r in manifest.requires)),
            "on_remove": {r.app: r.on_remove for r in manifest.requires if r.on_remove},
            "volumes": tuple(f"{policy.volume_prefix}_{name}_{short}" for short in manifest.volumes),
            "exec_service": manifest.exec_service,
            "suspended_by_manifest": manifest.suspend,
        }
    work.record = replace(work.record, **seen)
    yield from wishes.take_in(work, memory.requests, dry_run)


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The inputs that came, went or are others; none where it is not known how each was."""
    if not before or not now:
        return []
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more} more files" if more > 0 else "")
