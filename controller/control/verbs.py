"""Verbs: each thing one may ask for, as a frozen value, and the one function that does it on a Service.

Questions that change nothing are in `queries`. Parsing, HTTP and printing do not belong here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.control import volumes
from controller.control.errors import Refused, UnknownApp
from controller.control.history import find_revision
from controller.control.reading import name_trouble
from controller.control.service import Service, Waiter, always
from controller.model.errors import EngineUnreachable
from controller.model.facts import (
    ADOPT,
    APPROVED,
    LEFT,
    REMOVE,
    RESTART,
    ROLLBACK,
    STOPPED,
    SUSPENDED,
    UPDATE,
)
from controller.model.plan import Action, Plan
from controller.model.ports import Store
from controller.model.record import Record

_BECOME_DEGRADED = ("Ready", "Progressing", "Degraded")
"""Words that give way to Degraded when a provider goes."""


@dataclass(frozen=True)
class Reconcile:
    """One sweep over these apps, whose quarantine it lifts; none: over all."""

    apps: tuple[str, ...] = ()
    dry_run: bool = False
    new_engine: bool = False
    """Everything is to be installed on the engine that answers, though nothing of what is on record is there."""


@dataclass(frozen=True)
class PlanQuery:
    """What a sweep over these apps would do; none: over all."""

    apps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prune:
    """The removals that the brake holds; with `approve` they are let go."""

    approve: bool = False


@dataclass(frozen=True)
class Suspend:
    """Stop reconciling this app; its containers are left as they are."""

    app: str


@dataclass(frozen=True)
class Resume:
    """Reconcile this app again."""

    app: str


@dataclass(frozen=True)
class Wish:
    """What a person wants of one app. It is remembered as a fact; the app's next reconcile does it."""

    app: str


@dataclass(frozen=True)
class Stop(Wish):
    """Stop its containers and leave them stopped until `Start`."""


@dataclass(frozen=True)
class Start(Wish):
    """No longer leave it stopped."""


@dataclass(frozen=True)
class Restart(Wish):
    """Stop and start all its containers, once."""


@dataclass(frozen=True)
class Update(Wish):
    """Pull its images and apply what has moved, once."""


@dataclass(frozen=True)
class Adopt(Wish):
    """Take over the running project of that name, whose folder is another one."""


@dataclass(frozen=True)
class Rollback(Wish):
    """Go back to an earlier revision, until its files change."""

    revision: str = ""
    """A generation or the first digits of a revision; "": the last good one before the present."""


@dataclass(frozen=True)
class Remove(Wish):
    """Take it away, folder and all; the folder is kept aside, and the volumes stay."""


WISHES: Mapping[str, type[Wish]] = {
    kind.__name__.lower(): kind for kind in (Stop, Start, Restart, Update, Adopt, Rollback, Remove)
}
"""All kinds of wishes, by the word that people use."""


@dataclass(frozen=True)
class Purge:
    """Delete volumes of the app, by full or short names, with all that is in them."""

    app: str
    volumes: tuple[str, ...]


def reconcile(service: Service, verb: Reconcile, wanted: Waiter = always) -> tuple[Action, ...]:
    """Run the sweep and answer with what was done; waits as long as that is wanted. Raises `UnknownApp`, and `Refused`
    for an engine that is not new."""
    check_known(verb.apps, service)
    if verb.new_engine and not verb.dry_run:
        service.take_engine()
    return service.sweep(verb.apps, verb.dry_run, lift=bool(verb.apps), wanted=wanted)


def plan(service: Service, verb: PlanQuery) -> tuple[tuple[str, Plan], ...]:
    """Answer with the plan of each app. Raises `UnknownApp`."""
    check_known(verb.apps, service)
    return service.plans(verb.apps)


def prune(service: Service, verb: Prune) -> tuple[str, ...]:
    """Answer with the held removals; those and no others are approved when the verb says so."""
    names = held(service.store)
    if verb.approve and names:
        for name in names:
            service.store.put(APPROVED + name, "1")
            service.requeue(name)
    return names


def suspend(service: Service, verb: Suspend) -> None:
    """Remember that the app is suspended, and look at it. Raises `UnknownApp`."""
    check_known((verb.app,), service)
    service.store.put(SUSPENDED + verb.app, "1")
    service.requeue(verb.app)


def resume(service: Service, verb: Resume) -> None:
    """Forget that the app is suspended, and look at it. Raises `UnknownApp`."""
    check_known((verb.app,), service)
    service.store.put(SUSPENDED + verb.app, None)
    service.requeue(verb.app)


def act(service: Service, wish: Wish, wanted: Waiter = always) -> tuple[Action, ...]:
    """Remember the wish, look at the app, and answer with what was done once it is at rest.

    Raises as `remember`, and `EngineUnreachable` when it has to wait for the engine.
    """
    remember(service, wish)
    try:
        return service.sweep((wish.app,), dry_run=False, wanted=wanted)
    except EngineUnreachable as error:
        raise EngineUnreachable(f"{error}. It is remembered, and done when the engine answers") from error


