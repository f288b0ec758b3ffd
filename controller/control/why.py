"""Why: what keeps an app from being Ready, from the app down its providers to the root cause. Pure.

Made from the records alone, so it answers while the service is down. What helps is in `remedies`; how text gets
onto a terminal does not belong here.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from controller.control.queries import as_seen, engine_answers, forgets, since_of, unknown_since
from controller.control.reading import name_trouble, never_looked_at, parse_time, rfc3339
from controller.control.remedies import OTHER, REMEDIES, START, WENT_BACK, Remedy
from controller.model.record import Record
from controller.model.values import replace
from controller.status.summary import DEPENDENCY_REASONS, last_word, summarize
from controller.status.transition import MISSING

LONGEST = 20
"""Links after which a chain is cut."""
_FINE = (None, "", "healthy")


@dataclass(frozen=True)
class Link:
    """One app of the chain. All but the last say which provider they need."""

    app: str
    summary: str
    """A word of the status, or `Missing` for a provider that is not there."""
    reason: str
    message: str
    since: datetime | None = None
    """When it became what it is."""


@dataclass(frozen=True)
class Running:
    """What was last seen to run of the app."""

    services: Mapping[str, str] = field(default_factory=dict)
    """Service to its state in words; empty when there is no container."""
    up: bool = False
    """Whether any of them runs."""
    generation: int | None = None
    """That was applied last; None when none was."""
    revision: str = ""
    files: int | None = None
    """The generation of the files where it is not that one that runs; None where it is the newest."""
    drift: tuple[str, ...] = ()
    """In what it differs from the newest although that was applied, a sentence each; nothing is done about it."""


@dataclass(frozen=True)
class Why:
    """The answer for one app at one moment."""

    app: str
    summary: str
    time: datetime
    live: bool
    """Whether the service runs; if not, all this is as last recorded, and nothing happens by itself."""
    chain: tuple[Link, ...]
    """From the app to the root cause; never empty."""
    running: Running
    last_summary: str = ""
    """Before it became Unknown."""
    next: str = ""
    """What Homeport does by itself, and when."""
    next_try: datetime | None = None
    """Of the root, where a try is due."""
    advice: tuple[str, ...] = ()
    """What a person can do, one way a line."""
    gone: str = ""
    """That the app's folder is gone and waited for, or ""."""


def explain(
    records: Mapping[str, Record],
    app: str,
    now: datetime,
    service: Mapping[str, Any],
    stale_after: float | None = None,
) -> Why:
    """Why this app is as it is. One that is not on record counts as not looked at yet.

    `service`: that object of the status document. `stale_after` (seconds): as for `summarize`.
    """
    record = records.get(app) or Record(app)
    live = bool(service.get("running"))
    chain = _nothing_known(record, now, service, stale_after) or _follow(records, record)
    summary, root = chain[0].summary, chain[-1]
    culprit = records.get(root.app) or Record(root.app)
    retry = culprit.next_try if root.summary in ("Failed", "Removing") else None
    gone = _missing(record)
    why = Why(app, summary, now, live, chain, _running(record), next_try=retry, gone=gone)
    if last_word(record) != summary and record.condition("Ready") is not None:
        why = replace(why, last_summary=last_word(record))
    if summary == "Ready":
        return why
    names = _names(records, why, service)
    return replace(why, next=_next(why, culprit, names), advice=_advice(why, culprit, names))


def chain_of(records: Mapping[str, Record], app: str) -> tuple[Link, ...]:
    """From the app to the root cause as recorded, whatever is known of it at this moment; never empty."""
    return _follow(records, records.get(app) or Record(app))


# -- the chain ----------------------------------------------------------------------------------------------


