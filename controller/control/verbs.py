"""Verbs: each thing one may ask for, as a frozen value, and the one function that does it on a Service.

Questions that change nothing are in `queries`. Parsing, HTTP and printing do not belong here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from controller.control.service import Service
from controller.model.errors import HomeportError
from controller.model.facts import APPROVED, SUSPENDED
from controller.model.plan import Action, Plan
from controller.model.ports import Store


class UnknownApp(HomeportError):
    """No app of that name is in the tree or on record."""


@dataclass(frozen=True)
class Reconcile:
    """One sweep over these apps; none: over all."""

    apps: tuple[str, ...] = ()
    dry_run: bool = False


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


def reconcile(service: Service, verb: Reconcile) -> tuple[Action, ...]:
    """Run the sweep and answer with what was done. Raises `UnknownApp`."""
    check_known(verb.apps, service)
    return service.sweep(verb.apps, verb.dry_run)


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


def held(store: Store) -> tuple[str, ...]:
    """Names of the apps whose removal the brake holds."""
    names = []
    for record in store.records():
        ready = record.condition("Ready")
        if ready is not None and ready.reason == "RemovalHeld":
            names.append(record.name)
    return tuple(sorted(names))


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
    close = difflib.get_close_matches(app, known, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    if not known:
        return "There is no app yet: put a folder with a manifest.json into the apps tree"
    shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
    return f"Known apps: {shown}"
