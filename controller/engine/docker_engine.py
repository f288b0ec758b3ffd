"""The `Engine` protocol on a Docker engine: applied by Compose, observed and entered by the SDK.

Each method is one short recipe over the other modules of the room. Nothing here decides: what is to be
applied, restarted or removed is said by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from controller.engine import document as documents
from controller.engine import hostports
from controller.engine import observation as seen
from controller.engine.builds import Steps
from controller.engine.child import Children
from controller.engine.client import Clients
from controller.engine.compose import Compose
from controller.engine.endpoint import Endpoint
from controller.engine.events import Events
from controller.engine.hooks import Hooks
from controller.engine.images import Images
from controller.engine.observation import PROJECT, SERVICE
from controller.engine.own import own_container
from controller.engine.redaction import LINE_LIMIT, last_lines
from controller.engine.rendering import Renderer, WorkFolder
from controller.engine.survey import ListedAll
from controller.model.desired import LEAST_TRUST, Present, Trust
from controller.model.errors import AppError, HomeportError
from controller.model.hostport import clash
from controller.model.observed import EngineEvent, EngineInfo, ExecResult, Observed, Rendered
from controller.model.ports import PULL_DEADLINE, Clock

_BUSY = 5.0
"""Seconds for a sign of life of an engine that has just been kept busy."""
_LOG_TAIL = 50  # of at most 16 KiB each; among so many there are a few that are not empty
_LOG_TAIL_UNTIL = 500  # what started again may have said much already
SECRET_LIMIT = 1 << 16
"""Bytes of a secret's file that are looked for in what a container said."""
_STUCK = re.compile(r"task ([0-9a-f]{64}): already exists")
_NOT_THERE = re.compile(r"No such container: ([0-9a-f]{12,64})", re.IGNORECASE)
_FILES_IN_ROOT = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


