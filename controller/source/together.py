"""Together: what is wrong between apps that are fine by themselves, as far as their files tell: circles, and things of which
there is only one.

For a person who checks several folders; nothing is decided by it. What really is held is asked of the engine before a start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path

from controller.model.hostport import HostPort, clash
from controller.model.names import APP_NAME
from controller.model.observed import Rendered, Service
from controller.source import files, manifest
from controller.source.checking import folder_of


def requirements(
    requires: Mapping[str, Sequence[str]], places: Sequence[Path]
) -> Mapping[str, Sequence[str]]:
    """Who requires whom, from these apps on down to the last of their providers that is in one of these places."""
    found = dict(requires)
    waiting = [name for providers in requires.values() for name in providers]
    while waiting:
        name = waiting.pop()
        folder = folder_of(name, places) if name not in found and APP_NAME.fullmatch(name) else None
        if folder is not None:
            found[name] = tuple(asked.app for asked in _read_asked(folder))
            waiting += found[name]
    return found


def _read_asked(folder: Path) -> tuple[manifest.Asked, ...]:
    try:
        data = files.read_inside(folder, manifest.FILE)
    except files.Unfit:
        return ()  # told where that folder is the one that is checked
    return manifest.asked(data) if data is not None else ()


def find_clashes(apps: Sequence[tuple[str, Rendered]]) -> Sequence[Sequence[str]]:
    """For each of these apps: the host ports and the container names that another of them wants as well, a text each.
    Two folders of one name are versions of one app, and no rivals."""
    rivals: dict[str, list[tuple[int, Service, HostPort | None]]] = {}
    for place, (_, rendered) in enumerate(apps):
        for service in rendered.services:
            for what, port in _wanted(service):
                rivals.setdefault(what, []).append((place, service, port))
    found: list[dict[str, None]] = [{} for _ in apps]
    for what, wishes in rivals.items():
        for (place, service, port), (other, its, another) in permutations(wishes, 2):
            if apps[place][0] == apps[other][0] or (service.is_job and its.is_job):
                continue
            if port is None or another is None or clash(port, another):
                text = f"services.{service.name}: {what} is what {apps[other][0]} (service {its.name}) wants, too"
                found[place][f"{text}: only one of the two can have it"] = None
    return [list(texts) for texts in found]


def _wanted(service: Service) -> Iterator[tuple[str, HostPort | None]]:
    """What there is only one of, in words; of a host port also where it is published."""
    for port in service.ports if service.scale else ():
        yield f"host port {port[1]}/{port[2]}", port
    if service.container_name:
        yield f"container name {service.container_name}", None
