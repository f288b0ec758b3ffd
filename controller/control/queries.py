"""Queries: what the store knows, in the shapes that people's programs read. Nothing is changed.

The JSON of `homeport status -o json` is made here and nowhere else. Tables and sentences do not belong here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from controller.control.reading import parse_time, rfc3339
from controller.control.verbs import held_among
from controller.control.volumes import left
from controller.model.activity import Step
from controller.model.plan import Action
from controller.model.ports import Store
from controller.model.record import Condition, Event, Record
from controller.model.values import replace
from controller.status.summary import last_word, summarize

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def status_document(
    store: Store,
    service: Mapping[str, Any],
    now: datetime,
    stale_after: float | None,
    unseen: Iterable[str] = (),
) -> dict[str, Any]:
    """The document of `status -o json`: the service, every app on record, and the volumes that others left.

    `unseen`: apps whose folder is there and that may never have been looked at; each is Unknown unless it is on record.

    An app is as fresh as its last reconcile or the service's last look at everything, whichever is later.
    Where freshness or the engine is missing the summary is Unknown, with `lastSummary` beside it.
    """
    known = {record.name: record for record in store.records()}
    records = [known.get(name) or Record(name) for name in sorted({*known, *unseen})]
    required_by: dict[str, list[str]] = {}
    for record in records:
        for provider in sorted(record.holds):
            required_by.setdefault(provider, []).append(record.name)
    activity = service.get("activity") or {}
    apps = [
        {
            **_app(record, *_summary(record, service, now, stale_after), required_by.get(record.name, [])),
            "activity": activity.get(record.name),
        }
        for record in records
    ]
    told = {key: value for key, value in service.items() if key != "activity"}
    if "lastResync" in told:
        told["lastResync"] = _time(parse_time(told["lastResync"]))
    return {
        "service": {**told, "held": list(held_among(known.values()))},
        "apps": apps,
        "left": {app: list(volumes) for app, volumes in left(store).items()},
    }


def unseen_app(name: str) -> dict[str, Any]:
    """The status of an app that was never looked at."""
    return {**_app(Record(name), "Unknown", None, []), "activity": None}


def summary_of(record: Record, service: Mapping[str, Any], now: datetime, stale_after: float | None) -> str:
    """The word of one app, as the status has it. `stale_after` in seconds; None: age does not count."""
    seen = as_seen(record, parse_time(service.get("lastResync")))
    known = engine_answers(service) and not forgets(service)
    return summarize(seen, now, known=known, stale_after=stale_after)


def _summary(
    record: Record, service: Mapping[str, Any], now: datetime, stale_after: float | None
) -> tuple[str, datetime | None]:
    """The word of one app, and since when it is that one."""
    word = summary_of(record, service, now, stale_after)
    return word, since_of(record) if word == last_word(record) else unknown_since(record, service)


def since_of(record: Record) -> datetime | None:
    """Since when the word of its last reconcile is what it is; None: it was never looked at."""
    if record.word_since is not None:
        return record.word_since
    # A record of an earlier Homeport: not before the condition turned.
    condition = record.condition("Suspended") or record.condition("Ready")
    return condition.last_transition_time if condition is not None else None


def unknown_since(record: Record, service: Mapping[str, Any]) -> datetime | None:
    """Since when nothing is known of an app: the engine does not answer, or nobody has looked at it."""
    if not engine_answers(service):
        return parse_time((service.get("engine") or {}).get("sinceTime"))
    return as_seen(record, parse_time(service.get("lastResync"))).last_reconcile


def engine_answers(service: Mapping[str, Any]) -> bool:
    """Whether the engine answers, as far as the `service` object of the status knows."""
    engine = service.get("engine")
    return not isinstance(engine, Mapping) or engine.get("reachable") is not False


def forgets(service: Mapping[str, Any]) -> str:
    """Why the running service can remember nothing, so that the records are of an earlier time; or ""."""
    state = service.get("state")
    lost = isinstance(state, Mapping) and state.get("writable") is False
    return str(state.get("message") or "the state cannot be written") if lost and state else ""


def activity_document(steps: Mapping[str, Step]) -> dict[str, Any]:
    """What is being done at this moment, by app; in the status it is told beside the app."""
    return {
        app: {"what": step.what, "detail": step.detail, "sinceTime": rfc3339(step.since)}
        for app, step in steps.items()
    }


def events_list(
    store: Store,
    app: str | None = None,
    since: datetime | None = None,
    after: int = 0,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """What happened, oldest first; `after` is the id of the last event already seen."""
    return [_event(number, event) for number, event in store.events(app, since, after, limit)]


def history_document(record: Record) -> dict[str, Any]:
    """What runs and what ran before it, newest first, and the generation that is not tried again."""
    target = record.target
    return {
        "app": record.name,
        "revisions": [
            {
                "generation": known.generation,
                "revision": known.revision,
                "version": known.version,
                "appliedTime": rfc3339(known.applied_at),
                "good": known.good,
                "current": known is target,
            }
            for known in (*([target] if target else []), *record.history)
        ],
        "quarantine": _quarantine(record),
    }


def parse_span(text: str) -> timedelta | None:
    """`30s`, `10m`, `1h`, `2d` or `1w`; None for anything else."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip(), re.ASCII)
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]]) if match else None


