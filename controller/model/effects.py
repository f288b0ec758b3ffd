"""Effects: everything a reconcile can ask of the outside world, one value each.

A reconcile is a generator that yields one effect and is sent its answer, so that a worker thread, the
one-call sweep and the simulation drive the very same code; dropping the generator is a crash.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from controller.model.activity import Activity
from controller.model.desired import Census, Desired, Present, Stamp
from controller.model.errors import HomeportError
from controller.model.facts import SAID
from controller.model.observed import ExecResult, Observed, Rendered
from controller.model.ports import PULL_DEADLINE, Clock, Engine, Listener, Requeue, Store, Survey, Tree
from controller.model.record import Event, Record
from controller.model.values import replace

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Host:
    """The outside world that effects are performed on."""

    tree: Tree
    engine: Engine
    store: Store
    clock: Clock
    queue: Requeue
    listen: Listener
    activity: Activity = field(default_factory=Activity)


@dataclass(frozen=True)
class Effect(ABC, Generic[T]):
    """One thing asked of the world. `perform` answers or raises a `HomeportError`."""

    mutates: ClassVar[bool] = False
    """Whether it changes something outside our own state: never performed in a dry run."""

    @property
    def longest(self) -> float:
        """Seconds after which it is ended, where the effect itself says so; inf where containers are to end, each
        within the time that its file gives it; else 0."""
        return 0.0

    @abstractmethod
    def perform(self, host: Host) -> T: ...


Run = Generator[Effect[Any], Any, R]


def ask(effect: Effect[T]) -> Run[T]:
    """`answer = yield from ask(effect)`: one effect, with its answer's type kept."""
    answer: T = yield effect
    return answer


def perform(effect: Effect[Any], host: Host) -> Any:
    """Do it. What `drive` is given in its place may look at each effect before and after."""
    return effect.perform(host)


def drive(run: Run[R], host: Host, perform: Callable[[Effect[Any], Host], Any] = perform) -> R:
    """Perform a run's effects one after the other until it returns."""
    answer: Any = None
    failure: HomeportError | None = None
    while True:
        try:
            effect = run.throw(failure) if failure is not None else run.send(answer)
        except StopIteration as stop:
            result: R = stop.value
            return result
        answer, failure = None, None
        try:
            answer = perform(effect, host)
        except HomeportError as error:
            failure = error


@dataclass(frozen=True)
class Moment:
    """One reading of the clock."""

    monotonic: float
    now: datetime


@dataclass(frozen=True)
class ReadClock(Effect[Moment]):
    """What time it is."""

    def perform(self, host: Host) -> Moment:
        return Moment(host.clock.monotonic(), host.clock.now())


@dataclass(frozen=True)
class Load(Effect[Desired]):
    """Read one app's folder."""

    app: str

    def perform(self, host: Host) -> Desired:
        return host.tree.load(self.app)


@dataclass(frozen=True)
class TakeCensus(Effect[Census]):
    """Which app folders there are."""

    def perform(self, host: Host) -> Census:
        return host.tree.census()


@dataclass(frozen=True)
class FindUnchanged(Effect["frozenset[str]"]):
    """Which apps' inputs look as they did."""

    stamps: Mapping[str, Stamp]
    reread: bool

    def perform(self, host: Host) -> frozenset[str]:
        return host.tree.unchanged(self.stamps, reread=self.reread)


@dataclass(frozen=True)
class Doubt(Effect[None]):
    """Have the files of these apps read at their next load, whatever their stats say."""

    apps: frozenset[str]

    def perform(self, host: Host) -> None:
        host.tree.doubt(self.apps)


@dataclass(frozen=True)
class TakeSurvey(Effect[Survey]):
    """What there is of all apps on the engine, by one list."""

    volumes: bool

    def perform(self, host: Host) -> Survey:
        return host.engine.survey(volumes=self.volumes)


@dataclass(frozen=True)
class FindSaid(Effect["frozenset[str]"]):
    """The apps of which a person said something that is still to be done, or holds."""

    def perform(self, host: Host) -> frozenset[str]:
        return frozenset(app for said in SAID for app in host.store.facts(said))


@dataclass(frozen=True)
class ReadRecord(Effect["Record | None"]):
    """What is remembered of one app."""

    app: str

    def perform(self, host: Host) -> Record | None:
        return host.store.record(self.app)


@dataclass(frozen=True)
class ReadRecords(Effect["tuple[Record, ...]"]):
    """What is remembered of all apps."""

    def perform(self, host: Host) -> tuple[Record, ...]:
        return host.store.records()


