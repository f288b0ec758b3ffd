"""Rest: an app that a look found Ready, with nothing to wait for, is looked at again only when something it stood on differs.

Whatever the number of apps, finding out costs stats and one list of the engine's. It decides nothing about an app:
what differs in any way gets a look as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath

from controller.model import effects as fx
from controller.model.desired import Census, Present
from controller.model.effects import Run, ask
from controller.model.errors import EngineUnreachable
from controller.model.facts import ALL_SEEN
from controller.model.observed import Observed
from controller.model.record import Record, Rest
from controller.model.values import replace
from controller.planner.gates import order
from controller.planner.judge import Judgement
from controller.planner.plan import Wishes
from controller.reconciler import looking
from controller.reconciler.looking import Providers
from controller.reconciler.memory import Memory
from controller.reconciler.work import Work


def rest_of(work: Work, judgement: Judgement, providers: Providers, rules: str) -> Rest | None:
    """What the app rests on after this look; None while there is anything to do, to wait for or to tell."""
    desired, record = work.desired, work.record
    if judgement.verdict.word != "Ready" or judgement.after is not None or work.wishes != Wishes():
        return None
    if not isinstance(desired, Present) or desired.stamp is None:
        return None
    if record.target is None or record.target.revision != desired.revision:
        return None
    noticed = {name: providers[name].noticed for name in record.requires if name in providers}
    rest = Rest(desired.stamp, _lasting(work.observed), noticed, rules, work.began)
    before = work.before.rest
    # A look that finds nothing new writes nothing, not even when it was.
    return before if before is not None and replace(before, at=rest.at) == rest else rest


def look_at_all(memory: Memory, rules: str, *, reread: bool) -> Run[tuple[str, ...]]:
    """Queue every app that a look may find something of, providers first: all, but for those that are surely as they were
    when they came to rest. Answers with them. What runs from the tree with neither folder nor record is among them.

    `reread`: the inputs are read again, for what stats do not show. Raises `EngineUnreachable`, with all queued: each
    finds out for itself then, and is tried again.
    """
    moment = yield from ask(fx.ReadClock())
    memory.leaps.note_time(moment)
    records = {record.name: record for record in (yield from ask(fx.ReadRecords()))}
    census = yield from ask(fx.TakeCensus())
    names = census.names | records.keys()
    try:
        restless = yield from _find_restless(memory, rules, census, records, reread=reread)
    except EngineUnreachable:
        for name in sorted(names):
            yield from ask(fx.Enqueue(name))
        raise
    memory.looks.note(moment.now, restless)
    if (seen := memory.looks.all_seen_at()) is not None:
        yield from ask(fx.WriteFact(ALL_SEEN, seen.isoformat()))
    yield from ask(fx.Doubt(restless))
    queued = order({name: records[name].requires if name in records else () for name in restless})
    for name in queued:
        yield from ask(fx.Enqueue(name))
    return queued


def _find_restless(
    memory: Memory, rules: str, census: Census, records: Mapping[str, Record], *, reread: bool
) -> Run[frozenset[str]]:
    names = census.names | records.keys()
    if census.lost:
        return frozenset(names)
    said = yield from ask(fx.FindSaid())
    resting = {
        name: record.rest
        for name, record in records.items()
        if name in census.names and record.folder == _folder(census, name) and name not in said
        and not memory.minds(name) and record.rest is not None and record.rest.rules == rules
        and record.rest.providers == _noticed(record, records)
    }  # fmt: skip
    stamps = {name: rest.stamp for name, rest in resting.items()}
    unchanged = yield from ask(fx.FindUnchanged(stamps, reread))
    survey = yield from ask(fx.TakeSurvey(any(resting[name].observed.volumes for name in unchanged)))
    for name, folders in survey.projects().items():
        if name not in names and _folder(census, name) in folders:
            memory.looks.note_orphan(name, _folder(census, name))
            names |= {name}
    before = memory.looks.all_looked_at or (yield from _all_seen())
    resting = {name: resting[name] for name in unchanged}
    at_rest = {n for n, rest in resting.items() if survey.shows(n, rest.observed, max(rest.at, before))}
    return frozenset(names - at_rest)


def _noticed(record: Record, records: Mapping[str, Record]) -> dict[str, str]:
    return {name: looking.noticed_of(records[name]) for name in record.requires if name in records}


def _lasting(observed: Observed) -> Observed:
    """Without what comes and goes, or is forgotten, and changes nothing: runs by hand, and how something ended."""
    lasting = tuple(replace(c, ended_by_itself=False) for c in observed.containers if not c.oneoff)
    return replace(observed, containers=lasting)


def _all_seen() -> Run[datetime]:
    """By an earlier process: when all apps were looked at, and those that were not at rest by a run of their own."""
    said = yield from ask(fx.ReadFact(ALL_SEEN))
    return datetime.fromisoformat(said) if said is not None else datetime.min.replace(tzinfo=UTC)


def _folder(census: Census, name: str) -> str:
    return str(PurePosixPath(census.root, name))
