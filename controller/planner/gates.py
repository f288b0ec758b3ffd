"""Gates: may this app be started now, given its providers? And is there a way through the graph at all?

Each consumer waits for its own providers; there is no global sort. Reasons are the words of the status.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from controller.model.observed import Observed
from controller.planner.health import is_leftover


@dataclass(frozen=True)
class Provider:
    """A provider as its consumer sees it at this moment."""

    name: str
    known: bool
    """There is such an app, whatever its state."""
    available: bool = False
    """Healthy for its applied revision: consumers may start, hooks may run in it."""
    why: str = ""
    """Why it is not available."""
    revision: str = ""
    """Of its files: a hook that failed may have been mended there."""
    incarnation: str = ""
    volumes: str = ""
    """Names and creation times of its volumes; new ones mean that what on_install made is gone."""
    container: str = ""
    """Id of the container in which hooks run, or ""."""
    no_container: str = ""
    """Why there is none."""
    noticed: str = ""
    """Digest of what counted of its record: whoever looks at it again when that changes."""


@dataclass(frozen=True)
class Closed:
    """A gate that is closed: the condition's reason and a sentence."""

    reason: str
    message: str


def find_closed(required: Iterable[str], providers: Mapping[str, Provider]) -> Closed | None:
    """The first provider that is not available; missing ones first, then in name order."""
    wanted = sorted(set(required))
    for name in wanted:
        if name not in providers or not providers[name].known:
            return Closed(
                "DependencyMissing", f"waits for {name}, which is not there; add its folder to the apps tree"
            )
    for name in wanted:
        if not providers[name].available:
            return Closed(
                "DependencyNotReady", f"waits for {name}: {providers[name].why or 'it is not available'}"
            )
    return None


def find_cycle(name: str, requires: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The shortest chain from the app back to itself (`a, b, a`), or empty."""
    paths: list[tuple[str, ...]] = [(name,)]
    seen: set[str] = set()
    while paths:
        path = paths.pop(0)
        for provider in sorted(requires.get(path[-1], ())):
            if provider == name:
                return (*path, name)
            if provider not in seen:
                seen.add(provider)
                paths.append((*path, provider))
    return ()


def describe_cycle(cycle: Sequence[str]) -> str:
    """What is wrong with an app that comes to require itself, and what to do."""
    return f"requires itself: {' -> '.join(cycle)}; take one of these out of `requires`"


def order(requires: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Providers before consumers, alphabetical among equals; members of a cycle come last, by name."""
    waits_for = {
        name: {p for p in providers if p in requires and p != name} for name, providers in requires.items()
    }
    awaited_by: dict[str, list[str]] = {}
    for name, providers in waits_for.items():
        for provider in providers:
            awaited_by.setdefault(provider, []).append(name)
    free = [name for name, providers in waits_for.items() if not providers]
    heapify(free)
    done: list[str] = []
    while free:
        done.append(name := heappop(free))
        for consumer in awaited_by.get(name, ()):
            waits_for[consumer].discard(name)
            if not waits_for[consumer]:
                heappush(free, consumer)
    # In a cycle nobody is free: each can say so on its own status.
    return (*done, *sorted(waits_for.keys() - done))


def choose_container(app: str, exec_service: str | None, observed: Observed) -> tuple[str, str]:
    """(container id, "") in which hooks for this provider's consumers run, or ("", why there is none).

    The service named by `exec_service`; else the only one; else the one named like the app. Of several
    containers the one with the lowest number.
    """
    services = sorted({c.service for c in observed.containers if not c.oneoff and not is_leftover(c)})
    if exec_service:
        service = exec_service
    elif len(services) == 1:
        service = services[0]
    elif app in services:
        service = app
    else:
        listed = ", ".join(services) or "none"
        return "", f"{app} has several services ({listed}); name one as `exec_service` in its manifest.json"
    for container in observed.of(service):
        if container.state == "running" and not is_leftover(container):
            return container.id, ""
    return "", f"{app} has no running container of service {service}"