@dataclass(frozen=True)
class FindConsumers(Effect["tuple[str, ...]"]):
    """The apps on record that need this one."""

    app: str

    def perform(self, host: Host) -> tuple[str, ...]:
        return host.store.consumers(self.app)


@dataclass(frozen=True)
class FindWithIdentity(Effect["tuple[str, ...]"]):
    """The apps on record whose folder was the one of this identity when they were looked at last."""

    identity: str

    def perform(self, host: Host) -> tuple[str, ...]:
        return host.store.with_identity(self.identity)


@dataclass(frozen=True)
class SaveRecord(Effect[None]):
    """Remember."""

    record: Record

    def perform(self, host: Host) -> None:
        host.store.save(self.record)


@dataclass(frozen=True)
class ForgetSaid(Effect[None]):
    """All that people said of an app that is gone: it must not meet the next of that name."""

    app: str

    def perform(self, host: Host) -> None:
        for said in SAID:
            host.store.put(said + self.app, None)


@dataclass(frozen=True)
class ForgetRecord(Effect[None]):
    """An app is gone for good, with what a person said of it; its events stay.

    The record goes last: cut off before, the removal is simply done again.
    """

    app: str

    def perform(self, host: Host) -> None:
        ForgetSaid(self.app).perform(host)
        host.store.forget(self.app)


@dataclass(frozen=True)
class ReadLastTold(Effect["str | None"]):
    """The name of the last event of the app that is one of these."""

    app: str
    names: tuple[str, ...]

    def perform(self, host: Host) -> str | None:
        return host.store.last_told(self.app, self.names)


@dataclass(frozen=True)
class ReadFact(Effect["str | None"]):
    """A remembered fact about the service itself."""

    key: str

    def perform(self, host: Host) -> str | None:
        return host.store.get(self.key)


@dataclass(frozen=True)
class WriteFact(Effect[None]):
    """Remember a fact; None forgets it, as a wish that was fulfilled."""

    key: str
    value: str | None = None

    def perform(self, host: Host) -> None:
        host.store.put(self.key, self.value)


@dataclass(frozen=True)
class FulfilWish(Effect[None]):
    """Forget a wish that is fulfilled, unless the person has said it anew meanwhile."""

    key: str
    value: str | None

    def perform(self, host: Host) -> None:
        if self.value is not None:
            host.store.forget_fact(self.key, self.value)


@dataclass(frozen=True)
class ReadModel(Effect["Rendered | None"]):
    """The rendered model that was kept for a revision."""

    app: str
    revision: str

    def perform(self, host: Host) -> Rendered | None:
        return host.store.model(self.app, self.revision)


@dataclass(frozen=True)
class KeepModel(Effect[None]):
    """Keep the rendered model of the revision that is about to be applied, and of the others these."""

    app: str
    rendered: Rendered
    keep: tuple[str, ...]

    def perform(self, host: Host) -> None:
        host.store.keep_model(self.app, self.rendered, self.keep)


@dataclass(frozen=True)
class KeepMounted(Effect[None]):
    """Keep copies of mounted files (path to digest), to be able to go back; drop all that are not in `keep`."""

    app: str
    mounted: Mapping[str, str]
    keep: frozenset[str]

    def perform(self, host: Host) -> None:
        for path, digest in self.mounted.items():
            if host.store.file(self.app, digest) is not None:
                continue
            file = host.tree.read_mounted(path)
            # Edited since it was digested: the run that this edit brings keeps it.
            if file is not None and digest == "sha256:" + hashlib.sha256(file.data).hexdigest():
                host.store.keep_file(self.app, digest, file)
        host.store.keep_only_files(self.app, {*self.mounted.values(), *self.keep})


@dataclass(frozen=True)
class FindCopies(Effect["Mapping[str, str]"]):
    """Digest to the path of the copy that was kept; those without one are left out."""

    app: str
    digests: frozenset[str]

    def perform(self, host: Host) -> Mapping[str, str]:
        found = {digest: host.store.file(self.app, digest) for digest in sorted(self.digests)}
        return {digest: path for digest, path in found.items() if path is not None}


@dataclass(frozen=True)
class Render(Effect[Rendered]):
    """What an app's files mean to the engine."""

    app: Present

    def perform(self, host: Host) -> Rendered:
        rendered = host.engine.render(self.app, lambda: self._is_unchanged(host))
        return replace(rendered, env=self.app.env)

    def _is_unchanged(self, host: Host) -> bool:
        now = host.tree.load(self.app.name)
        return isinstance(now, Present) and now.revision == self.app.revision


