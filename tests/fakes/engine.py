"""An engine in memory that behaves: containers start, get healthy, crash, are killed, and keep their hashes.

Implements the `Engine` port and passes the contract tests that the Docker engine passes. The world moves only
when a test moves it (`settle`, `kill`, `crash`, …), or at once with `instant=True`, as simulations want it.
"""

from __future__ import annotations

import hashlib
import json
import queue
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import RLock
from typing import Any, Literal

import yaml

from controller.engine import document as documents
from controller.engine.observation import FOLDER, ONEOFF, PROJECT, seconds
from controller.engine.survey import ListedAll, spoken
from controller.model.desired import Present
from controller.model.errors import (
    AppError,
    EngineUnreachable,
    HomeportError,
    InputInvalid,
    Interrupted,
    Superseded,
)
from controller.model.observed import (
    Bind,
    Container,
    EngineEvent,
    EngineInfo,
    ExecResult,
    Observed,
    Rendered,
    Service,
)
from controller.model.ports import Clock

Behaviour = Literal["run", "crash", "exit", "fail", "slow", "unhealthy", "hang"]
"""What a service does when it is started: run; crash at once with 3; end by itself with 0; end with 1 (a job);
be a job that ends only at `settle`; never get healthy; stay `starting` for ever."""

Model = Sequence[Service] | Rendered | Exception
Script = Callable[[Mapping[str, str], Container], "bytes | ExecResult"]

_START = datetime(2026, 1, 1, tzinfo=UTC)
_TEMPORARY = re.compile(r"[0-9a-f]{12}_")
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::?([-?])([^}]*))?\}|(\w+))")