class DockerEngine:
    """See `controller.model.ports.Engine`. Safe to be used by several threads; contacts nobody until asked."""

    def __init__(
        self,
        endpoint: Endpoint,
        work_dir: str | Path,
        clock: Clock,
        *,
        compose: Sequence[str] | None = None,
        label_prefix: str = "io.homeport",
        trust: Trust = LEAST_TRUST,
    ) -> None:
        """`work_dir` holds the documents that are applied (0700, files 0600). `compose` is the command that
        is Compose, found if not given. `trust`: what files may ask for. Volumes are labelled `<label_prefix>.managed` and `….app`.
        """
        self._endpoint = endpoint
        self._clock = clock
        self._label_prefix = label_prefix
        self._clients = Clients(endpoint)
        self._children = Children(clock)
        self._compose = Compose(endpoint, self._children, compose, remote=trust.remote_include)
        self._folder = WorkFolder(Path(work_dir))
        self._renderer = Renderer(self._compose, self._folder, clock, trust)
        self._images = Images(self._clients)
        self._hooks = Hooks(endpoint, self._clients, clock)
        self._events = Events(endpoint, self._clients, clock)
        self._clients.on_use = self._events.look_out
        self._own = own_container()

    # ---- what there is ----

    def info(self) -> EngineInfo:
        """Which engine and which Compose; `compose` is "" when there is none that fits. May start a child process."""
        version = self.version()
        compose = ""
        with suppress(AppError):
            compose = self._compose.version()
        return EngineInfo(version, compose)

    def version(self) -> str:
        """Of the engine."""
        answer = self._clients.read("asking for its version", lambda api: api.version())
        return str(answer.get("Version", ""))

    def ping(self) -> None:
        """See `Engine.ping`."""
        self._events.ping()

    def own_project(self) -> str:
        """See `Engine.own_project`."""
        if not self._own:
            return ""
        listed = self._clients.read(
            "looking for ourselves", lambda api: api.containers(all=True, filters={"id": self._own})
        )
        return next((seen.labels_of(c).get(PROJECT, "") for c in listed if c["Id"] == self._own), "")

    def observe(self, app: str, folders: Sequence[str], volumes: Sequence[str]) -> Observed:
        """See `Engine.observe`. One list, one look at each container, and one list of volumes if any asked."""
        inspected, foreign, found = self._clients.read(
            f"observing {app}",
            lambda api: _look(api, app, folders, tuple(volumes), f"{self._label_prefix}.created"),
        )
        return Observed(
            containers=tuple(
                seen.container(one, ended_by_itself=self._events.ended_by_itself(one))
                for one in sorted(inspected, key=lambda one: str(one["Name"]))
            ),
            volumes=found,
            foreign=foreign,
        )

    def survey(self, *, volumes: bool) -> ListedAll:
        """See `Engine.survey`."""
        found: Any = {}
        if volumes:
            found = self._clients.read("listing volumes", lambda api: api.volumes())
        listed = self._list([PROJECT])
        now = self._clock.now().timestamp()
        return ListedAll(listed, found.get("Volumes") or (), f"{self._label_prefix}.created", now)

    def busy_ports(self, ports: Sequence[tuple[str, int, str]], app: str) -> Mapping[int, str]:
        """See `Engine.busy_ports`. Processes are named where /proc may be looked into."""
        if not ports:
            return {}
        containers = self._clients.read("listing containers", lambda api: api.containers())
        names = {str(c["Id"]): _who(c) for c in containers}
        ours = {str(c["Id"]) for c in containers if seen.labels_of(c).get(PROJECT) == app}
        busy: dict[int, str] = {}
        own: set[tuple[int, str]] = set()
        for summary in containers:
            for published in summary.get("Ports") or ():
                port, protocol = published.get("PublicPort"), published.get("Type")
                if not any(clash(wanted, (published.get("IP", ""), port, protocol)) for wanted in ports):
                    continue
                if summary["Id"] in ours:
                    own.add((port, protocol))  # the engine's proxy listens there for us
                else:
                    busy.setdefault(port, names[summary["Id"]])
        if self._endpoint.is_local:
            for listener in hostports.listeners():
                port, protocol = listener.port, listener.protocol
                if port in busy or (port, protocol) in own:
                    continue
                if any(clash(wanted, (listener.address, port, protocol)) for wanted in ports):
                    holder = hostports.holder(listener.inode)
                    if holder is None or holder.container not in ours:
                        busy[port] = _process(holder, names)
        return dict(sorted(busy.items()))

    def missing_images(self, rendered: Rendered) -> tuple[str, ...]:
        """Services whose image is neither here nor built from the app's own files."""
        built = documents.built(rendered.document)
        wanted = {service.image for service in rendered.services if service.name not in built}
        missing = {image for image in sorted(wanted) if not self._images.id_of(image)}
        return tuple(s.name for s in rendered.services if s.name not in built and s.image in missing)

    def image_ids(self, rendered: Rendered) -> Mapping[str, str]:
        """See `Engine.image_ids`."""
        return self._images.ids(rendered)

    def busy_names(self, names: Sequence[str], app: str) -> Mapping[str, str]:
        """See `Engine.busy_names`. A container that does not run holds its name as well."""
        if not names:
            return {}
        return {
            seen.name_of(summary): _who(summary)
            for summary in self._list([])
            if seen.name_of(summary) in names and seen.labels_of(summary).get(PROJECT) != app
        }

    def last_lines(
        self, container: str, rendered: Rendered, lines: int = 3, until: str = ""
    ) -> tuple[str, ...]:
        """See `Engine.last_lines`. Also () when the container's log cannot be read back (log driver `none`)."""
        check, log = self._clients.read(
            "reading a container's log",
            lambda api: (_check_output(api, container), _log(api, container, until)),
        )
        secrets = _secrets(rendered.document, rendered.env)
        said = last_lines(log.decode("utf-8", "replace"), secrets, lines, LINE_LIMIT)
        checked = last_lines(check, secrets, 1, LINE_LIMIT)
        return (*said, *(f"its health check: {line}" for line in checked))[-lines:] if lines > 0 else ()

    def exit_code(self, container: str, finished: str) -> int | None:
        """See `Engine.exit_code`."""
        return self._events.exit_code(container, finished)

    # ---- what files mean ----

    def render(self, app: Present, unchanged: Callable[[], bool] = lambda: True) -> Rendered:
        """See `Engine.render`. One child for a revision that is not known, else none."""
        return self._renderer.render(app, unchanged)

    def differences(self, rendered: Rendered, before: Rendered) -> Mapping[str, str]:
        """See `Engine.differences`."""
        return documents.differences(rendered.document, before.document)

    # ---- changing what runs ----

    def pull(
        self,
        app: Present,
        rendered: Rendered,
        services: Sequence[str],
        tell: Callable[[str], None] = lambda _how_far: None,
    ) -> None:
        """Get the images of these services: pulled, or built anew where they are made of the app's own files.

        `tell` hears how far that has come, whenever the engine says something of it. At most for half an hour each.
        Raises `AppError("PullFailed" | "BuildFailed", …)`.
        """
        text = rendered.document
        built = documents.built(text)
        secrets = _secrets(text, app.env)
        with self._blaming_the_engine(app.name), self._folder.temporary(text) as path:
            if pulled := [s for s in services if s not in built]:
                self._compose.pull(
                    app.name, app.folder, path, pulled,
                    text=text, secrets=secrets, deadline=PULL_DEADLINE, tell=tell,
                )  # fmt: skip
            if made := [s for s in services if s in built]:
                with self._building(app.name, text) as steps:
                    self._compose.build(
                        app.name, app.folder, path, made,
                        text=text, secrets=secrets, deadline=PULL_DEADLINE, hear=steps.hear,
                    )  # fmt: skip

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
        """See `Engine.apply`."""
        due = self._clock.monotonic() + deadline
        wanted = {s: i for s, i in (images or {}).items() if not services or s in services}
        pins = self._images.pins(app, rendered, wanted)
        text = documents.redirected(rendered.document, pins, sources or {}, build=not services)
        secrets = _secrets(text, rendered.env)
        # What was tried last may have come as far as its networks, or not: both it and what ran count.
        earlier = {before for before in (self._folder.ran(app), self._folder.kept(app)) if before}
        changed = {name for before in earlier for name in documents.changed_networks(text, before)}
        self._check_networks(app, changed)
        there = self._list([f"{PROJECT}={app}"])
        _check_ours(app, there, (folder, *folders))
        path = self._folder.keep(app, text)
        left_over = self._remove_leftovers(app, _misnamed(there, folder))

        def up(names: Sequence[str], *, force: bool, build: bool = False) -> tuple[str, ...]:
            left = max(1.0, due - self._clock.monotonic())
            with self._building(app, text) as steps:
                return self._compose.up(
                    app, folder, path, names, text=text, secrets=secrets, force=force, build=build, deadline=left,
                    hear=steps.hear,
                )  # fmt: skip

        with self._blaming_the_engine(app):
            try:
                kept = up(services, force=force, build=not services and not pins)
            except AppError as error:
                stuck = self._stuck(app, folder, str(error))
                if not stuck:
                    raise
                up(stuck, force=True)
                kept = up(services, force=force)
            misnamed = _misnamed(self._list([f"{PROJECT}={app}"]), folder) if left_over else []
            if running := [c for c in misnamed if c.get("State") == "running"]:
                # An earlier `up` was ended after it had started the successor: only a re-creation gives it
                # its name back, and without the name the next `up` would make a second one.
                up(sorted({seen.labels_of(c).get(SERVICE, "") for c in running}), force=True)
        if not services:
            self._folder.note_ran(app, documents.networks(text))
        return kept

    def restart(self, app: str, containers: Sequence[str]) -> None:
        """Stop and start these containers (ids), each within its own stop time."""
        from docker.errors import NotFound

        for one in containers:
            try:
                with self._clients.borrow(f"restarting {app}", "ApplyFailed", missing=True) as api:
                    inspected = api.inspect_container(one)
                    if inspected["State"]["Running"]:
                        api.restart(one, timeout=seen.stop_timeout(inspected))
                    else:
                        api.start(one)
            except NotFound as error:
                raise AppError("ApplyFailed", f"restarting {app}: container {one[:12]} is gone") from error

    def stop(self, app: str, containers: Sequence[str]) -> None:
        """See `Engine.stop`. One after the other, in the order given."""
        from docker.errors import NotFound

        for one in containers:
            with (
                suppress(NotFound),
                self._clients.borrow(f"stopping {app}", "ApplyFailed", missing=True) as api,
            ):
                api.stop(one, timeout=seen.stop_timeout(api.inspect_container(one)))

    def keep_images(self, app: str, ids: Collection[str]) -> None:
        """See `Engine.keep_images`."""
        self._images.keep(app, ids)

    def remove(self, app: str, folders: Sequence[str]) -> None:
        """See `Engine.remove`. Containers of another folder with the same project name are left alone."""
        inspected, foreign, _ = self._clients.read(
            f"observing {app}", lambda api: _look(api, app, folders, (), "")
        )
        networks = self._networks(app)
        if inspected and not foreign and not any(Path("/", name).exists() for name in _FILES_IN_ROOT):
            deadline = 60.0 + sum(seen.stop_timeout(one) for one in inspected)
            with self._blaming_the_engine(app):
                self._compose.down(app, deadline)
        elif inspected or networks:
            # `down` goes by the project's name alone, so ours are taken away one by one.
            self._remove_each(app, inspected)
            self._remove_networks(app, networks)
        self._folder.forget(app)
        self._renderer.forget(app)

    def forget(self, app: str) -> None:
        """See `Engine.forget`."""
        self._renderer.forget(app)

    def ensure_volume(self, name: str, app: str) -> bool:
        """Create the volume when it is absent, labelled with who made it. True when created."""
        from docker.errors import NotFound

        try:
            self._clients.read(
                f"looking for volume {name}", lambda api: api.inspect_volume(name), missing=True
            )
            return False
        except NotFound:
            pass
        labels = {
            f"{self._label_prefix}.managed": "true",
            f"{self._label_prefix}.app": app,
            # The engine's own CreatedAt is the time of the last change in the volume's top folder (20.10), so
            # what tells a new volume from an old one of the same name is said here.
            f"{self._label_prefix}.created": self._clock.now().isoformat(),
        }
        with self._clients.borrow(f"creating volume {name}", "ApplyFailed") as api:
            api.create_volume(name, labels=labels)
        return True

    def remove_volume(self, name: str) -> None:
        """See `Engine.remove_volume`."""
        from docker.errors import NotFound

        users = self._clients.read(
            f"looking who uses volume {name}", lambda api: api.containers(all=True, filters={"volume": name})
        )
        if users:
            raise AppError(
                "VolumeInUse",
                f"volume {name} is used by {', '.join(sorted(_who(user) for user in users))}; "
                "remove that first, for a container keeps its volumes even when it is stopped",
            )
        with (
            suppress(NotFound),
            self._clients.borrow(f"removing volume {name}", "ApplyFailed", missing=True) as api,
        ):
            api.remove_volume(name)

    def exec(self, container: str, script: bytes, env: Mapping[str, str], timeout: float) -> ExecResult:
        """See `Engine.exec`. Raises `AppError("HookFailed", …)` when it could not be started."""
        return self._hooks.run(container, script, env, timeout)

    # ---- what happens ----

    def events(self) -> Iterator[EngineEvent]:
        """See `Engine.events`. Ends when the engine ends it or `close_events` was called; raises
        `EngineUnreachable` when it cannot be had, or the engine is silent and does not say that it lives.
        """
        return self._events.follow()

    def close_events(self) -> None:
        """End all event streams, from any thread and for good: later calls of `events` yield nothing."""
        self._events.close()

    def tidy(self) -> None:
        """Take away what killed processes left in the work folder. To be called before anything else is."""
        self._folder.tidy()

    def interrupt(self, grace: float) -> None:
        """See `Engine.interrupt`. Returns at once; the interrupted calls raise `Interrupted`."""
        self._hooks.interrupt()
        self._children.interrupt(grace)

    def close(self) -> None:
        """Close every connection. Nothing may be asked afterwards."""
        self.close_events()
        self._clients.close()

    # ---- how ----

    def _list(self, labels: Sequence[str]) -> list[Mapping[str, Any]]:
        answer: list[Mapping[str, Any]] = self._clients.read(
            "listing containers", lambda api: api.containers(all=True, filters={"label": list(labels)})
        )
        return answer

    @contextmanager
    def _blaming_the_engine(self, app: str) -> Iterator[None]:
        """A failure of Compose while the engine is away, or of two minds, says nothing of the app."""
        try:
            yield
        except AppError as error:
            self._events.ping(_BUSY)
            self._blame_stale(app, str(error))
            raise

    @contextmanager
    def _building(self, app: str, document: str) -> Iterator[Steps]:
        """Takes away the containers of steps that failed: for a build that is tried again for months they would fill the disk."""
        steps = Steps()
        if not documents.built(document):
            yield steps
            return
        before = {summary["Id"] for summary in self._list([])}
        try:
            yield steps
        except AppError:
            # Whatever comes of it, what is told is why the build failed.
            with suppress(HomeportError):
                self._remove_steps(app, steps.left, before)
            raise

    def _remove_steps(self, app: str, steps: Collection[str], before: Collection[str]) -> None:
        """Of these containers those that are surely of a build that just failed. A step can print what looks like another
        container's id, so that only counts which was not there before, does not run, and was not made by Compose."""
        from docker.errors import NotFound

        for summary in self._list([]) if steps else ():
            identity = summary["Id"]
            if identity[:12] not in steps or identity in before:
                continue
            if seen.FOLDER in seen.labels_of(summary):
                continue
            with (
                suppress(NotFound, AppError),
                self._clients.borrow(f"cleaning up {app}", "ApplyFailed", missing=True) as api,
            ):
                # As the builder does it: with the volumes that have no name and are this container's alone, and without
                # force, so that the engine refuses it for one that runs.
                api.remove_container(identity, v=True)

    def _remove_leftovers(self, app: str, misnamed: Sequence[Mapping[str, Any]]) -> bool:
        """An `up` that was ended left successors that never ran: the next would start and keep them.

        Answers whether there are others, which have run and have not got their names yet.
        """
        from docker.errors import NotFound

        never_ran = [summary for summary in misnamed if summary.get("State") == "created"]
        for summary in never_ran:
            with (
                suppress(NotFound),
                self._clients.borrow(f"cleaning up {app}", "ApplyFailed", missing=True) as api,
            ):
                api.remove_container(summary["Id"], force=True)
        return len(never_ran) < len(misnamed)

    def _stuck(self, app: str, folder: str, words: str) -> list[str]:
        """Services with a container that can never be started again: after a crash of its own the engine (20.10) may
        take its process for running still ("task …: already exists"). Only a re-creation helps."""
        ids = set(_STUCK.findall(words))
        if not ids:
            return []
        listed = self._clients.read(
            f"observing {app}", lambda api: api.containers(all=True, filters={"label": [f"{PROJECT}={app}"]})
        )
        ours = [
            c
            for c in listed
            if c["Id"] in ids and seen.is_in(seen.labels_of(c).get(seen.FOLDER, ""), (folder,))
        ]
        return sorted({seen.labels_of(c).get(SERVICE, "") for c in ours})

    def _blame_stale(self, app: str, words: str) -> None:
        """Say so where it failed over a container that the engine (20.10) lists and does not know: Compose goes by the list,
        so nothing can be done with the project before the engine has forgotten it, which is at its next start."""
        for one in dict.fromkeys(_NOT_THERE.findall(words)):
            listed = next((c for c in self._list([f"{PROJECT}={app}"]) if c["Id"].startswith(one)), None)
            if listed is None or self._is_there(listed["Id"]):
                continue  # it went meanwhile, and the next try does not meet it
            short, service = listed["Id"][:12], seen.labels_of(listed).get(SERVICE, "")
            raise AppError(
                "StaleContainer",
                f"the engine lists container {short} of service {service} and says that there is no such container; until "
                f"it has forgotten it nothing of {app} can be started. Restart the engine (`systemctl restart docker`), if "
                f"`docker rm -f {short}` does not do",
            )

    def _is_there(self, container: str) -> bool:
        from docker.errors import NotFound

        try:
            self._clients.read(
                "observing a container", lambda api: api.inspect_container(container), missing=True
            )
        except NotFound:
            return False
        return True

    def _remove_each(self, app: str, inspected: Sequence[Mapping[str, Any]]) -> None:
        from docker.errors import NotFound

        for one in inspected:
            with (
                suppress(NotFound),
                self._clients.borrow(f"removing {app}", "ApplyFailed", missing=True) as api,
            ):
                api.stop(one["Id"], timeout=seen.stop_timeout(one))
                api.remove_container(one["Id"], force=True)

    def _check_networks(self, app: str, networks: Collection[str]) -> None:
        """A network that is made anew is first taken from under our containers; on which a stranger hangs, it then
        cannot be removed, and our app is down."""
        if not networks:
            return
        strangers = [
            f"{_who(summary)} on network {network}"
            for summary in self._list([])
            for network in ((summary.get("NetworkSettings") or {}).get("Networks") or {})
            if network in networks and seen.labels_of(summary).get(PROJECT) != app
        ]
        if strangers:
            raise AppError(
                "PreflightFailed",
                f"an edited network has to be made anew, and others hang on it: {'; '.join(strangers)}; nothing was "
                "touched. Take them off it: `docker network disconnect NETWORK CONTAINER`",
            )

    def _networks(self, app: str) -> list[str]:
        networks = self._clients.read(
            "listing networks", lambda api: api.networks(filters={"label": [f"{PROJECT}={app}"]})
        )
        return [str(network["Id"]) for network in networks]

    def _remove_networks(self, app: str, networks: Sequence[str]) -> None:
        """Those that no container of the project is meant to be on any more, running or not."""
        from docker.errors import NotFound

        kept = {
            network.get("NetworkID")
            for summary in self._list([f"{PROJECT}={app}"])
            for network in ((summary.get("NetworkSettings") or {}).get("Networks") or {}).values()
        }
        for network in networks:
            if network not in kept:
                # Refused while another project's container is on it; then it is not ours to take.
                with (
                    suppress(NotFound, AppError),
                    self._clients.borrow(f"removing {app}", "ApplyFailed", missing=True) as api,
                ):
                    api.remove_network(network)