def _nothing_known(
    record: Record, now: datetime, service: Mapping[str, Any], stale_after: float | None
) -> tuple[Link, ...]:
    """The one link of an app of which nothing is known at this moment, or none."""
    if name_trouble(record.name):
        return (Link(record.name, "Unknown", "NoAppName", never_looked_at(record.name)),)
    if not engine_answers(service):
        why = str((service.get("engine") or {}).get("message") or "the container engine does not answer")
        return (Link(record.name, "Unknown", "EngineUnreachable", why, unknown_since(record, service)),)
    if trouble := forgets(service):
        why, since = f"nothing can be remembered: {trouble}", unknown_since(record, service)
        return (Link(record.name, "Unknown", "StateUnavailable", why, since),)
    if record.condition("Ready") is not None and last_word(record) == "Unknown":
        return ()  # it says itself what cannot be read
    looked = as_seen(record, parse_time(service.get("lastResync")))
    seen = looked.last_reconcile
    if summarize(looked, now, stale_after=stale_after) != "Unknown":
        return ()
    ago = f"the last look at it was {_duration(seen, now)} ago" if seen else never_looked_at(record.name)
    if service.get("running"):
        return (Link(record.name, "Unknown", "NotReconciled", ago, seen),)
    return (Link(record.name, "Unknown", "ServiceNotRunning", f"the service is not running; {ago}", seen),)


def _follow(records: Mapping[str, Record], record: Record) -> tuple[Link, ...]:
    """Down the providers until one that is itself the cause, that is not there, or that closes a circle."""
    links: list[Link] = []
    seen: list[str] = []
    while len(links) < LONGEST:
        provider = _provider_at_fault(records, record)
        links.append(_link(record, provider))
        seen.append(record.name)
        if provider in seen:
            circle = " -> ".join([*seen[seen.index(provider) :], provider])
            links[-1] = replace(links[-1], reason="DependencyCycle", message=f"requires itself: {circle}")
        if not provider or provider in seen:
            break
        if provider not in records:
            links.append(_link_to_absent(record, provider))
            break
        record = records[provider]
    return tuple(links[:LONGEST])


def _provider_at_fault(records: Mapping[str, Record], record: Record) -> str:
    """The provider for which this app waits: a missing one first, then by name. "" when it waits for none."""
    ready, word = record.condition("Ready"), last_word(record)
    if ready is None or ready.reason not in DEPENDENCY_REASONS or word not in ("Waiting", "Degraded"):
        return ""
    required = record.target.requires if word == "Degraded" and record.target else record.requires
    missing = sorted(name for name in required if name not in records)
    unavailable = sorted(name for name in required if name in records and not records[name].available)
    return next(iter([*missing, *unavailable]), "")


def _link(record: Record, provider: str) -> Link:
    word = last_word(record)
    condition = record.condition("Suspended" if word == "Suspended" else "Ready")
    if condition is None:
        return Link(record.name, "Unknown", "NotReconciled", never_looked_at(record.name))
    message = f"it needs {provider}" if provider else _message(record, word, condition.message)
    message = _missing(record) or message
    return Link(record.name, word, condition.reason, message, since_of(record))


def _missing(record: Record) -> str:
    """That its folder is gone and waited for, or ""."""
    condition = record.condition(MISSING)
    return condition.message if condition is not None else ""


def _link_to_absent(consumer: Record, provider: str) -> Link:
    ready = consumer.condition("Ready")
    if ready is not None and ready.reason == "DependencyNotReady":
        # That reason is given only when its folder is there.
        return Link(provider, "Unknown", "NotReconciled", "its folder is there; it was never looked at")
    return Link(provider, "Missing", "DependencyMissing", "no app of that name is in the apps tree")


def _message(record: Record, word: str, message: str) -> str:
    """What is the matter with this app itself, in one line."""
    ready = record.condition("Ready")
    restarts = sum(n for f in record.observed_services.values() if isinstance(n := f.get("restarts"), int))
    if ready is not None and ready.reason == "CrashLooping" and restarts:
        message += f"; restarted {_times(restarts)} by the engine"
    if word in ("Failed", "Removing") and record.retries:
        message += f"; tried {_times(record.retries)}"
    if word == "Progressing" and record.retries and record.last_error:
        message += f"; tried {_times(record.retries)} before, the last time: {record.last_error}"
    return _one_line(message)


# -- what runs, what comes, what helps ------------------------------------------------------------------------


def _running(record: Record) -> Running:
    services = {name: _state(fields) for name, fields in sorted(record.observed_services.items())}
    up = any(fields.get("state") in ("running", "restarting") for fields in record.observed_services.values())
    target = record.target
    if record.quarantine is not None and last_word(record) == "RolledBack":
        target = record.quarantine.to
    if target is None:
        return Running(services, up)
    if target.revision != record.revision:
        return Running(services, up, target.generation, target.revision, record.generation)
    return Running(services, up, target.generation, target.revision, drift=tuple(_find_drift(record)))


