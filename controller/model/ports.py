"""Ports: the outside world as the reconcile sees it. Tree, Engine, Store, Clock, and who listens.

Protocols only. The rooms source, engine and status fill them in for real; the tests' fakes pass the same
contract tests. No other module of the project touches files, time, sqlite3, docker or a child process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from controller.model.desired import Census, Desired, Present, Stamp
from controller.model.observed import EngineEvent, EngineInfo, ExecResult, MountedFile, Observed, Rendered
from controller.model.record import Event, Record

PULL_DEADLINE: Final = 1800.0
"""Seconds that `Engine.pull` may take to pull images, and again to build others."""


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

    def unchanged(self, stamps: Mapping[str, Stamp], *, reread: bool) -> frozenset[str]:
        """Of these apps those whose inputs look as they did, by stats alone; with `reread` also by their content."""

    def doubt(self, apps: Iterable[str]) -> None:
        """Read every file of these apps again at their next load, whatever their stats say."""

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

    def identities(self, paths: Sequence[str]) -> Mapping[str, str]:
        """Of those of these host paths that are directories: what changes when another one takes its place
        (device and inode), and not with what is in it."""

    def read_mounted(self, path: str) -> MountedFile | None:
        """A mounted file with its mode and owner; None when it is not there or no regular file."""

    def move_out(self, app: str) -> str:
        """Take the app's folder out of the tree by one rename, into `.removed/` beside the apps (made 0700),
        under a name that no earlier one has. Answers with its new place. Raises `WriteFailed`."""


class Engine(Protocol):
    """What runs. Coarse on purpose: a second implementation (Swarm) must fit.

    Every method raises `EngineUnreachable` when the engine does not answer, and `Interrupted` when the
    service stops in the middle; other failures are `AppError`s with a reason for the status.
    """

    def info(self) -> EngineInfo:
        """Which engine and which Compose. May start a child process."""

    def version(self) -> str:
        """Of the engine; starts no child process."""

    def ping(self) -> None:
        """The smallest question: raises `EngineUnreachable` when there is no answer within a few seconds."""

    def own_project(self) -> str:
        """The compose project that the service itself runs in, which is never an app of its own; "" when there is none."""

    def render(self, app: Present, unchanged: Callable[[], bool] = ...) -> Rendered:
        """What these files mean; cached by revision. Raises `InputInvalid("SourceInvalid", …)`.


        `unchanged` is asked after the files were read: whether they still are that revision. If not, nothing is cached
        and `Superseded` is raised.
        """

    def differences(self, rendered: Rendered, before: Rendered) -> Mapping[str, str]:
        """Service to what of it is another than before, in words and without values, as far as that can be told."""

    def observe(self, app: str, folders: Sequence[str], volumes: Sequence[str]) -> Observed:
        """Containers of that project name whose folder is one of `folders`, and which of `volumes` exist."""

    def busy_ports(self, ports: Sequence[tuple[str, int, str]], app: str) -> Mapping[int, str]:
        """Which of these host ports others than `app` hold, and who."""

    def missing_images(self, rendered: Rendered) -> tuple[str, ...]:
        """Services whose image is neither here nor built from the app's own files."""

    def pull(
        self, app: Present, rendered: Rendered, services: Sequence[str], tell: Callable[[str], None] = ...
    ) -> None:
        """Get the images of these services. Raises `AppError("PullFailed" | "BuildFailed", …)`."""

    def apply(
        self,
        app: str,
        folder: str,
        rendered: Rendered,
        services: Sequence[str] = (),
        *,
        force: bool = False,
        deadline: float = 330.0,
        images: Mapping[str, str] | None = None,
        sources: Mapping[str, str] | None = None,
        folders: Sequence[str] = (),
    ) -> tuple[str, ...]:
        """Make it run: clean up what an interrupted apply left, then up. `services` empty: the whole app,
        and what is no longer in it is removed. Does not wait for health. `deadline` in seconds.
        `images`: service to the image id it has to run; where its tag has moved, the id is applied instead.
        `sources`: mounted host path to the path that is mounted in its place.
        `folders`: where else its containers may have been started from. With any of another's nothing is touched: "NameConflict".
        Answers with the volumes (full names) that exist with another definition than the model's: they are kept.
        Raises `AppError("ApplyFailed" | "BuildFailed" | "NoAddressPool" | "DiskFull" | …)`.
        """

    def restart(self, app: str, containers: Sequence[str]) -> None:
        """Stop and start these containers (ids); what has ended is started."""

    def stop(self, app: str, containers: Sequence[str]) -> None:
        """Stop these containers (ids), each within its own stop time; they stay. One that is gone is fine."""

    def last_lines(
        self, container: str, rendered: Rendered, lines: int = 3, until: str = ""
    ) -> tuple[str, ...]:
        """The last non-empty lines that a container wrote, each shortened, without control characters and without
        any value that may be secret; () when there are none or the container is gone. `until`: a `finished_at`, what
        was written after it does not count."""

    def exit_code(self, container: str, finished: str) -> int | None:
        """With what a container (id) ended by itself at that `finished_at`, which it does not show once it runs again; None
        when somebody stopped or killed it, or the engine has forgotten."""

    def image_ids(self, rendered: Rendered) -> Mapping[str, str]:
        """Service to the id of the image that its name stands for here now; services without one are left out."""

    def keep_images(self, app: str, ids: Collection[str]) -> None:
        """Tag these images as the app's, so that neither a moved tag nor a prune takes them; the tags of ours that
        the app no longer needs are taken off. An image that is not there is no error."""

    def busy_names(self, names: Sequence[str], app: str) -> Mapping[str, str]:
        """Which of these container names others than `app` hold, and who."""

    def remove_volume(self, name: str) -> None:
        """Remove a volume with all that is in it. Only ever called for a name that a person gave.
        Raises `AppError("VolumeInUse" | "ApplyFailed", …)`; a volume that is not there is no error."""

    def remove(self, app: str, folders: Sequence[str]) -> None:
        """Remove the app's containers and networks. Volumes stay. Fine when there is nothing."""

    def forget(self, app: str) -> None:
        """Keep in memory no more of what the app's files meant. `remove` does so, too; the engine is not asked."""

    def ensure_volume(self, name: str, app: str) -> bool:
        """Create the volume when it is absent, labelled with who made it. True when created."""

    def exec(self, container: str, script: bytes, env: Mapping[str, str], timeout: float) -> ExecResult:
        """Run a shell script inside a container; at the deadline every process of it is ended there."""

    def events(self) -> Iterator[EngineEvent]:
        """What happens from now on; ends when the stream breaks. The first item is yielded at once
        (action `connected`), so that the caller knows when looking afresh misses nothing."""

    def survey(self, *, volumes: bool) -> Survey:
        """All that there is, by one list however many apps there are. `volumes`: these as well, by one more."""

    def interrupt(self, grace: float) -> None:
        """The service stops: running children get `grace` seconds, then are ended; hooks at once."""