def _secrets(document: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """What must not be told of what a container or a build said."""
    return (*documents.secret_values(document, env), *_lines_in(documents.secret_files(document)))


def _lines_in(paths: Sequence[str]) -> list[str]:
    """The lines of these files, as far as they can be read: what a container may print of its secrets."""
    lines: list[str] = []
    for path in (path for path in paths if Path(path).is_file()):  # a pipe would never end
        with suppress(OSError), Path(path).open("rb") as file:
            lines += file.read(SECRET_LIMIT).decode("utf-8", "replace").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _check_ours(app: str, listed: Iterable[Mapping[str, Any]], folders: Sequence[str]) -> None:
    """A project of that name that came since the app was looked at: `up` would take its containers for orphans of ours."""
    foreign = {seen.labels_of(summary).get(seen.FOLDER, "") for summary in listed}
    if theirs := sorted(folder for folder in foreign if not seen.is_in(folder, folders)):
        raise AppError(
            "NameConflict",
            f"a compose project named {app} has come up from {', '.join(theirs) or 'elsewhere'}; nothing was touched",
        )


def _misnamed(listed: Iterable[Mapping[str, Any]], folder: str) -> list[Mapping[str, Any]]:
    return [
        summary
        for summary in listed
        if seen.TEMPORARY.match(seen.name_of(summary))
        and seen.is_in(seen.labels_of(summary).get(seen.FOLDER, ""), (folder,))
    ]


def _look(
    api: Any, app: str, folders: Sequence[str], volumes: Sequence[str], created: str
) -> tuple[list[Mapping[str, Any]], tuple[str, ...], dict[str, str]]:
    """Our containers inspected, the folders of others with that project name, and the volumes that exist.

    `created` is the label that tells a volume from an earlier one of its name.
    """
    from docker.errors import NotFound

    ours: list[Mapping[str, Any]] = []
    foreign: set[str] = set()
    for summary in api.containers(all=True, filters={"label": [f"{PROJECT}={app}"]}):
        folder = seen.labels_of(summary).get(seen.FOLDER, "")
        if not seen.is_in(folder, folders):
            foreign.add(folder or "(no folder)")
            continue
        with suppress(NotFound):  # it went away meanwhile
            ours.append(api.inspect_container(summary["Id"]))
    found: dict[str, str] = {}
    if volumes:
        # The engine's filter finds parts of names as well.
        for volume in api.volumes(filters={"name": list(volumes)}).get("Volumes") or ():
            if volume["Name"] in volumes:
                found[volume["Name"]] = str((volume.get("Labels") or {}).get(created, ""))
    return ours, tuple(sorted(foreign)), found


def _check_output(api: Any, container: str) -> str:
    """What the last health check of an unhealthy container printed."""
    from docker.errors import NotFound

    try:
        health = api.inspect_container(container)["State"].get("Health") or {}
    except NotFound:
        return ""
    looks = health.get("Log") or []
    return str(looks[-1].get("Output") or "") if looks and health.get("Status") == "unhealthy" else ""


def _log(api: Any, container: str, until: str) -> bytes:
    from docker.errors import APIError

    # Of the last lines the engine drops those that were written later, and a line is stamped a moment after it was written.
    tail, before = (_LOG_TAIL_UNTIL, seen.seconds(until) + 0.1) if until else (_LOG_TAIL, None)
    try:
        return bytes(api.logs(container, stdout=True, stderr=True, tail=tail, until=before))
    except APIError:
        return b""  # it is gone, or its log driver gives nothing back


def _who(summary: Mapping[str, Any]) -> str:
    project = seen.labels_of(summary).get(PROJECT)
    name = seen.name_of(summary)
    return f"app {project} (container {name})" if project else f"container {name}"


def _process(holder: hostports.Holder | None, containers: Mapping[str, str]) -> str:
    if holder is None:
        return "a process of this machine"
    return containers.get(holder.container) or f"process {holder.name} (pid {holder.pid})"