def remember(service: Service, wish: Wish) -> None:
    """Keep the wish for the app's next reconcile. Raises `UnknownApp`, and `Refused` when it cannot be had."""
    check_known((wish.app,), service)
    store, app = service.store, wish.app
    if _reason(store, app) == "OwnProject":
        raise Refused(
            f"{app} is the compose project that Homeport itself runs in; use `docker compose` for it"
        )
    # What is done once carries its time, so that a second wish is told from the first.
    now = service.clock.now().isoformat()
    match wish:
        case Stop():
            _check_ours(store, app)
            _check_not_suspended(store, app)
            store.put(STOPPED + app, "1")
        case Start():
            _check_not_suspended(store, app)
            store.put(STOPPED + app, None)
        case Restart():
            _check_not_suspended(store, app)
            _check_not_stopped(store, app)
            store.put(RESTART + app, now)
        case Update():
            _check_not_suspended(store, app)
            _check_not_stopped(store, app)
            store.put(UPDATE + app, now)
            store.put(ROLLBACK + app, None)  # of the two the last one counts
        case Adopt():
            _check_adoptable(store, app)
            store.put(ADOPT + app, now)
        case Rollback(revision=wanted):
            _check_not_suspended(store, app)
            store.put(ROLLBACK + app, find_revision(store.record(app) or Record(app), wanted))
            store.put(UPDATE + app, None)
        case Remove():
            _check_not_required(store, app)
            store.put(REMOVE + app, now)
        case _:
            raise TypeError(f"no such wish: {wish!r}")


def _check_ours(store: Store, app: str) -> None:
    if _reason(store, app) == "NameConflict":
        raise Refused(
            f"{app}: what runs under that name is another project's; `homeport adopt {app}` takes it over"
        )


def _check_not_stopped(store: Store, app: str) -> None:
    if store.get(STOPPED + app) is not None:
        raise Refused(f"{app} is stopped; `homeport start {app}` starts it first")


def _check_not_suspended(store: Store, app: str) -> None:
    """A wish would wait unseen, and come true when the app is resumed, which nobody asked for then."""
    record = store.record(app)
    helps = []
    if store.get(SUSPENDED + app) is not None:
        helps.append(f"say `homeport resume {app}`")
    if record is not None and record.suspended_by_manifest:
        helps.append("take `suspend` out of its manifest.json")
    if helps:
        raise Refused(f"{app} is suspended and left exactly as it is; {' and '.join(helps)} first")


def _reason(store: Store, app: str) -> str:
    record = store.record(app)
    return record.reason if record is not None else ""


def _check_adoptable(store: Store, app: str) -> None:
    if _reason(store, app) != "NameConflict":
        raise Refused(f"{app}: there is nothing to adopt; no project of that name runs from another folder")


def shaken(apps: Iterable[Mapping[str, Any]], wish: Wish) -> str:
    """What the wish means to other apps, for people; "" where it means nothing to any. A removal is refused instead.

    `apps`: as the status document has them; who may ask the service need not be able to read the state.
    """
    if not isinstance(wish, Stop | Restart):
        return ""
    known = tuple(apps)
    others = [app for app in known if app["name"] != wish.app and wish.app in _leans_on(app)]
    refused = any(app["name"] == wish.app and _is_suspended(app) for app in known)
    if not others or refused:
        return ""
    told = f"{wish.app} is required by {', '.join(sorted(app['name'] for app in others))}: "
    told += "it runs on" if len(others) == 1 else "they run on"
    # What is up with their files, or with an update of theirs, stays their word.
    told += (
        ", Degraded "
        if all(app.get("lastSummary", app["summary"]) in _BECOME_DEGRADED for app in others)
        else " without it "
    )
    if isinstance(wish, Stop):
        return told + f"until `homeport start {wish.app}`"
    return (
        told + f"until {wish.app} is healthy again; what asks for it (`restart: true`) is restarted after it"
    )


def _leans_on(app: Mapping[str, Any]) -> Sequence[str]:
    """Providers of what runs of it, which is not always what its files say now; none where nothing is to run."""
    if app["stopped"] or _is_suspended(app):
        return ()
    providers: Sequence[str] = (app["target"] or {}).get("requires", ())
    return providers


def _is_suspended(app: Mapping[str, Any]) -> bool:
    return any(condition["type"] == "Suspended" for condition in app["conditions"])


def _check_not_required(store: Store, app: str) -> None:
    if names := sorted(r.name for r in store.records() if app in r.holds and r.name != app):
        raise Refused(f"{app} is required by {', '.join(names)}; remove them first")


def purge(service: Service, verb: Purge) -> tuple[str, ...]:
    """Delete the volumes and answer with their full names: nothing else of Homeport's ever deletes data.

    Raises `UnknownApp`; `Refused` for a volume that is not the app's; `AppError("VolumeInUse", …)`.
    """
    check_among((verb.app,), {*service.names(), *service.store.facts(LEFT)})
    chosen = volumes.choose(service.store, verb.app, verb.volumes)
    service.purge(verb.app, chosen)
    return chosen


def held(store: Store) -> tuple[str, ...]:
    """Names of the apps whose removal the brake holds."""
    return held_among(store.records())


def held_among(records: Iterable[Record]) -> tuple[str, ...]:
    """The same, of these records."""
    return tuple(sorted(record.name for record in records if record.reason == "RemovalHeld"))


def check_known(apps: Iterable[str], service: Service) -> None:
    """Raise `UnknownApp` for the first name that is neither in the tree nor on record."""
    wanted = tuple(apps)
    if wanted:
        check_among(wanted, service.names())


def check_among(apps: Iterable[str], known: Iterable[str]) -> None:
    """Raise `UnknownApp` for the first name that is not among the known ones."""
    names = sorted(set(known))
    for app in apps:
        if app not in names:
            raise UnknownApp(f"no app is named {app!r}. {_hint(app, names)}")


def _hint(app: str, known: list[str]) -> str:
    if trouble := name_trouble(app):
        return f"{trouble}: a folder that is called so is passed over"
    close = difflib.get_close_matches(app, known, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    if not known:
        return "There is no app yet: put a folder with a manifest.json into the apps tree"
    shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
    return f"Known apps: {shown}"
