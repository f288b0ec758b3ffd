"""Health: does what is observed equal what was applied, service by service?

Answers with faults, each with its cause in words. What to do about a fault is decided in `plan`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from controller.model.observed import Container, Observed, Rendered, Service
from controller.model.record import AppliedService, Target, is_file

FaultKind = Literal[
    "missing",
    "down",
    "failed",
    "changed",
    "network",
    "owner",
    "mount",
    "content",
    "surplus",
    "restarting",
    "looping",
    "starting",
    "unhealthy",
    "paused",
]

REPAIRABLE: frozenset[FaultKind] = frozenset(
    {"missing", "down", "failed", "changed", "network", "owner", "mount", "content", "surplus"}
)
"""Faults that an action of ours mends; the others heal, or do not heal, by themselves."""

_LEFT_BY_INTERRUPTED_UP = re.compile(r"[0-9a-f]{12}_")


@dataclass(frozen=True)
class Fault:
    """One service that is not as it should be."""

    service: str
    kind: FaultKind
    cause: str
    container: str = ""
    """Id of the container that ended or is unhealthy: what it said last tells more."""
    ended: str = ""
    """When it ended, by the engine's clock, where it may run again by now and say other things."""
    again: bool = False
    """That container had not been calm since another end: see `judge.with_crash_loops`."""


def is_leftover(container: Container) -> bool:
    """Whether an interrupted re-create left it (`<12 hex>_<name>`): it never counts as the service's own."""
    return _LEFT_BY_INTERRUPTED_UP.match(container.name) is not None


def find_faults(
    rendered: Rendered,
    target: Target | None,
    observed: Observed,
    completed: Collection[str] = (),
    mounts: Mapping[str, str] | None = None,
) -> tuple[Fault, ...]:
    """Everything in which the app differs from the target that was applied; empty means healthy.

    `target` None: only what the containers show counts. `completed`: incarnations known to have ended by
    themselves, from earlier looks. `mounts`: digest or identity of what stands at each mounted path now; None
    or without a path: not known, and no fault.
    """
    faults: list[Fault] = []
    for service in sorted(rendered.services, key=lambda s: s.name):
        applied = target.services.get(service.name) if target else None
        found = _service_faults(service, applied, observed, completed)
        if not found and applied is not None and mounts:
            found = _mount_faults(service, applied, observed, mounts)
        faults.extend(found)
    return tuple(faults)


def started(service: str, observed: Observed) -> str:
    """Incarnations of a service's containers, as one text."""
    return ",".join(c.incarnation for c in observed.of(service) if not is_leftover(c))


def _mount_faults(
    service: Service, applied: AppliedService, observed: Observed, mounts: Mapping[str, str]
) -> list[Fault]:
    """What is mounted is another file or directory than the one its containers were started with."""
    containers = observed.of(service.name)
    if applied.started != started(service.name, observed) or any(c.state != "running" for c in containers):
        # Started again by someone since: then they mounted what is there.
        return []
    changed = [
        path for path, was in sorted(applied.mounts.items()) if _is_replaced(was, mounts.get(path, was))
    ]
    return [
        Fault(
            service.name,
            "mount",
            f"service {service.name}: bind-mounted {_kind(mounts[path])} {path} changed",
        )
        for path in changed
    ]


def _is_replaced(was: str, now: str) -> bool:
    """A folder on another device is no other folder: a disk came or went, and the container has what it mounted."""
    if is_file(was) or is_file(now):
        return was != now
    return was != now and was.partition(":")[0] == now.partition(":")[0]


def _kind(identity: str) -> str:
    return "file" if is_file(identity) else "directory"


def _service_faults(
    service: Service, applied: AppliedService | None, observed: Observed, completed: Collection[str]
) -> list[Fault]:
    containers = [c for c in observed.of(service.name) if not is_leftover(c)]
    if (
        not containers
        and service.is_job
        and applied
        and job_done(service.name, applied.config_hash) in completed
    ):
        return []
    if len(containers) < service.scale:
        found = f"{len(containers)} of {service.scale} containers" if containers else "no container"
        return [Fault(service.name, "missing", f"service {service.name}: {found}")]
    running = [c for c in observed.of(service.name) if is_leftover(c) and c.state == "running"]
    if len(containers) + len(running) > service.scale:
        found = f"{len(containers) + len(running)} containers, {service.scale} wanted"
        return [Fault(service.name, "surplus", f"service {service.name}: {found}")]
    faults = []
    for container in containers:
        fault = _difference(service, container, applied, observed) or _state_fault(
            service, container, completed
        )
        if fault is not None:
            faults.append(fault)
    return faults