class Survey(Protocol):
    """One list of all containers."""

    def projects(self) -> Mapping[str, tuple[str, ...]]:
        """All compose projects: project name to working directories."""

    def shows(self, app: str, observed: Observed, since: datetime) -> bool:
        """Whether the app's containers and volumes are surely as they were observed: the same ones, each in its state
        since the same time, in the same health, on the same networks. They were known to be so at the moment `since`."""


class Store(Protocol):
    """What is remembered. Raises `StateUnusable` when it cannot be read or written."""

    def record(self, app: str) -> Record | None: ...

    def records(self) -> tuple[Record, ...]: ...

    def consumers(self, provider: str) -> tuple[str, ...]:
        """The apps on record that need this one (`Record.needs`), by name."""

    def with_identity(self, identity: str) -> tuple[str, ...]:
        """The apps on record whose folder was the one of this identity, by name; none for ""."""

    def save(self, record: Record) -> None: ...

    def forget(self, app: str) -> None:
        """Drop the record and its models; events stay."""

    def keep_model(self, app: str, rendered: Rendered, keep: Collection[str]) -> None:
        """Keep the rendered model of a revision (mode 0600); of the app's others only those of the revisions
        in `keep`."""

    def model(self, app: str, revision: str) -> Rendered | None: ...

    def keep_file(self, app: str, digest: str, file: MountedFile) -> None:
        """Keep a copy of a mounted file under its digest, with its mode and owner."""

    def file(self, app: str, digest: str) -> str | None:
        """The absolute path of the copy, or None."""

    def keep_only_files(self, app: str, digests: Collection[str]) -> None:
        """Drop the app's other copies."""

    def tell(self, event: Event) -> None:
        """Append an event."""

    def events(
        self, app: str | None = None, since: datetime | None = None, after: int = 0, limit: int | None = None
    ) -> tuple[tuple[int, Event], ...]:
        """Events with their ids, oldest first; the first `limit` of them."""

    def newest_event(self) -> int:
        """The id of the event that was told last; 0 when there is none."""

    def last_told(self, app: str, names: Collection[str]) -> str | None:
        """The name of the newest event of the app that is one of these."""

    def get(self, key: str) -> str | None:
        """A fact about the service itself (root id, approved removals, engine state)."""

    def put(self, key: str, value: str | None) -> None: ...

    def forget_fact(self, key: str, value: str) -> None:
        """Forget the fact if that is what it says; what was said anew meanwhile stays."""

    def facts(self, prefix: str) -> Mapping[str, str]:
        """All facts whose keys begin so, by what follows in the key."""


class Listener(Protocol):
    """Hears each event once; the log is one."""

    def __call__(self, event: Event, /) -> None: ...


class Requeue(Protocol):
    """The part of the work queue that a reconcile may ask for."""

    def add(self, app: str) -> None: ...

    def forget(self, app: str) -> None: ...

    def backoff(self, app: str) -> float:
        """Record one more failure of this key and say how many seconds to wait."""