class FakeEngine:
    """See the module. Everything public below `interrupt` belongs to the test.

    `models` says what an app's files mean: by (app, revision), by app, or by folder; a value may be services, a
    whole `Rendered`, an exception to raise, or a function of the `Present`. Without an entry the YAML that
    `compose_of` gives (or that the app's compose files hold) is read by simple rules.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        instant: bool = False,
        compose_of: Callable[[Present], str] | None = None,
    ) -> None:
        self.clock = clock
        self.instant = instant
        self.compose_of = compose_of
        self.models: dict[str | tuple[str, str], Model | Callable[[Present], Model]] = {}
        self.behaviour: dict[tuple[str, str], Behaviour] = {}
        """Of a service, by (app, service); what `image_behaviour` and `hash_behaviour` say comes first."""
        self.image_behaviour: dict[str, Behaviour] = {}
        """Of whatever runs the image with this id: a bad new image."""
        self.hash_behaviour: dict[str, Behaviour] = {}
        """Of whatever has this config hash in its rendered model: a bad edit."""
        self.lines: dict[tuple[str, str], Sequence[str]] = {}
        """What a service's containers wrote, by (app, service), as `last_lines` shows it."""
        self.kept_images: dict[str, set[str]] = {}
        """App to the ids of the images that are kept for it."""
        self.scripts: dict[bytes, Script] = {}
        self.absent_images: set[str] = set()
        """Images that are not here; `pull` brings those that are not in `unpullable`."""
        self.unpullable: set[str] = set()
        self.upstream: dict[str, str] = {}
        """Image to the id that a pull gives its name; without an entry a pull moves nothing."""
        self.volumes: dict[str, tuple[str, str]] = {}
        """Name to (creation time, app it was made for)."""
        self.ports: dict[int, str] = {}
        """Host ports that others hold, and who."""
        self.names: dict[str, str] = {}
        """Container names that others hold, and who."""
        self.own = ""
        """The project that the service itself runs in."""
        self.reachable = True
        self.mutations: list[str] = []
        """What changed the world, in order, one line each."""
        self.children = 0
        """Child processes that the real engine would have started."""
        self._failures: dict[tuple[str, str], list[HomeportError]] = {}
        self._apps: dict[str, dict[str, Container]] = {}
        self._folders: dict[str, str] = {}
        self._services: dict[str, Service] = {}
        self._volumes: dict[str, tuple[str, ...]] = {}
        self._tags: dict[str, str] = {}
        self._images: set[str] = set()
        self._networks: dict[str, str] = {}
        self._rendered: dict[tuple[str, str], Rendered] = {}
        self._known: dict[tuple[str, str], Rendered] = {}
        """What was answered; `_rendered` has the hashes as well, which an apply gives."""
        self._codes: dict[tuple[str, str], int] = {}
        """Container and the moment at which it ended by itself to its exit code: it is remembered when it runs again."""
        self._said: dict[tuple[str, str], Sequence[str]] = {}
        """The same to what it had written until then."""
        self._count = 0
        self._lock = RLock()
        self._listeners: list[queue.SimpleQueue[EngineEvent | None]] = []
        self._stopping = self._deaf = False

    # ---- the port ----

    def info(self) -> EngineInfo:
        self._reach()
        return EngineInfo("0.0", "0.0")

    def version(self) -> str:
        self._reach()
        return "0.0"

    def ping(self) -> None:
        self._reach()

    def own_project(self) -> str:
        self._reach()
        return self.own

    def render(self, app: Present, unchanged: Callable[[], bool] = lambda: True) -> Rendered:
        known = self._known.get((app.name, app.revision))
        if known is None:
            known = self._known[app.name, app.revision] = self._bare(self._model(app, unchanged))
        return known

    @staticmethod
    def _bare(rendered: Rendered) -> Rendered:
        return replace(rendered, services=tuple(replace(s, config_hash="") for s in rendered.services))

    def _model(self, app: Present, unchanged: Callable[[], bool]) -> Rendered:
        self._fail("render", app.name)
        self.children += 1
        keys = ((app.name, app.revision), app.name, app.folder)
        model: Any = next((self.models[key] for key in keys if key in self.models), None)
        try:
            if callable(model):
                model = model(app)
            if model is None:
                model = _from_yaml(app, self.compose_of(app) if self.compose_of else _read(app))
        except InputInvalid as error:
            model = error
        if not unchanged():
            raise Superseded(f"the files of {app.name} were edited while they were read")
        if isinstance(model, Exception):
            raise model
        rendered = model if isinstance(model, Rendered) else _rendered(app, tuple(model))
        self._rendered[(app.name, app.revision)] = rendered
        return rendered

    def observe(self, app: str, folders: Sequence[str], volumes: Sequence[str]) -> Observed:
        with self._lock:
            self._fail("observe", app)
            ours: list[Container] = []
            foreign: set[str] = set()
            containers = self._apps.get(app)
            if containers:
                where = self._folders
                for container in containers.values():
                    folder = where[container.id]
                    if folder in folders:
                        ours.append(container)
                    else:
                        foreign.add(folder)
                ours.sort(key=lambda c: c.name)
            found = (
                {name: self.volumes[name][0] for name in volumes if name in self.volumes} if volumes else {}
            )
            return Observed(tuple(ours), found, tuple(sorted(foreign)))

    def busy_ports(self, ports: Sequence[tuple[str, int, str]], app: str) -> Mapping[int, str]:
        with self._lock:
            self._reach()
            busy = {port: self.ports[port] for _, port, _ in ports if port in self.ports}
            for other, containers in self._apps.items():
                for container in containers.values() if other != app else ():
                    if container.state == "running":
                        for _, port, _ in self._services[container.id].ports:
                            if any(port == wanted for _, wanted, _ in ports):
                                busy.setdefault(port, f"app {other} (container {container.name})")
            return busy

    def missing_images(self, rendered: Rendered) -> tuple[str, ...]:
        self._reach()
        if not self.absent_images:
            return ()
        return tuple(s.name for s in rendered.services if s.image in self.absent_images)

    def image_ids(self, rendered: Rendered) -> Mapping[str, str]:
        self._reach()
        return {
            s.name: self._image_id(s.image) for s in rendered.services if s.image not in self.absent_images
        }

    def keep_images(self, app: str, ids: Collection[str]) -> None:
        self._fail("keep_images", app)
        kept = {one for one in ids if one in self._images}
        if kept != self.kept_images.get(app, set()):
            self.mutations.append(f"keep_images {app}")
            self.kept_images[app] = kept
            if not kept:
                del self.kept_images[app]

    def busy_names(self, names: Sequence[str], app: str) -> Mapping[str, str]:
        with self._lock:
            self._reach()
            held = dict(self.names)
            for other, containers in self._apps.items():
                for name in containers if other != app else ():
                    held[name] = f"app {other} (container {name})"
            return {name: held[name] for name in names if name in held}

    def exit_code(self, container: str, finished: str) -> int | None:
        with self._lock:
            self._reach()
            return self._codes.get((container, finished))

    def last_lines(
        self, container: str, rendered: Rendered, lines: int = 3, until: str = ""
    ) -> tuple[str, ...]:
        with self._lock:
            self._reach()
            for app, containers in self._apps.items():
                for one in containers.values():
                    if one.id == container:
                        said = self.lines.get((app, one.service), ())
                        return tuple(self._said.get((container, until), said))[-lines:]
            return ()

    def differences(self, rendered: Rendered, before: Rendered) -> Mapping[str, str]:
        return documents.differences(rendered.document, before.document)

    def pull(
        self,
        app: Present,
        rendered: Rendered,
        services: Sequence[str],
        tell: Callable[[str], None] = lambda _how_far: None,
    ) -> None:
        self._mutate("pull", app.name, services)
        self.children += 1
        for service in rendered.services:
            if service.name in services:
                self._get_image(service, here=False)
                if service.image in self.upstream:
                    self.move_tag(service.image, self.upstream[service.image])

    def apply(
        self, app: str, folder: str, rendered: Rendered, services: Sequence[str] = (), *, force: bool = False,
        deadline: float = 330.0, images: Mapping[str, str] | None = None, sources: Mapping[str, str] | None = None,
        folders: Sequence[str] = (),
    ) -> tuple[str, ...]:  # fmt: skip
        with self._lock:
            self._fail_foreign(app, (folder, *folders))
            self._mutate("apply", app, services)
            self.children += 1
            self._clean_up(app, folder)
            for volume in rendered.external_volumes:
                if volume not in self.volumes:
                    raise AppError("ApplyFailed", f'external volume "{volume}" not found')
            wanted = [
                self._redirected(s, (images or {}).get(s.name, ""), sources or {})
                for s in self._with_hashes(app, rendered).services
                if not services or s.name in services
            ]
            for service in wanted:
                self._get_image(service)
            containers = self._apps.setdefault(app, {})
            networked = _has_network(rendered.document)
            if networked and app not in self._networks:
                self._networks[app] = self._id("net")
            network = (self._networks[app],) if networked else ()
            if not services:
                names = {s.name for s in rendered.services}
                for container in [c for c in containers.values() if c.service not in names]:
                    self._discard(app, container)
            for service in sorted(wanted, key=lambda s: (bool(s.shares_with), not s.is_job)):
                self._ensure(app, folder, service, network, rendered.external_volumes, force)
            return ()

    def restart(self, app: str, containers: Sequence[str]) -> None:
        with self._lock:
            self._mutate("restart", app, ())
            for one in containers:
                container = next((c for c in self._apps.get(app, {}).values() if c.id == one), None)
                if container is None:
                    raise AppError("ApplyFailed", f"container {one[:12]} is gone")
                self._start(app, container)

    def stop(self, app: str, containers: Sequence[str]) -> None:
        with self._lock:
            self._mutate("stop", app, ())
            for container in list(self._apps.get(app, {}).values()):
                if container.id in containers and container.state in ("running", "paused", "restarting"):
                    self._end(app, container, 0)

    def forget(self, app: str) -> None:
        with self._lock:
            for known in (self._known, self._rendered):
                for key in [key for key in known if key[0] == app]:
                    del known[key]

    def remove(self, app: str, folders: Sequence[str]) -> None:
        with self._lock:
            self._fail("remove", app)
            ours = [c for c in self._apps.get(app, {}).values() if self._folders[c.id] in folders]
            if not ours and app not in self._networks:
                return
            self.mutations.append(f"remove {app}")
            self.children += 1
            for container in ours:
                self._discard(app, container)
            if not self._apps.get(app):
                self._apps.pop(app, None)
                self._networks.pop(app, None)

    def ensure_volume(self, name: str, app: str) -> bool:
        with self._lock:
            self._fail("ensure_volume", app)
            if name in self.volumes:
                return False
            self.mutations.append(f"ensure_volume {name}")
            self.volumes[name] = (self._stamp(), app)
            return True

    def remove_volume(self, name: str) -> None:
        with self._lock:
            self._fail("remove_volume", name)
            users = sorted(
                c.name for cs in self._apps.values() for c in cs.values() if name in self._volumes[c.id]
            )
            if users:
                raise AppError("VolumeInUse", f"volume {name} is used by container {', '.join(users)}")
            if self.volumes.pop(name, None):
                self.mutations.append(f"remove_volume {name}")

    def exec(self, container: str, script: bytes, env: Mapping[str, str], timeout: float) -> ExecResult:
        with self._lock:
            if self._stopping:
                raise Interrupted("the service is stopping")
            found = next((c for cs in self._apps.values() for c in cs.values() if c.id == container), None)
            self._fail("exec", found.name if found else "")
            if found is None or found.state != "running":
                raise AppError("HookFailed", f"container {container[:12]} is not running")
            self.mutations.append(f"exec {found.name}")
        run = self.scripts.get(script)
        answer = run(env, found) if run is not None else b""
        return answer if isinstance(answer, ExecResult) else ExecResult(0, answer)

    def events(self) -> Iterator[EngineEvent]:
        self._reach()
        if self._deaf:
            return
        mine: queue.SimpleQueue[EngineEvent | None] = queue.SimpleQueue()
        with self._lock:
            self._listeners.append(mine)
        try:
            yield EngineEvent("", "", "connected", self._now())
            while (event := mine.get()) is not None:
                yield event
        finally:
            with self._lock:
                if mine in self._listeners:
                    self._listeners.remove(mine)

    def close_events(self) -> None:
        self._deaf = True
        self._cut_events()

    def survey(self, *, volumes: bool) -> ListedAll:
        """As the real engine words it."""
        with self._lock:
            self._fail("survey", "")
            now = self._now().timestamp()
            listed = [
                _listed(app, container, self._folders[container.id], now)
                for app, containers in self._apps.items()
                for container in containers.values()
            ]
            found = [{"Name": n, "Labels": {"created": created}} for n, (created, *_) in self.volumes.items()]
            return ListedAll(listed, found if volumes else (), "created", now)

    def interrupt(self, grace: float) -> None:
        self._stopping = True

    def close(self) -> None:
        self.close_events()

    # ---- the test's hand in the world ----

    def settle(self) -> None:
        """Time passes: what was starting is healthy (or not), jobs that run have ended."""
        with self._lock:
            for app, containers in self._apps.items():
                for container in list(containers.values()):
                    how = self._how(app, container)
                    service = self._services[container.id]
                    if container.state != "running":
                        continue
                    if service.is_job and how != "hang":
                        self._end(app, container, 0, by_itself=True)
                    elif container.health == "starting" and how != "hang":
                        health = "unhealthy" if how == "unhealthy" else "healthy"
                        self._put(app, replace(container, health=health), f"health_status: {health}")

    def container(self, app: str, service: str, number: int = 1) -> Container:
        """The one of that number; fails when there is none."""
        return next(
            c for c in self._apps[app].values()
            if c.service == service and c.number == number and not _TEMPORARY.match(c.name)
        )  # fmt: skip

    def service_of(self, container: Container) -> Service:
        """What it was made of: with the image and the mounted paths that it was given."""
        return self._services[container.id]

    def kill(self, app: str, service: str, number: int = 1) -> None:
        """Somebody kills it: exit 137, and no restart policy brings it back."""
        self._end(app, self.container(app, service, number), 137)

    def stop_container(self, app: str, service: str, number: int = 1, code: int = 0) -> None:
        """Somebody stops it."""
        self._end(app, self.container(app, service, number), code)

    def pause(self, app: str, service: str, number: int = 1) -> None:
        """Somebody freezes it."""
        with self._lock:
            self._put(app, replace(self.container(app, service, number), state="paused"), "pause")

    def unpause(self, app: str, service: str, number: int = 1) -> None:
        """Somebody lets it go on."""
        with self._lock:
            self._put(app, replace(self.container(app, service, number), state="running"), "unpause")

    def crash(self, app: str, service: str, code: int = 1, number: int = 1) -> None:
        """Its process ends by itself (with 0, too); the restart policy applies."""
        with self._lock:
            container = self.container(app, service, number)
            policy = self._services[container.id].restart
            self._end(app, container, code, by_itself=True)
            if policy in ("always", "unless-stopped") or (policy.startswith("on-failure") and code):
                again = replace(self.container(app, service, number), restarts=container.restarts + 1)
                self._start(app, again)

    def set_health(self, app: str, service: str, health: str, number: int = 1) -> None:
        """Its health check changes its mind."""
        with self._lock:
            container = self.container(app, service, number)
            self._put(app, replace(container, health=health), f"health_status: {health}")

    def remove_container(self, app: str, service: str, number: int = 1) -> None:
        """Somebody removes it."""
        with self._lock:
            self._discard(app, self.container(app, service, number))

    def lose_volume(self, name: str) -> None:
        """Somebody removes a volume."""
        self.volumes.pop(name, None)

    def move_tag(self, image: str, to: str) -> None:
        """The image's name stands for the image with this id from now on, as after a pull or a build; what runs
        keeps the image it has."""
        with self._lock:
            self._image_id(image)
            self._tags[image] = to
            self._images.add(to)
            self.absent_images.discard(image)

    def lose_image(self, image: str) -> None:
        """Somebody removes what the name stands for; the next pull of the name brings another image."""
        with self._lock:
            self._images.discard(self._image_id(image))
            self._tags[image] = f"sha256:another {image}"
            self.absent_images.add(image)

    def lose_network(self, app: str) -> None:
        """Somebody takes the app's network away; a new one gets another id."""
        with self._lock:
            self._networks.pop(app, None)
            for container in list(self._apps.get(app, {}).values()):
                self._put(app, replace(container, networks=()), "update")

    def plant_surplus(self, app: str, service: str) -> None:
        """Somebody scales it up by hand."""
        with self._lock:
            one = self.container(app, service)
            new = self._id("ctr")
            self._folders[new], self._services[new] = self._folders[one.id], self._services[one.id]
            self._volumes[new] = self._volumes[one.id]
            self._put(app, replace(one, id=new, name=f"{app}-{service}-2", number=2), "create")

    def plant_leftover(self, app: str, service: str, state: str = "created") -> None:
        """What an `up` that was ended in the middle of a re-creation leaves behind."""
        with self._lock:
            old = self.container(app, service)
            new = self._id("ctr")
            leftover = replace(
                old, id=new, name=f"{old.id[:12]}_{old.name}", state=state, started_at=self._stamp()
            )
            self._folders[new], self._services[new] = self._folders[old.id], self._services[old.id]
            self._volumes[new] = self._volumes[old.id]
            if state == "running":
                self._discard(app, old)
            self._put(app, leftover, "create")

    def plant_foreign(self, app: str, folder: str) -> None:
        """A container of another project with the same name."""
        with self._lock:
            service = Service("theirs", "foreign", "image:1")
            self._apps.setdefault(app, {})
            self._create(app, folder, service, 1, ())

    def fail(self, verb: str, app: str, error: HomeportError, times: int = 1) -> None:
        """The next calls of that verb for that app raise. Verbs are the port's methods, and `create`: in the middle of
        an apply, when what was to be replaced is gone. exec's app is the container's name."""
        self._failures.setdefault((verb, app), []).extend([error] * times)

    def down(self) -> None:
        """The engine goes away; what runs goes on running."""
        self.reachable = False
        self._cut_events()

    def up(self, *, restarted: bool = False) -> None:
        """It is back. `restarted`: it ended all containers, restarted those with `restart: always`, and has
        forgotten its events."""
        with self._lock:
            self.reachable = True
            if restarted:
                self.forget_events()
            for app, containers in self._apps.items() if restarted else ():
                for container in list(containers.values()):
                    if container.state == "running":
                        self._end(app, container, 137)
                        if self._services[container.id].restart == "always":
                            self._start(app, containers[container.name])
                    elif container.ended_by_itself:
                        self._put(app, replace(container, ended_by_itself=False), "update")

    def forget_events(self) -> None:
        """So many came since that it remembers none of before."""
        self._codes.clear()

    # ---- how ----

    def _reach(self) -> None:
        if not self.reachable:
            raise EngineUnreachable("the engine does not answer")

    def _fail(self, verb: str, app: str) -> None:
        if verb != "render":  # files can be rendered without an engine
            self._reach()
        if self._failures and (waiting := self._failures.get((verb, app))):
            raise waiting.pop(0)

    def _mutate(self, verb: str, app: str, services: Sequence[str]) -> None:
        if self._stopping:
            raise Interrupted("the service is stopping")
        self._fail(verb, app)
        self.mutations.append(f"{verb} {app}" + (f" [{' '.join(services)}]" if services else ""))

    def _how(self, app: str, container: Container) -> Behaviour:
        return (
            self.image_behaviour.get(container.image_id)
            or self.hash_behaviour.get(container.config_hash.partition("+")[0])
            or self.behaviour.get((app, container.service), "run")
        )

    def _image_id(self, image: str) -> str:
        """What a name (or an id) stands for."""
        if image in self._images:
            return image
        found = self._tags.setdefault(image, f"sha256:{image}")
        self._images.add(found)
        return found

    def _get_image(self, service: Service, *, here: bool = True) -> None:
        """`here`: an image that is here is good enough."""
        if here and service.image not in self.absent_images:
            return
        if service.image in self.unpullable:
            why = f"image {service.image} of service {service.name} cannot be pulled: manifest unknown"
            raise AppError("PullFailed", why)
        self.absent_images.discard(service.image)

    def _with_hashes(self, app: str, rendered: Rendered) -> Rendered:
        hashed = all(service.config_hash for service in rendered.services)
        return rendered if hashed else self._rendered[app, rendered.revision]

    def _redirected(self, service: Service, pin: str, sources: Mapping[str, str]) -> Service:
        """The service with the image it has to run and other mounted paths; both enter its config hash, whose
        first part (up to the `+`) is that of the rendered model."""
        there = "" if service.image in self.absent_images else self._image_id(service.image)
        changes: dict[str, Any] = {}
        if pin and pin != there and (pin in self._images or there):
            if pin not in self._images:
                raise AppError(
                    "ApplyFailed", f"the image {pin} that service {service.name} has to run is gone"
                )
            changes["image"] = pin
        if any(bind.source in sources for bind in service.binds):
            changes["binds"] = tuple(
                replace(b, source=sources.get(b.source, b.source)) for b in service.binds
            )
        if not changes:
            return service
        digest = hashlib.sha256(repr(changes).encode()).hexdigest()[:12]
        return replace(service, config_hash=f"{service.config_hash}+{digest}", **changes)

    def _fail_foreign(self, app: str, ours: Sequence[str]) -> None:
        foreign = sorted({self._folders[c.id] for c in self._apps.get(app, {}).values()} - set(ours))
        if foreign:
            raise AppError(
                "NameConflict", f"a compose project named {app} has come up from {', '.join(foreign)}"
            )

    def _clean_up(self, app: str, folder: str) -> None:
        for container in list(self._apps.get(app, {}).values()):
            if _TEMPORARY.match(container.name) and self._folders[container.id] == folder:
                # One that runs is re-created under its own name by the `_ensure` that follows.
                self._discard(app, container)

    def _ensure(
        self, app: str, folder: str, service: Service, network: tuple[str, ...], volumes: tuple[str, ...], force: bool
    ) -> None:  # fmt: skip
        own = sorted(
            (c for c in self._apps[app].values() if c.service == service.name), key=lambda c: c.number
        )
        for container in own[service.scale :]:
            self._discard(app, container)
        owner = next(
            (c for c in self._apps[app].values() if c.service == service.shares_with and c.number == 1), None
        )
        for number in range(1, service.scale + 1):
            old = own[number - 1] if number <= len(own) else None
            same = (
                old is not None and not force and old.config_hash == service.config_hash
                and old.image_id == self._image_id(service.image)
                and (owner is None or old.shares_with == owner.id)
                and (owner is not None or old.networks == network)
            )  # fmt: skip
            if old is not None and same:
                if old.state != "running":
                    self._start(app, old)
                continue
            if old is not None:
                self._discard(app, old)
            self._fail("create", app)  # what it was to follow is gone by now
            attached = () if owner else network
            self._create(app, folder, service, number, attached, volumes, owner.id if owner else "")

    def _create(
        self, app: str, folder: str, service: Service, number: int, network: tuple[str, ...],
        volumes: tuple[str, ...] = (), owner: str = "",
    ) -> None:  # fmt: skip
        name = service.container_name or f"{app}-{service.name}-{number}"
        if service.container_name and (holders := self.busy_names((name,), app)):
            raise AppError("ApplyFailed", f'the container name "{name}" is already in use by {holders[name]}')
        new = self._id("ctr")
        self._folders[new], self._services[new], self._volumes[new] = folder, service, volumes
        container = Container(
            new, name, service.name, number, service.config_hash, service.image,
            self._image_id(service.image), "created", networks=network, shares_with=owner,
        )  # fmt: skip
        self._start(app, container)

    def _start(self, app: str, container: Container) -> None:
        service = self._services[container.id]
        how = self._how(app, container)
        health = ""
        if service.has_healthcheck:
            health = "healthy" if self.instant and how == "run" else "starting"
        running = replace(
            container, state="running", health=health, started_at=self._stamp(), exit_code=0,
            ended_by_itself=False,
        )  # fmt: skip
        self._put(app, running, "start")
        if (service.is_job and how in ("run", "exit")) or how == "exit":
            self._end(app, running, 0, by_itself=True)
        elif how == "fail":
            self._end(app, running, 1, by_itself=True)
            if service.is_job:
                raise AppError(
                    "ApplyFailed", f'service "{service.name}" didn\'t complete successfully: exit 1'
                )
        elif how == "crash":
            self._end(app, running, 3, by_itself=True)
            if service.restart in ("always", "unless-stopped"):
                ended = self._apps[app][running.name]
                self._put(app, replace(ended, state="restarting", health="", restarts=1), "die")

    def _end(self, app: str, container: Container, code: int, *, by_itself: bool = False) -> None:
        with self._lock:
            health = "unhealthy" if container.health else ""
            ended = replace(
                container, state="exited", health=health, exit_code=code, finished_at=self._stamp(),
                ended_by_itself=by_itself and code == 0,
            )  # fmt: skip
            if by_itself:
                self._codes[ended.id, ended.finished_at] = code
            self._said[ended.id, ended.finished_at] = tuple(self.lines.get((app, container.service), ()))
            self._put(app, ended, "die")

    def _put(self, app: str, container: Container, action: str) -> None:
        self._apps[app][container.name] = container
        if self._listeners:
            self._emit(app, container, action)

    def _discard(self, app: str, container: Container) -> None:
        del self._apps[app][container.name]
        if self._listeners:
            self._emit(app, container, "destroy")
        del self._folders[container.id], self._services[container.id], self._volumes[container.id]

    def _emit(self, app: str, container: Container, action: str) -> None:
        event = EngineEvent(app, self._folders[container.id], action, self._now())
        for listener in self._listeners:
            listener.put(event)

    def _cut_events(self) -> None:
        with self._lock:
            for listener in self._listeners:
                listener.put(None)

    def _id(self, kind: str) -> str:
        self._count += 1
        return hashlib.sha256(f"{kind}{self._count}".encode()).hexdigest()

    def _now(self) -> datetime:
        return self.clock.now() if self.clock else _START + timedelta(seconds=self._count)

    def _stamp(self) -> str:
        # The counter in the last digits: two starts within one tick of a stepped clock are still two.
        self._count += 1
        return f"{self._now():%Y-%m-%dT%H:%M:%S.}{self._count:09d}Z"