def parse_since(text: str, now: datetime) -> datetime | None:
    """So long ago, or a time like 2026-01-31T12:00:00Z; None for anything else."""
    ago = parse_span(text)
    return parse_time(text.strip()) if ago is None else now - ago


def as_seen(record: Record, resync: datetime | None) -> Record:
    """The record, as fresh as its last reconcile or the service's last look at everything, whichever is later."""
    if resync is None or (record.last_reconcile is not None and record.last_reconcile >= resync):
        return record
    return replace(record, last_reconcile=resync)


def _app(record: Record, summary: str, since: datetime | None, required_by: list[str]) -> dict[str, Any]:
    last = last_word(record)
    return {
        "name": record.name,
        "displayName": record.display_name,
        "folder": record.folder,
        "version": record.version,
        "summary": summary,
        **({"lastSummary": last} if summary != last else {}),
        "sinceTime": _time(since),
        "generation": record.generation,
        "observedGeneration": record.observed_generation,
        "target": {"revision": record.target.revision, "requires": list(record.target.requires)}
        if record.target
        else None,
        "desired": {
            "revision": record.revision,
            "services": {name: dict(fields) for name, fields in record.desired_services.items()},
        },
        "observed": {
            "revision": record.target.revision if record.target else None,
            "services": {name: dict(fields) for name, fields in record.observed_services.items()},
        },
        "requires": list(record.requires),
        "requiredBy": required_by,
        "volumes": sorted({*record.volumes, *record.own_volumes}),
        "stopped": record.stopped,
        "quarantine": _quarantine(record),
        "conditions": [_condition(condition) for condition in record.conditions],
        "retries": record.retries,
        "nextTryTime": _time(record.next_try),
        "deadlineTime": _time(record.deadline),
        "lastError": record.last_error,
        "lastReconcileTime": _time(record.last_reconcile),
        "lastChangeTime": _time(record.last_change),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _quarantine(record: Record) -> dict[str, Any] | None:
    """The generation that is not tried again, why, and the revision that runs instead."""
    kept_out = record.quarantine
    if kept_out is None:
        return None
    return {
        "generation": kept_out.generation,
        "revision": kept_out.to.revision,
        "reason": kept_out.reason,
        "message": kept_out.message,
    }


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": rfc3339(condition.last_transition_time),
        "observedGeneration": condition.observed_generation,
    }


def _event(number: int, event: Event) -> dict[str, Any]:
    return {
        "id": number,
        "time": rfc3339(event.time),
        "app": event.app,
        "event": event.name,
        "level": event.level,
        "message": event.message,
        "fields": dict(event.fields),
    }


def action_document(action: Action) -> dict[str, str]:
    """One action as JSON; `line` is the line people see."""
    return {
        "kind": action.kind,
        "target": action.target,
        "detail": action.detail,
        "cause": action.cause,
        "app": action.app,
        "line": str(action),
    }
