"""Together: what is wrong between apps that are fine by themselves, as far as their files tell: circles, and things of which
there is only one.

For a person who checks several folders; nothing is decided by it. What really is held is asked of the engine before a start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path

from controller.model.hostport import HostPort, clash
from controller.model.manifest import APP_NAME
from controller.model.observed import Rendered, Service
from controller.source import files, manifest
from controller.source.checking import folder_of


def requirements(app: str, requires: Iterable[str], places: Sequence[Path]) -> Mapping[str, tuple[str, ...]]:
    """Who requires whom, from an app on down to the last of its providers that is in one of these places."""
    found = {app: tuple(requires)}
    waiting = list(found[app])
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


def find_clashes(apps: Mapping[str, Rendered]) -> Mapping[str, Sequence[str]]:
    """By app: the host ports and the container names that another of these apps wants as well, a text each."""
    rivals: dict[str, list[tuple[str, str, HostPort | None]]] = {}
    for app, rendered in apps.items():
        for service in rendered.services:
            for what, port in _wanted(service):
                rivals.setdefault(what, []).append((app, service.name, port))
    found: dict[str, dict[str, None]] = {}
    for what, wishes in rivals.items():
        for (app, name, port), (other, its, another) in permutations(wishes, 2):
            if app != other and (port is None or another is None or clash(port, another)):
                text = f"services.{name}: {what} is what {other} (service {its}) wants, too: only one of the two can have it"
                found.setdefault(app, {})[f"{text}; change one, or suspend it"] = None
    return {app: list(texts) for app, texts in found.items()}


def _wanted(service: Service) -> Iterator[tuple[str, HostPort | None]]:
    """What there is only one of, in words; of a host port also where it is published."""
    if service.scale and not service.is_job:
        for port in service.ports:
            yield f"host port {port[1]}/{port[2]}", port
    if service.container_name:
        yield f"container name {service.container_name}", None