def _state(fields: Mapping[str, object]) -> str:
    """The state of a service, with what is remarkable about it."""
    remarks = [] if fields.get("health") in _FINE else [str(fields["health"])]
    restarts = fields.get("restarts")
    if isinstance(restarts, int) and restarts:
        remarks.append(f"{restarts} restart{'s' if restarts > 1 else ''}")
    return str(fields.get("state") or "unknown") + (f" ({', '.join(remarks)})" if remarks else "")


def _find_drift(record: Record) -> list[str]:
    drift = []
    for name, fields in sorted(record.observed_services.items()):
        image, wanted = fields.get("image"), record.desired_services.get(name, {}).get("image")
        if image and wanted and image != wanted:
            drift.append(f"{name} runs image {image}, its files say {wanted}")
    return drift


def _next(why: Why, culprit: Record, names: Mapping[str, str]) -> str:
    if not why.live:
        return "nothing: the service is not running"
    root = why.chain[-1]
    text = _remedy(root, culprit).next.format_map(names)
    if root.summary == "Failed":
        text = "waits for your choice, or for an edit"
    if root.summary == "Progressing" and culprit.deadline is not None and culprit.deadline > why.time:
        text = f"goes on, and decides in {_duration(why.time, culprit.deadline)} at the latest"
    if why.next_try is not None:
        left = _duration(why.time, why.next_try)
        due = "now" if left == "0 s" else f"in {left}"
        text = f"tries again {due}"
        if root.summary == "Failed" and due != "now":
            text += ", at once when its files change"
    if len(why.chain) == 1:
        return text
    return f"{root.app}: {text}; {why.app} goes on by itself once {why.chain[1].app} is available"


def _advice(why: Why, culprit: Record, names: Mapping[str, str]) -> tuple[str, ...]:
    root = why.chain[-1]
    lines = list(_remedy(root, culprit).advice)
    if len(why.chain) == LONGEST and root.reason in DEPENDENCY_REASONS:
        lines = ["the chain is longer than this; `homeport why {app}` goes on"]
    if root.summary == "Suspended" and culprit.suspended_by_manifest:
        lines.append("take `suspend` out of {folder}/manifest.json")
    if root.summary == "Suspended" and culprit.suspended:
        lines.append("`homeport resume {app}` takes it up again")
    if root.summary in ("Failed", "Degraded") and _has_a_good_past(culprit):
        lines.append("`homeport rollback {app}` goes back to the last good revision")
    if root.summary == "Failed":
        lines.append("`homeport reconcile {app}` tries again now")
    start = () if why.live else (START,)
    return (*start, *(line.format_map(names) for line in lines))


def _remedy(root: Link, culprit: Record) -> Remedy:
    reason = root.reason
    if reason == "RolledBack" and culprit.quarantine is not None and culprit.quarantine.by_person:
        reason = WENT_BACK
    if root.summary != "Missing" and reason == "DependencyMissing":
        reason = "DependencyNotReady"  # it is there by now
    return REMEDIES.get(reason, OTHER)


def _has_a_good_past(record: Record) -> bool:
    """Whether what runs badly is the newest revision, never a good one, and an earlier one was good."""
    target = record.target
    if target is None or target.revision != record.revision or target.good:
        return False
    return any(earlier.good for earlier in record.history)


def _names(records: Mapping[str, Record], why: Why, service: Mapping[str, Any]) -> Mapping[str, str]:
    """What the lines of the remedies speak of: the root, and who needs it."""
    tree = str(service.get("appsRoot") or "the apps tree")

    def folder(app: str) -> str:
        return (records[app].folder if app in records else "") or f"{tree}/{app}"

    root = records.get(why.chain[-1].app) or Record(why.chain[-1].app)
    consumers = sorted(record.name for record in records.values() if root.name in record.requires)
    return {
        "app": root.name,
        "folder": folder(root.name),
        "quoted": shlex.quote(folder(root.name)),
        "tree": tree,
        "consumer_folder": folder(why.chain[-2].app) if len(why.chain) > 1 else "",
        "consumers": ", ".join(f"`homeport remove {name}`" for name in consumers) or "the apps named above",
        "held": ", ".join(map(str, service.get("held") or [root.name])),
        "quarantined": str(root.quarantine.generation if root.quarantine else root.generation),
        "containers": " ".join(_unhealthy_containers(root)) or "CONTAINER",
    }