def _listed(app: str, container: Container, folder: str, now: float) -> dict[str, object]:
    """A container in the engine's list."""
    state = container.state
    status = {"created": "Created", "paused": "Up for a while (Paused)", "restarting": "Restarting"}.get(
        state, ""
    )
    if state == "running":
        status = f"Up {spoken(now - seconds(container.started_at))}"
        health = "health: starting" if container.health == "starting" else container.health
        status += f" ({health})" if health else ""
    elif state == "exited":
        status = f"Exited ({container.exit_code}) {spoken(now - seconds(container.finished_at))} ago"
    return {
        "Id": container.id, "Names": [f"/{container.name}"], "State": state, "Status": status,
        "Labels": {PROJECT: app, FOLDER: folder, ONEOFF: str(container.oneoff)},
        "NetworkSettings": {"Networks": {one: {"NetworkID": one} for one in container.networks}},
    }  # fmt: skip


def _rendered(app: Present, services: tuple[Service, ...]) -> Rendered:
    hashed = tuple(
        s
        if s.config_hash
        else replace(s, config_hash=hashlib.sha256(repr(replace(s, scale=1)).encode()).hexdigest())
        for s in services
    )
    model = {s.name: {"image": s.image, "network_mode": "none", "hash": s.config_hash} for s in hashed}
    return Rendered(
        app.revision, hashed, json.dumps({"name": app.name, "services": model, "model": repr(hashed)})
    )


