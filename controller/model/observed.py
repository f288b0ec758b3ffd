"""Observed: what the engine says. The rendered model of an app, its containers and volumes, what an exec gave.

`Rendered` is what Compose makes of an app's files; only the engine room knows how. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Bind:
    """A host path that a service mounts."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True)
class Service:
    """One service of the rendered model, as far as decisions need it."""

    name: str
    config_hash: str
    """"": Compose is not asked for it, which would be one more child for each edit. What an apply gives is on record after it."""
    image: str
    scale: int = 1
    restart: str = "no"
    has_healthcheck: bool = False
    is_job: bool = False
    """A sibling awaits its successful end, or it carries the label `homeport.job`."""
    binds: tuple[Bind, ...] = ()
    ports: tuple[tuple[str, int, str], ...] = ()
    """Published host ports: (address or "", port, protocol)."""
    shares_with: str = ""
    """The sibling whose namespaces it lives in (`network_mode: service:x` and the like), or ""."""
    keeps_data: bool = False
    """It mounts a volume or a writable host path: another image may have changed what is in there for good."""
    container_name: str = ""
    """The fixed name of its container, or ""."""
    contents: str = ""
    """Digest of the configs and secrets that are given in the file or by a variable, which no config hash covers;
    "" for none. They are copied into a container when it is created."""
    is_built: bool = False
    """Its image is made of the app's own files, anew at each start of the whole app."""


@dataclass(frozen=True)
class Rendered:
    """What the engine would run for one revision of an app's inputs."""

    revision: str
    services: tuple[Service, ...]
    document: str = field(repr=False)
    """The engine's own form of the model, complete: applying it needs no other file. Secret-bearing."""
    external_volumes: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The app's `.env` that it was rendered with. Secret-bearing."""
    own_volumes: tuple[str, ...] = ()
    """Full names of the volumes that applying it creates."""

    def service(self, name: str) -> Service | None:
        """The service of that name, or None."""
        return next((service for service in self.services if service.name == name), None)


@dataclass(frozen=True)
class Container:
    """One container of an app as the engine shows it."""

    id: str
    name: str
    service: str
    number: int
    config_hash: str
    image: str
    image_id: str
    state: str
    """created, running, paused, restarting, removing, exited, dead."""
    health: str = ""
    """healthy, unhealthy, starting, or "" where no check is declared."""
    exit_code: int = 0
    started_at: str = ""
    finished_at: str = ""
    restarts: int = 0
    networks: tuple[str, ...] = ()
    """Ids of the networks it is attached to, sorted."""
    shares_with: str = ""
    """Id of the container whose network namespace it lives in, or ""."""
    ended_by_itself: bool = False
    """Exited with 0 and the engine saw no stop or kill of it; False also when that is not known."""
    oneoff: bool = False

    @property
    def incarnation(self) -> str:
        """Changes whenever the container is another one or was started again."""
        return f"{self.id[:12]}@{self.started_at}"


@dataclass(frozen=True)
class Observed:
    """Everything of one app that exists on the engine."""

    containers: tuple[Container, ...] = ()
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Asked-for volumes that exist: name to what tells it from an earlier one of that name ("" if unknown)."""
    foreign: tuple[str, ...] = ()
    """Working directories of other projects that use the same project name."""

    def of(self, service: str) -> tuple[Container, ...]:
        """The service's containers in the order of their numbers, without one-off runs."""
        own = [c for c in self.containers if c.service == service and not c.oneoff]
        return tuple(sorted(own, key=lambda c: (c.number, c.name)))


@dataclass(frozen=True)
class MountedFile:
    """A file that a service mounts, as it is on disk: enough to put a copy in its place."""

    data: bytes = field(repr=False)
    mode: int
    """Permission bits."""
    owner: tuple[int, int]
    """User and group."""


@dataclass(frozen=True)
class ExecResult:
    """How a script in a container ended. `stdout` is complete unless `overflow`."""

    exit_code: int
    stdout: bytes = field(repr=False)
    stderr_tail: str = field(default="", repr=False)
    timed_out: bool = False
    overflow: bool = False


@dataclass(frozen=True)
class EngineInfo:
    """Which engine answers, and which Compose there is."""

    version: str
    compose: str = ""


@dataclass(frozen=True)
class EngineEvent:
    """Something happened to a container; a hint to look, never a fact to act on."""

    app: str
    folder: str
    action: str
    at: datetime | None = None