def _unhealthy_containers(record: Record) -> list[str]:
    """Names of the containers of the services whose health check does not pass, or that are paused."""
    names: list[str] = []
    for fields in record.observed_services.values():
        containers = fields.get("containers")
        ill = fields.get("health") not in _FINE or fields.get("state") == "paused"
        if ill and isinstance(containers, list | tuple):
            names.extend(map(str, containers))
    return sorted(names)


# -- for people and programs ----------------------------------------------------------------------------------


def _in_utc(moment: datetime, now: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({_duration(moment, now)})"


def to_text(why: Why, tell: Callable[[datetime, datetime], str] = _in_utc) -> str:
    """A few lines for a person: what is the matter and why, what runs, what comes by itself, what helps.

    `tell`: a moment in words, of which now is the other.
    """
    root = why.chain[-1]
    if why.summary == "Ready":
        late = "" if why.live else ". As last recorded: the service is not running"
        since = tell(root.since, why.time) if root.since else "an unknown time"
        gone = f"\nBut {why.gone}" if why.gone else ""
        return f"{why.app} is Ready since {since}: {_runs(why)}{late}{gone}"
    told = [f"{link.app} is {link.summary}: {link.message}" for link in why.chain]
    if root.reason != root.summary:
        told[-1] += f" [{root.reason}]"
    lines = [told[0], *(f"  because {line}" for line in told[1:])]
    lines += [f"Since: {since}" for since in _since(why, tell)]
    lines += [f"Runs:  {_runs(why)}", f"Next:  {why.next}"]
    lines += [f"{'' if n else 'To do:':6} {line}" for n, line in enumerate(why.advice)]
    return "\n".join(lines)


def _since(why: Why, tell: Callable[[datetime, datetime], str]) -> list[str]:
    first, root = why.chain[0], why.chain[-1]
    if first.since is None:
        return []
    of_root = f"; {root.app} since {tell(root.since, why.time)}" if root.since and root is not first else ""
    return [tell(first.since, why.time) + of_root]


def _runs(why: Why) -> str:
    running = why.running
    states = ", ".join(f"{name} {state}" for name, state in running.services.items())
    revision = f"generation {running.generation} ({running.revision.removeprefix('sha256:')[:12]})"
    if why.summary == "Orphaned":
        told = states or "its containers, which are not on record"
    elif running.generation is None:
        told = states or f"nothing of {why.app}, it was never started"
    elif not running.up and why.summary != "Ready":
        told = f"nothing of {why.app}; last applied was {revision}" + (f": {states}" if states else "")
    elif running.files is None:
        told = f"{revision}, the newest: {states}"
    else:
        told = f"{revision}, while the files are at generation {running.files}: {states}"
    seen = f"as last seen, when it was {why.last_summary}: " if why.last_summary else ""
    return _one_line("; ".join([seen + told, *running.drift]))


def to_document(why: Why) -> dict[str, Any]:
    """The same for programs. Times are RFC 3339 in UTC."""
    running = why.running
    return {
        "app": why.app,
        "summary": why.summary,
        **({"lastSummary": why.last_summary} if why.last_summary else {}),
        "time": rfc3339(why.time),
        "serviceRunning": why.live,
        "chain": [
            {
                "app": link.app,
                "summary": link.summary,
                "reason": link.reason,
                "message": link.message,
                "since": rfc3339(link.since) if link.since else None,
            }
            for link in why.chain
        ],
        "running": {
            "generation": running.generation,
            "revision": running.revision or None,
            "newest": running.generation is not None and running.files is None,
            "services": dict(running.services),
            "drift": list(running.drift),
        },
        "next": why.next,
        "nextTryTime": rfc3339(why.next_try) if why.next_try else None,
        "advice": list(why.advice),
    }


def _duration(start: datetime, end: datetime) -> str:
    """Between two moments, in the one unit that a person thinks in."""
    seconds = max(0, round((end - start).total_seconds()))
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