def _read(app: Present) -> str:
    return "\n---\n".join(Path(file).read_text() for file in app.compose_files)


def _from_yaml(app: Present, text: str) -> Rendered:
    """The few keys that tests use: image, command, healthcheck, depends_on, scale, restart, labels, ports as
    "HOST:CONTAINER", volumes as "SOURCE:TARGET[:ro]", network_mode, container_name, external volumes, and
    configs and secrets with `content` or `environment`."""
    try:
        document = yaml.load(_interpolate(text, app.env), yaml.CSafeLoader)
        services = document["services"]
        if not isinstance(services, dict):
            raise TypeError
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise InputInvalid("SourceInvalid", f"compose file of {app.name} is not a model") from error
    jobs = {
        name
        for s in services.values()
        for name, how in _pairs((s or {}).get("depends_on")).items()
        if how.get("condition") == "service_completed_successfully"
    }
    volumes = {name: v or {} for name, v in (document.get("volumes") or {}).items()}
    return Rendered(
        app.revision,
        tuple(_service(app, name, services[name] or {}, name in jobs, document) for name in sorted(services)),
        json.dumps(document, default=str),
        tuple(sorted(v.get("name", name) for name, v in volumes.items() if v.get("external"))),
    )


def _has_network(document: str) -> bool:
    services = json.loads(document or "{}").get("services") or {}
    return any("network_mode" not in (service or {}) for service in services.values())


