"""Ports: the outside world as the reconcile sees it. Tree, Engine, Store, Clock, and who listens.

Protocols only. The rooms source, engine and status fill them in for real; the tests' fakes pass the same
contract tests. No other module of the project touches files, time, sqlite3, docker or a child process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from controller.model.desired import Census, Desired, Present
from controller.model.observed import EngineEvent, EngineInfo, ExecResult, Observed, Rendered
from controller.model.record import Event, Record


class Clock(Protocol):
    """Time as a parameter. `monotonic` for every wait, `now` (aware, UTC) only for what people read."""

    def monotonic(self) -> float: ...

    def now(self) -> datetime: ...


class Tree(Protocol):
    """The apps tree: the desired state."""

    def census(self) -> Census:
        """All app folders, or why they cannot be known. Never raises."""

    def load(self, app: str) -> Desired:
        """One app's desired state, read afresh. Never raises for what is wrong with the folder."""

    def seed_env(self, app: Present) -> tuple[str, ...]:
        """Make `.env` from `.env.example` and the settings' defaults, or append what is new in it.

        Mode 0600, atomic, nothing that is there is changed. Returns the keys written.
        Raises `WriteFailed`; the old file is whole then.
        """

    def merge_env(self, app: Present, values: Mapping[str, str]) -> tuple[str, ...]:
        """Merge pairs into `.env`: atomic, 0600, every other line kept byte for byte. Returns changed keys.

        Writes nothing when nothing changes. Raises `WriteFailed`; the old file is whole then.
        """

    def read_script(self, provider: str, path: str) -> bytes:
        """A hook script from the provider's folder.

        Raises `AppError("HookFailed", …)` when it is missing, not a regular file, or outside the folder.
        """

    def missing_paths(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Those of these host paths that do not exist."""


class Engine(Protocol):
    """What runs. Coarse on purpose: a second implementation (Swarm) must fit.

    Every method raises `EngineUnreachable` when the engine does not answer, and `Interrupted` when the
    service stops in the middle; other failures are `AppError`s with a reason for the status.
    """

    def info(self) -> EngineInfo: ...

    def render(self, app: Present) -> Rendered:
        """What these files mean; cached by revision. Raises `InputInvalid("SourceInvalid", …)`."""

    def observe(self, app: str, folders: Sequence[str], volumes: Sequence[str]) -> Observed:
        """Containers of that project name whose folder is one of `folders`, and which of `volumes` exist."""

    def busy_ports(self, ports: Sequence[tuple[str, int, str]], app: str) -> Mapping[int, str]:
        """Which of these host ports others than `app` hold, and who."""

    def missing_images(self, rendered: Rendered) -> tuple[str, ...]:
        """Services whose image is neither here nor built from the app's own files."""

    def pull(self, app: Present, rendered: Rendered, services: Sequence[str]) -> None:
        """Get the images of these services. Raises `AppError("PullFailed", …)`."""

    def apply(
        self,
        app: str,
        folder: str,
        rendered: Rendered,
        services: Sequence[str] = (),
        *,
        force: bool = False,
        deadline: float = 330.0,
    ) -> None:
        """Make it run: clean up what an interrupted apply left, then up. `services` empty: the whole app,
        and what is no longer in it is removed. Does not wait for health. `deadline` in seconds.
        Raises `AppError("ApplyFailed" | "NoAddressPool" | "DiskFull" | …)`.
        """

    def restart(self, app: str, containers: Sequence[str]) -> None:
        """Stop and start these containers (ids)."""

    def remove(self, app: str, folders: Sequence[str]) -> None:
        """Remove the app's containers and networks. Volumes stay. Fine when there is nothing."""

    def ensure_volume(self, name: str, app: str) -> bool:
        """Create the volume when it is absent, labelled with who made it. True when created."""

    def exec(self, container: str, script: bytes, env: Mapping[str, str], timeout: float) -> ExecResult:
        """Run a shell script inside a container; at the deadline every process of it is ended there."""

    def events(self) -> Iterator[EngineEvent]:
        """What happens from now on; ends when the stream breaks. The first item is yielded at once
        (action `connected`), so that the caller knows when looking afresh misses nothing."""

    def containers(self) -> Mapping[str, tuple[str, ...]]:
        """All compose projects on the engine: project name to working directories."""

    def interrupt(self, grace: float) -> None:
        """The service stops: running children get `grace` seconds, then are ended; hooks at once."""


class Store(Protocol):
    """What is remembered. Raises `StateUnusable` when it cannot be read or written."""

    def record(self, app: str) -> Record | None: ...

    def records(self) -> tuple[Record, ...]: ...

    def save(self, record: Record) -> None: ...

    def forget(self, app: str) -> None:
        """Drop the record and its models; events stay."""

    def keep_model(self, app: str, rendered: Rendered) -> None:
        """Keep the rendered model of a revision (mode 0600); older ones of the app may go."""

    def model(self, app: str, revision: str) -> Rendered | None: ...

    def tell(self, event: Event) -> None:
        """Append an event."""

    def events(
        self, app: str | None = None, since: datetime | None = None, after: int = 0
    ) -> tuple[tuple[int, Event], ...]:
        """Events with their ids, oldest first."""

    def get(self, key: str) -> str | None:
        """A fact about the service itself (root id, approved removals, engine state)."""

    def put(self, key: str, value: str | None) -> None: ...


class Listener(Protocol):
    """Hears each event once; the log is one."""

    def __call__(self, event: Event) -> None: ...


class Requeue(Protocol):
    """The part of the work queue that a reconcile may ask for."""

    def add(self, app: str) -> None: ...

    def forget(self, app: str) -> None: ...

    def backoff(self, app: str) -> float:
        """Record one more failure of this key and say how many seconds to wait."""