@dataclass(frozen=True)
class ForgetRendered(Effect[None]):
    """A folder that was never taken in is gone: what its files meant is of no use, and holds the values of its `.env`."""

    app: str

    def perform(self, host: Host) -> None:
        host.engine.forget(self.app)


@dataclass(frozen=True)
class FindDifferences(Effect["Mapping[str, str]"]):
    """What of each service is another than before, in words."""

    rendered: Rendered
    before: Rendered

    def perform(self, host: Host) -> Mapping[str, str]:
        return host.engine.differences(self.rendered, self.before)


@dataclass(frozen=True)
class Observe(Effect[Observed]):
    """What the engine has of an app."""

    app: str
    folders: tuple[str, ...]
    volumes: tuple[str, ...] = ()

    def perform(self, host: Host) -> Observed:
        return host.engine.observe(self.app, self.folders, self.volumes)


@dataclass(frozen=True)
class FindBusyPorts(Effect[Mapping[int, str]]):
    """Which of these host ports others hold."""

    app: str
    ports: tuple[tuple[str, int, str], ...]

    def perform(self, host: Host) -> Mapping[int, str]:
        return host.engine.busy_ports(self.ports, self.app)


@dataclass(frozen=True)
class FindBusyNames(Effect["Mapping[str, str]"]):
    """Which of these container names others hold."""

    app: str
    names: tuple[str, ...]

    def perform(self, host: Host) -> Mapping[str, str]:
        return host.engine.busy_names(self.names, self.app)


@dataclass(frozen=True)
class FindIdentities(Effect["Mapping[str, str]"]):
    """Which directories stand at these host paths now."""

    paths: tuple[str, ...]

    def perform(self, host: Host) -> Mapping[str, str]:
        return host.tree.identities(self.paths)


@dataclass(frozen=True)
class FindImageIds(Effect["Mapping[str, str]"]):
    """Service to the image that its name stands for now."""

    rendered: Rendered

    def perform(self, host: Host) -> Mapping[str, str]:
        return host.engine.image_ids(self.rendered)


@dataclass(frozen=True)
class ReadLastLines(Effect["tuple[str, ...]"]):
    """What a container said last, without secrets; `until`: before it ended then, where it runs again."""

    container: str
    rendered: Rendered
    until: str = ""

    def perform(self, host: Host) -> tuple[str, ...]:
        return host.engine.last_lines(self.container, self.rendered, until=self.until)


@dataclass(frozen=True)
class ReadExitCode(Effect["int | None"]):
    """With what a container ended by itself at that moment of the engine's, also once it runs again."""

    container: str
    finished: str

    def perform(self, host: Host) -> int | None:
        return host.engine.exit_code(self.container, self.finished)


@dataclass(frozen=True)
class FindMissingPaths(Effect["tuple[str, ...]"]):
    """Which of these host paths do not exist."""

    paths: tuple[str, ...]

    def perform(self, host: Host) -> tuple[str, ...]:
        return host.tree.missing_paths(self.paths)


@dataclass(frozen=True)
class FindMissingImages(Effect["tuple[str, ...]"]):
    """Services whose image has to be pulled first."""

    rendered: Rendered

    def perform(self, host: Host) -> tuple[str, ...]:
        return host.engine.missing_images(self.rendered)


@dataclass(frozen=True)
class ReadScript(Effect[bytes]):
    """A hook script from its provider's folder."""

    provider: str
    path: str

    def perform(self, host: Host) -> bytes:
        return host.tree.read_script(self.provider, self.path)


@dataclass(frozen=True)
class SeedEnv(Effect["tuple[str, ...]"]):
    """Make or complete an app's `.env`."""

    mutates: ClassVar[bool] = True
    app: Present

    def perform(self, host: Host) -> tuple[str, ...]:
        return host.tree.seed_env(self.app)


@dataclass(frozen=True)
class MergeEnv(Effect["tuple[str, ...]"]):
    """Put a hook's output into the consumer's `.env`."""

    mutates: ClassVar[bool] = True
    app: Present
    values: Mapping[str, str] = field(repr=False)

    def perform(self, host: Host) -> tuple[str, ...]:
        return host.tree.merge_env(self.app, self.values)


@dataclass(frozen=True)
class EnsureVolume(Effect[bool]):
    """Create a volume when it is absent."""

    mutates: ClassVar[bool] = True
    app: str
    volume: str

    def perform(self, host: Host) -> bool:
        return host.engine.ensure_volume(self.volume, self.app)