def _difference(
    service: Service, container: Container, applied: AppliedService | None, observed: Observed
) -> Fault | None:
    """In what the container differs from the one that was applied.

    Compared with what was recorded after the apply, never with a hash computed anew: for
    `network_mode: service:x` the two are never equal, and a lost network changes no hash.
    """
    if applied is None:
        return None
    name = service.name
    if container.config_hash != applied.config_hash:
        return Fault(name, "changed", f"service {name}: its configuration is not the one that was applied")
    if applied.image_ids and container.image_id and container.image_id not in applied.image_ids:
        return Fault(name, "changed", f"service {name}: its image is not the one that was applied")
    if applied.contents != service.contents:
        return Fault(name, "content", f"service {name}: the content of its configs or secrets changed")
    if is_done(service, container, ()):
        return None
    if applied.networks and container.networks != applied.networks and container.state == "running":
        return Fault(name, "network", f"service {name}: container {container.name} is not on its networks")
    if applied.owner and container.state == "running":
        owner = owner_of(container, observed)
        if not owner:
            # Its owner is another container now: only a new container gets into that one's namespaces.
            return Fault(
                name,
                "network",
                f"service {name}: the container of {service.shares_with}, whose network it shares, is gone",
            )
        if owner and owner != applied.owner and _started_before(container, observed):
            return Fault(
                name,
                "owner",
                f"service {name}: {service.shares_with}, whose network it shares, was restarted",
            )
    return None


def owner_of(container: Container, observed: Observed) -> str:
    """Incarnation of the container whose namespaces this one shares, or ""."""
    for other in observed.containers:
        if container.shares_with and other.id == container.shares_with:
            return other.incarnation
    return ""


def _started_before(container: Container, observed: Observed) -> bool:
    """Whether it was started before its owner's present run: only then it lost the namespaces."""
    owner = next((c for c in observed.containers if c.id == container.shares_with), None)
    return owner is not None and container.started_at < owner.started_at


def _state_fault(service: Service, container: Container, completed: Collection[str]) -> Fault | None:
    found = _state(service, container, completed)
    if found is None:
        return None
    kind, what = found
    return Fault(service.name, kind, f"service {service.name}: {what}", container.id)


def _state(
    service: Service, container: Container, completed: Collection[str]
) -> tuple[FaultKind, str] | None:
    match container.state:
        case "running":
            if container.health == "starting":
                return "starting", "health check is starting"
            if container.health == "unhealthy":
                return "unhealthy", "health check fails"
            return ("starting", "job is running") if service.is_job else None
        case "restarting":
            # That it was not the first time is found out in `judge`.
            return "restarting", f"ended (exit {container.exit_code}), and the engine starts it again"
        case "paused":
            return "paused", "container is paused"
        case "exited" | "dead" if is_done(service, container, completed):
            return None
        case "exited" | "dead":
            failed = service.is_job and container.exit_code
            return "failed" if failed else "down", f"container exited ({container.exit_code})"
        case state:
            return "down", f"container is {state}"


def is_done(service: Service, container: Container, completed: Collection[str]) -> bool:
    """Whether a container that ended has done its work and is not to be started again."""
    if container.state not in ("exited", "dead") or container.exit_code != 0:
        return False
    if service.is_job:
        return True
    one_shot = service.restart in ("no", "") or service.restart.startswith("on-failure")
    return one_shot and (container.ended_by_itself or container.incarnation in completed)


def job_done(service: str, config_hash: str) -> str:
    """What is remembered of a job that has done its work, so that it need not be done again without its container."""
    return f"job {service} {config_hash}"


def incarnation_of(observed: Observed) -> str:
    """Changes whenever any container of the app is another one or was started again; one-shots that ended do not count,
    and who is paused goes on later."""
    alive = ("running", "paused")
    running = [c.incarnation for c in observed.containers if c.state in alive and not c.oneoff]
    return ",".join(sorted(running))
