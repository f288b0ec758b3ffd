"""Rest: an app that a look found Ready, with nothing to wait for, is looked at again only when something it stood on differs.

Whatever the number of apps, finding out costs stats and one list of the engine's. It decides nothing about an app:
what differs in any way gets a look as ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

from controller.model import effects as fx
from controller.model.desired import Census, Present
from controller.model.effects import Run, ask
from controller.model.facts import LAST_RESYNC
from controller.model.record import Record, Rest
from controller.planner.judge import Judgement
from controller.planner.plan import Wishes
from controller.reconciler import looking
from controller.reconciler.work import Memory, Work


def rest_of(work: Work, judgement: Judgement, rules: str) -> Run[Rest | None]:
    """What the app rests on after this look; None while there is anything to do, to wait for or to tell."""
    desired, record = work.desired, work.record
    if judgement.verdict.word != "Ready" or judgement.after is not None or work.wishes != Wishes():
        return None
    if not isinstance(desired, Present) or desired.stamp is None:
        return None
    if record.target is None or record.target.revision != desired.revision:
        return None
    known = {r.name: r for r in (yield from ask(fx.ReadRecords()))} if record.requires else {}
    rest = Rest(desired.stamp, work.observed, _providers(record, known), rules, work.moment.now)
    before = work.before.rest
    # A look that finds nothing new writes nothing, not even when it was.
    return before if before is not None and replace(before, at=rest.at) == rest else rest


def find_restless(memory: Memory, rules: str, *, reread: bool) -> Run[frozenset[str]]:
    """The apps that a look may find something of: all, but for those that are surely as they were when they came to
    rest. What runs from the tree with neither folder nor record is among them. Raises `EngineUnreachable`.

    `reread`: the inputs are read again, for what stats do not show.
    """
    moment = yield from ask(fx.ReadClock())
    before = memory.all_looked_at or (yield from _last_look())
    census = yield from ask(fx.TakeCensus())
    records = {record.name: record for record in (yield from ask(fx.ReadRecords()))}
    names = census.names | records.keys()
    if census.lost:
        return frozenset(names)
    said = yield from ask(fx.FindSaid())
    resting = {
        name: record.rest
        for name, record in records.items()
        if name in census.names and record.folder == _folder(census, name) and name not in said and not memory.minds(name)
        and record.rest is not None and record.rest.rules == rules
        and record.rest.providers == _providers(record, records)
    }  # fmt: skip
    stamps = {name: rest.stamp for name, rest in resting.items()}
    unchanged = yield from ask(fx.FindUnchanged(stamps, reread))
    survey = yield from ask(fx.TakeSurvey(any(resting[name].observed.volumes for name in unchanged)))
    for name, folders in survey.projects().items():
        here = _folder(census, name)
        if name not in names and here in folders:
            memory.note_orphan(name, here)
            names |= {name}
    restless = names - {
        name
        for name in unchanged
        if survey.shows(name, resting[name].observed, max(resting[name].at, before))
    }
    memory.note_look(moment.now, restless)
    return frozenset(restless)


def _folder(census: Census, name: str) -> str:
    return str(PurePosixPath(census.root, name))


def _last_look() -> Run[datetime]:
    """Of an earlier process, at everything: what was at rest then was so at that moment."""
    said = yield from ask(fx.ReadFact(LAST_RESYNC))
    return datetime.fromisoformat(said) if said is not None else datetime.min.replace(tzinfo=UTC)


def _providers(record: Record, records: Mapping[str, Record]) -> dict[str, str]:
    return {
        name: hashlib.blake2b(
            repr(looking.seen_by_consumers(records[name])).encode(), digest_size=16
        ).hexdigest()
        for name in record.requires
        if name in records
    }