@dataclass(frozen=True)
class RunHook(Effect[ExecResult]):
    """Run a script inside a provider's container."""

    mutates: ClassVar[bool] = True
    container: str
    script: bytes = field(repr=False)
    env: Mapping[str, str] = field(repr=False)
    timeout: float
    hook: str
    """on_install, on_update, on_start or on_remove."""

    @property
    def longest(self) -> float:
        return self.timeout

    def perform(self, host: Host) -> ExecResult:
        return host.engine.exec(self.container, self.script, self.env, self.timeout)


@dataclass(frozen=True)
class Pull(Effect[None]):
    """Get images while the old version still runs."""

    mutates: ClassVar[bool] = True
    app: Present
    rendered: Rendered
    services: tuple[str, ...]

    @property
    def longest(self) -> float:
        return 2 * PULL_DEADLINE  # some are pulled, then others built

    def perform(self, host: Host) -> None:
        def tell(how_far: str) -> None:
            host.activity.detail(self.app.name, how_far)

        host.engine.pull(self.app, self.rendered, self.services, tell)


@dataclass(frozen=True)
class Apply(Effect[tuple[str, ...]]):
    """Make a rendered model run; the volumes that are kept although they are defined otherwise."""

    mutates: ClassVar[bool] = True
    app: str
    folder: str
    rendered: Rendered
    services: tuple[str, ...] = ()
    force: bool = False
    deadline: float = 330.0
    images: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()

    @property
    def longest(self) -> float:
        return self.deadline

    def perform(self, host: Host) -> tuple[str, ...]:
        return host.engine.apply(
            self.app, self.folder, self.rendered, self.services,
            force=self.force, deadline=self.deadline, images=self.images, sources=self.sources,
            folders=self.folders,
        )  # fmt: skip


@dataclass(frozen=True)
class Restart(Effect[None]):
    """Stop and start containers."""

    mutates: ClassVar[bool] = True
    app: str
    containers: tuple[str, ...]

    @property
    def longest(self) -> float:
        return math.inf

    def perform(self, host: Host) -> None:
        host.engine.restart(self.app, self.containers)


@dataclass(frozen=True)
class Stop(Effect[None]):
    """Stop containers; they stay."""

    mutates: ClassVar[bool] = True
    app: str
    containers: tuple[str, ...]

    @property
    def longest(self) -> float:
        return math.inf

    def perform(self, host: Host) -> None:
        host.engine.stop(self.app, self.containers)


@dataclass(frozen=True)
class KeepImages(Effect[None]):
    """Tag the images that the app may have to go back to."""

    mutates: ClassVar[bool] = True
    app: str
    ids: frozenset[str]

    def perform(self, host: Host) -> None:
        host.engine.keep_images(self.app, self.ids)


@dataclass(frozen=True)
class MoveOut(Effect[str]):
    """Take the app's folder out of the tree; where it is now."""

    mutates: ClassVar[bool] = True
    app: str

    def perform(self, host: Host) -> str:
        return host.tree.move_out(self.app)


@dataclass(frozen=True)
class Remove(Effect[None]):
    """Take an app's containers and networks away; volumes stay."""

    mutates: ClassVar[bool] = True
    app: str
    folders: tuple[str, ...]

    @property
    def longest(self) -> float:
        return math.inf

    def perform(self, host: Host) -> None:
        host.engine.remove(self.app, self.folders)


@dataclass(frozen=True)
class BeginStep(Effect[None]):
    """Note for whoever looks what is done for the app from now on; the end of the run is its end."""

    app: str
    what: str

    def perform(self, host: Host) -> None:
        host.activity.begin(self.app, self.what, host.clock.now())


@dataclass(frozen=True)
class Enqueue(Effect[None]):
    """Another app may have to look again."""

    app: str

    def perform(self, host: Host) -> None:
        host.queue.add(self.app)


@dataclass(frozen=True)
class Backoff(Effect[float]):
    """Record one more failure of this app; how many seconds to wait."""

    app: str

    def perform(self, host: Host) -> float:
        return host.queue.backoff(self.app)


@dataclass(frozen=True)
class ResetBackoff(Effect[None]):
    """The app's earlier failures no longer count."""

    app: str

    def perform(self, host: Host) -> None:
        host.queue.forget(self.app)


@dataclass(frozen=True)
class Tell(Effect[None]):
    """Say once what changed: the log hears it and the store keeps it."""

    event: Event

    def perform(self, host: Host) -> None:
        # Told when it is told, not when the run began to look.
        event = replace(self.event, time=host.clock.now())
        host.store.tell(event)
        host.listen(event)