def _service(
    app: Present, name: str, spec: dict[str, Any], awaited: bool, document: dict[str, Any]
) -> Service:
    hashed = {k: v for k, v in spec.items() if k not in ("scale", "depends_on", "deploy", "profiles")}
    mode = str(spec.get("network_mode") or "")
    binds = []
    keeps_data = False
    for volume in spec.get("volumes") or ():
        source, target, *flags = str(volume).split(":")
        keeps_data = keeps_data or "ro" not in flags
        if source.startswith((".", "/")):
            path = source if source.startswith("/") else str(Path(app.folder, source))
            binds.append(Bind(path, target, "ro" in flags))
    check = spec.get("healthcheck") or {}
    return Service(
        name,
        hashlib.sha256(json.dumps(hashed, sort_keys=True, default=str).encode()).hexdigest(),
        str(spec.get("image") or f"{app.name}-{name}"),
        int(spec.get("scale") or (spec.get("deploy") or {}).get("replicas") or 1),
        str(spec.get("restart") or "no"),
        bool(check.get("test")) and not check.get("disable"),
        awaited or "homeport.job" in (spec.get("labels") or {}),
        tuple(binds),
        tuple(
            ("", int(str(port).split(":")[-2]), "tcp") for port in spec.get("ports") or () if ":" in str(port)
        ),
        mode.removeprefix("service:") if mode.startswith("service:") else "",
        keeps_data,
        str(spec.get("container_name") or ""),
        _contents(app, spec, document),
    )


def _contents(app: Present, spec: dict[str, Any], document: dict[str, Any]) -> str:
    given = []
    for kind in ("configs", "secrets"):
        for use in spec.get(kind) or ():
            name = use["source"] if isinstance(use, dict) else use
            source = (document.get(kind) or {}).get(name) or {}
            if "content" in source or "environment" in source:
                given.append((kind, name, source.get("content", app.env.get(source.get("environment", "")))))
    return hashlib.sha256(repr(sorted(given, key=repr)).encode()).hexdigest() if given else ""


def _pairs(depends_on: object) -> dict[str, dict[str, str]]:
    if isinstance(depends_on, dict):
        return depends_on
    return {str(name): {} for name in depends_on} if isinstance(depends_on, list) else {}


def _interpolate(text: str, env: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name, rule, rest, plain = match.groups()
        if name is None and plain is None:
            return "$"
        found = env.get(name or plain, "")
        if not found and rule == "?":
            raise InputInvalid("SourceInvalid", f"required variable {name} is missing a value: {rest}")
        return found or (rest if rule == "-" else "") or ""

    return _VARIABLE.sub(value, text)
