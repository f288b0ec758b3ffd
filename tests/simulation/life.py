"""Plays a history on a world and judges its end: what the final tree alone demands, whatever happened before.

The judge is a second controller that sees only the final tree, on an empty engine and an empty state.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from controller.model.errors import AppError, EngineUnreachable, HomeportError
from controller.model.facts import APPROVED, REMOVE, RESTART, ROLLBACK, STOPPED, SUSPENDED, UPDATE
from controller.model.observed import Bind, ExecResult, Service
from controller.status.summary import last_word
from fakes.tree import Folder
from fakes.world import INSTALL, START
from simulation.history import APPS, PROVIDERS, REQUIRES, Step
from simulation.watch import Forbidden, Watch
from simulation.world import Killed, SimulatedWorld

WISHES = (SUSPENDED, STOPPED, RESTART, UPDATE, ROLLBACK, REMOVE)
PATIENCE = 120.0
"""Seconds of the world's time in which everything that can come to rest has done so."""


@dataclass(frozen=True)
class Version:
    """What a person wrote into an app's folder."""

    services: tuple[Service, ...]
    mounted: bytes
    note: str
    requires: tuple[str, ...]


@dataclass
class App:
    """One app as people see it: all its versions, the one on disk last, and its folder while it is elsewhere."""

    versions: list[Version] = field(default_factory=list)
    aside: tuple[Folder, Any] | None = None
    """With what its files mean: another folder of its name may have come and gone meanwhile."""


class Life:
    """A world and the people in it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = SimulatedWorld()
        self.watch = self.world.watch = Watch(self.world)
        self.chance = Random(seed)
        self.apps = {name: App() for name in APPS}
        self.count = 0
        self.bad_hooks: dict[str, int] = {}
        self.lose_events = self.double_events = False
        self.world.engine.scripts = {INSTALL: self._on_install, START: self._on_start}
        for name in APPS[:5]:
            self.edit(name, self.chance)

    # -- playing ----------------------------------------------------------------------------------------

    def play(self, steps: Sequence[Step]) -> None:
        """Let it all happen, then judge. Raises `Forbidden`. Most lives begin with apps that have run for a while."""
        if self.seed % 4:
            self._rest()
            self.world.clock.advance(PATIENCE)
            self._rest()
        for step in steps:
            chance = Random(step.seed)
            self._work(chance.randrange(15), chance)
            getattr(self, step.kind)(step.app, chance)
            self.watch.happened()
        self._calm()
        self._nobody_is_left_down()
        self._judge()

    def _work(self, steps: int, chance: Random) -> None:
        for _ in range(steps):
            try:
                if not self.world.step(chance):
                    return
            except Killed:
                self.world.crash()

    def _rest(self) -> None:
        for _ in range(5):
            try:
                self.world.until_quiet(self.chance, limit=PATIENCE)
            except Killed:
                self.world.crash()
            else:
                return

    # -- people and their files ---------------------------------------------------------------------------

    def edit(self, name: str, chance: Random) -> None:
        self._write(name, self._version(name, chance, good=True))

    def spoil(self, name: str, chance: Random) -> None:
        self._write(name, self._version(name, chance, good=False))

    def revert(self, name: str, chance: Random) -> None:
        if self.apps[name].versions:
            self._write(name, chance.choice(self.apps[name].versions))

    def touch_manifest(self, name: str, _chance: Random) -> None:
        self._change(name, note=f"note {self._number()}")

    def grow(self, name: str, chance: Random) -> None:
        versions = self.apps[name].versions
        if versions:
            main = versions[-1].services[0]
            self._change(
                name, services=(main, self._service(name, f"side{chance.randrange(2)}", chance, good=True))
            )

    def shrink(self, name: str, _chance: Random) -> None:
        versions = self.apps[name].versions
        if versions:
            self._change(name, services=versions[-1].services[:1])

    def mount(self, name: str, _chance: Random) -> None:
        self._change(name, mounted=f"conf {self._number()}".encode())

    def require(self, name: str, chance: Random) -> None:
        if name in REQUIRES:
            self._change(name, requires=chance.choice([(), REQUIRES[name]]))

    def break_files(self, name: str, _chance: Random) -> None:
        self._damage(name, "is no JSON")

    def half_copy(self, name: str, _chance: Random) -> None:
        self._damage(name, "docker-compose.yaml is not there yet")

    def _damage(self, name: str, why: str) -> None:
        folder = self.world.tree.folders.get(name)
        if folder is not None:
            folder.broken, folder.changed_at = f"{why} {self._number()}", self.world.clock.monotonic()
            self._noticed(name)

    def set_env(self, name: str, _chance: Random) -> None:
        folder = self.world.tree.folders.get(name)
        if folder is not None:
            secret = f"s3cr3t-{name}-{self._number()}"
            self.watch.secrets.add(secret)
            folder.env = {**(folder.env or folder.example), "TITLE": secret}
            self._noticed(name)

    def blank(self, name: str, _chance: Random) -> None:
        folder = self.world.tree.folders.get(name)
        if folder is not None:
            folder.env = {**(folder.env or folder.example), "TITLE": "changeme"}
            self._noticed(name)

    def drop_in(self, name: str, chance: Random) -> None:
        if name not in self.world.tree.folders:
            self.apps[name] = App()
            self.edit(name, chance)

    def take_out(self, name: str, _chance: Random) -> None:
        folder = self.world.tree.folders.pop(name, None)
        if folder is not None:
            self.apps[name].aside = folder, self.world.engine.models[name]
            self._noticed(name)

    def put_back(self, name: str, _chance: Random) -> None:
        app = self.apps[name]
        if app.aside is not None and name not in self.world.tree.folders:
            folder, self.world.engine.models[name] = app.aside
            self.world.tree.put(folder)
            app.aside = None
            self._noticed(name)

    def rename(self, name: str, chance: Random) -> None:
        """To a name that nobody has, the manifest's name with it."""
        free = [n for n in APPS if n not in self.world.tree.folders and n not in REQUIRES]
        old = self.world.tree.folders.get(name)
        if old is None or not free or name in {*PROVIDERS, *REQUIRES} or not self.apps[name].versions:
            return
        new = chance.choice(free)
        del self.world.tree.folders[name]
        last = self.apps[name].versions[-1]
        port = ("", 8080 + APPS.index(new), "tcp")
        self.apps[new] = App(
            [replace(last, services=(replace(last.services[0], ports=(port,)), *last.services[1:]))]
        )
        self._write(new, self.apps[new].versions[-1])
        folder = self.world.tree.folders[new]
        folder.env, folder.identity = old.env, old.identity
        self._noticed(name)

    def take_many(self, name: str, chance: Random) -> None:
        for other in chance.sample(APPS, chance.randrange(2, len(APPS) + 1)):
            self.take_out(other, chance)

    # -- what people say ------------------------------------------------------------------------------------

    def suspend(self, name: str, _chance: Random) -> None:
        self._say(SUSPENDED, name)

    def stop(self, name: str, _chance: Random) -> None:
        self._say(STOPPED, name)

    def restart(self, name: str, _chance: Random) -> None:
        self._say(RESTART, name)

    def update(self, name: str, _chance: Random) -> None:
        self._say(UPDATE, name)

    def rollback(self, name: str, _chance: Random) -> None:
        self._say(ROLLBACK, name, "")

    def remove(self, name: str, _chance: Random) -> None:
        self._say(REMOVE, name)

    def unwish(self, name: str, _chance: Random) -> None:
        for fact in (SUSPENDED, STOPPED):
            self.world.store.put(fact + name, None)
        self._asked(name)

    def approve(self, _name: str, _chance: Random) -> None:
        for record in self.world.store.records():
            if last_word(record) == "Held":
                self.world.store.put(APPROVED + record.name, "1")
                self._asked(record.name)

    def _say(self, fact: str, name: str, value: str = "now") -> None:
        if self.world.store.record(name) is not None:  # a command refuses an app that is not known
            self.world.store.put(fact + name, value)
            self._asked(name)

    def _asked(self, name: str) -> None:
        self.world.memory.requests.note(name)
        self._queue(name)

    # -- containers -------------------------------------------------------------------------------------------

    def kill(self, name: str, _chance: Random) -> None:
        if self._runs(name):
            self.world.engine.kill(name, "main")
            self._engine_event(name)

    def crash_container(self, name: str, chance: Random) -> None:
        if self._runs(name):
            self.world.engine.crash(name, "main", code=chance.choice([1, 137, 143]))
            self._engine_event(name)

    def take_container(self, name: str, _chance: Random) -> None:
        if self._runs(name):
            self.world.engine.remove_container(name, "main")
            self._engine_event(name)

    def sicken(self, name: str, _chance: Random) -> None:
        if self._runs(name):
            self.world.engine.set_health(name, "main", "unhealthy")
            self._engine_event(name)

    def leave_wreckage(self, name: str, chance: Random) -> None:
        if self._runs(name):
            self.world.engine.plant_leftover(name, "main", chance.choice(["created", "running"]))

    def scale_by_hand(self, name: str, _chance: Random) -> None:
        if self._runs(name):
            self.world.engine.plant_surplus(name, "main")
            self._engine_event(name)

    def _runs(self, name: str) -> bool:
        return self.world.lying.has(name, "main")

    # -- the engine -------------------------------------------------------------------------------------------

    def engine_down(self, _name: str, _chance: Random) -> None:
        self.world.engine.down()
        self.world.connect()

    def engine_up(self, _name: str, chance: Random) -> None:
        if not self.world.engine.reachable:
            self.world.engine.up(restarted=chance.random() < 0.5 and not self.watch.bystanders)
            self.world.connect()

    def lose_disk(self, _name: str, _chance: Random) -> None:
        """The engine is started without its disk: it answers, and has nothing of ours."""
        world = self.world
        if world.disk is not None or not any(r.target and r.volumes for r in world.store.records()):
            return
        world.engine.down()
        world.connect()
        world.disk = world.lying.take_disk()
        world.engine.up()
        world.connect()

    def find_disk(self, _name: str, _chance: Random) -> None:
        world = self.world
        if world.disk is not None:
            world.engine.down()
            world.connect()
            world.lying.put_disk(world.disk)
            world.disk = None
            world.engine.up()
            world.connect()

    def new_engine(self, _name: str, _chance: Random) -> None:
        """A person says that all of the old one is gone. A command refuses it when it is not, or when what was under way
        does not end."""
        world = self.world
        if world.disk is None or not world.engine.reachable:
            return

        def outlast() -> bool:
            self._work(200, Random(0))
            return not world.running

        try:
            world.known.take(outlast)
        except HomeportError:
            return
        world.disk, world.lying.diskless = None, False
        self.watch.forget_engine()
        world.resync()

    def engine_error(self, name: str, chance: Random) -> None:
        verb = chance.choice(
            [
                "observe",
                "render",
                "apply",
                "create",
                "restart",
                "stop",
                "remove",
                "pull",
                "ensure_volume",
                "keep_images",
            ]
        )
        error = chance.choice(
            [AppError("ApplyFailed", "the engine says no"), EngineUnreachable("it is gone for a moment")]
        )
        self.world.engine.fail(verb, name, error, times=chance.randrange(1, 4))

    def hang(self, name: str, chance: Random) -> None:
        if name in self.world.running:
            self.world.stuck[name] = self.world.clock.monotonic() + chance.choice([1.0, 20.0, 90.0])

    def stale_list(self, name: str, _chance: Random) -> None:
        self.world.lying.stale.add(name)

    def lost_events(self, _name: str, _chance: Random) -> None:
        self.lose_events = True

    def doubled_events(self, _name: str, _chance: Random) -> None:
        self.double_events = True

    def no_image(self, name: str, _chance: Random) -> None:
        self.world.engine.absent_images.add(f"image:{name}")
        self.world.engine.unpullable.add(f"image:{name}")

    def move_tag(self, name: str, _chance: Random) -> None:
        if f"image:{name}" not in self.world.engine.absent_images:
            self.world.engine.move_tag(f"image:{name}", f"sha256:moved{self._number()}")

    def take_port(self, _name: str, chance: Random) -> None:
        self.world.engine.ports[8080 + chance.randrange(len(APPS))] = "somebody's web server"

    def bad_hook(self, name: str, chance: Random) -> None:
        self.bad_hooks[name] = chance.randrange(1, 5)

    def foreign(self, name: str, _chance: Random) -> None:
        if (
            self.world.disk is None
            and not self.world.lying.of(name)
            and self.world.store.record(name) is None
        ):
            self.world.engine.plant_foreign(name, "/srv/elsewhere")
            self.watch.bystanders.update({c.id: name for c in self.world.lying.of(name)})

    def _on_install(self, env: object, _container: object) -> bytes | ExecResult:
        app = env["FURTKA_CONSUMER_APP"]  # type: ignore[index]
        if self._hook_fails(app):
            return ExecResult(1, b"DB_USER=half")
        secret = f"s3cr3t-hook-{app}"
        self.watch.secrets.add(secret)
        return f"DB_USER={secret}\n".encode()

    def _on_start(self, env: object, _container: object) -> bytes | ExecResult:
        return ExecResult(1, b"") if self._hook_fails(env["FURTKA_CONSUMER_APP"]) else b""  # type: ignore[index]

    def _hook_fails(self, app: str) -> bool:
        left = self.bad_hooks.get(app, 0)
        self.bad_hooks[app] = max(0, left - 1)
        return left > 0

    # -- the tree and the state ---------------------------------------------------------------------------------

    def lose_tree(self, _name: str, _chance: Random) -> None:
        self.world.tree.lost = "its marker is not there"

    def find_tree(self, _name: str, _chance: Random) -> None:
        if self.world.tree.lost:
            self.world.tree.lost = ""
            self.world.resync()

    def lock_folder(self, name: str, _chance: Random) -> None:
        self.world.tree.unreadable ^= {name}

    def store_error(self, _name: str, chance: Random) -> None:
        assert self.world.flaky is not None
        self.world.flaky.failures = chance.randrange(1, 6)

    def set_clock(self, _name: str, chance: Random) -> None:
        self.world.clock.offset += chance.choice([-86400.0, -3600.0, 3600.0, 31536000.0])

    # -- the process --------------------------------------------------------------------------------------------

    def crash(self, _name: str, _chance: Random) -> None:
        self.world.crash()

    def crash_in_call(self, _name: str, chance: Random) -> None:
        self.world.lying.cut_after = chance.randrange(1, 5)

    def wait(self, _name: str, chance: Random) -> None:
        for _ in range(chance.randrange(1, 4)):
            self._work(chance.randrange(80), chance)
            self.world.clock.advance(chance.choice([0.1, 1.0, 5.0, 30.0, 300.0]))
            self._engine_moves()

    def _engine_moves(self) -> None:
        if self.lose_events:
            self.world.engine.settle()  # and nobody hears of it
            self.lose_events = False
            return
        self.world.engine_moves()
        if self.double_events:
            self.double_events = False
            for name in self.world.tree.folders:
                self._queue(name)

    def _engine_event(self, name: str) -> None:
        if not self.lose_events:
            self._queue(name)
        self.lose_events = False

    # -- the end ------------------------------------------------------------------------------------------------

    def _calm(self) -> None:
        """All faults are over; what people said and wrote stays."""
        engine, tree = self.world.lying, self.world.tree
        engine.cut_after = None
        engine.absent_images.clear()
        engine.unpullable.clear()
        engine.ports.clear()
        engine.clear_failures()
        engine.stale.clear()
        self.find_disk("", self.chance)
        engine.up()
        engine.recover()
        self.world.connect()
        tree.lost = ""
        tree.unreadable.clear()
        self.bad_hooks.clear()
        self.lose_events = False
        self.world.flaky.failures = 0  # type: ignore[union-attr]
        self._look_at_everything()

    def _look_at_everything(self) -> None:
        """As the resync does, twice: what had to be stable first is so at the second."""
        for _ in range(2):
            self.world.resync()
            self._rest()
            self.world.clock.advance(PATIENCE)
            self.world.engine_moves()
        self._rest()
        self.watch.happened()
        self.watch.at_rest()

    def _nobody_is_left_down(self) -> None:
        """I3: what was good once runs, unless a person wanted it otherwise or what it needs is away."""
        for name in self.world.tree.folders:
            record = self.world.store.record(name)
            if record is None or not any(target.good for target in record.applied):
                continue
            if self._is_held(name):
                continue
            given = self._is_given(name)
            if given and "main" not in self.world.running_services(name):
                raise Forbidden(f"I3: {name} was good once and is down: {self.world.message(name)}")

    def _is_given(self, name: str) -> bool:
        """Whether all that it needs is there, down to the root, and held by nobody: a provider whose folder is gone runs
        on and has no scripts for hooks, and one that is held is not mended."""
        record = self.world.store.record(name)
        if record is None:
            return True
        return all(
            n in self.world.tree.folders
            and not self._is_held(n)
            and self.world.is_available(n)
            and self._is_given(n)
            for n in record.needs
        )

    def _is_held(self, name: str) -> bool:
        return any(self.world.store.get(fact + name) for fact in (STOPPED, SUSPENDED))

    def _judge(self) -> None:
        """People take back what they said of apps; then only the final tree counts."""
        for record in self.world.store.records():
            for fact in WISHES:
                self.world.store.put(fact + record.name, None)
            if record.name not in self.world.tree.folders:
                self.world.store.put(APPROVED + record.name, "1")
            self.world.memory.requests.note(record.name, lift=True)
            self.world.backoffs.forget(record.name)
        self._look_at_everything()
        with self._judge_world() as fresh:
            fresh.until_quiet(Random(0), limit=PATIENCE)
            fresh.clock.advance(PATIENCE)
            fresh.engine_moves()
            fresh.until_quiet(Random(0), limit=PATIENCE)
            for name in APPS:
                self._compare(name, fresh)
        changes, children = len(self.world.engine.mutations), self.world.engine.children
        records = self.world.store.records()
        if any(last_word(record) != "Ready" for record in records):
            return
        self.world.resync()
        self.world.rest(self.chance)
        if (len(self.world.engine.mutations), self.world.engine.children) != (changes, children):
            raise Forbidden(f"I10: a look at nothing new did {self.world.engine.mutations[changes:]}")
        if self.world.store.records() != records:
            raise Forbidden("I10: a look at nothing new wrote something")

    def _judge_world(self) -> SimulatedWorld:
        """A second controller: the same tree, the same images; an empty engine, no past."""
        fresh = SimulatedWorld()
        fresh.engine.scripts = self.world.engine.scripts
        fresh.lying.know_as(self.world.lying)
        for name in APPS:
            if any(app == name for app in self.watch.bystanders.values()):
                fresh.engine.plant_foreign(name, "/srv/elsewhere")
        for folder in self.world.tree.folders.values():
            fresh.tree.put(copy.deepcopy(folder))
        fresh.resync()
        return fresh

    def _compare(self, name: str, fresh: SimulatedWorld) -> None:
        word, wanted = self.world.word(name), fresh.word(name)
        if name not in self.world.tree.folders:
            if word not in ("", "RemovalBlocked") or (word == "" and self.world.lying.ours(name)):
                raise Forbidden(f"{name} has no folder and is {word or 'running'}")
            return
        if wanted in ("Ready", "Invalid", "NeedsConfiguration") and word != wanted:
            raise Forbidden(f"I9: {name} is {word} ({self.world.message(name)}), and should be {wanted}")
        if wanted == "Ready":
            runs, should = self.world.lying.shape(name), fresh.lying.shape(name)
            if runs != should:
                raise Forbidden(f"I9: {name} runs {runs}, and should run {should}")

    # -- helpers ------------------------------------------------------------------------------------------------

    def _number(self) -> int:
        self.count += 1
        return self.count

    def _service(self, app: str, name: str, chance: Random, *, good: bool) -> Service:
        config_hash = f"{'good' if good else 'bad'}-{self._number()}"
        if not good:
            self.world.engine.hash_behaviour[config_hash] = chance.choice(["crash", "unhealthy", "hang"])  # type: ignore[assignment]
        binds = (Bind(f"/apps/{app}/conf", "/conf", True),) if name == "main" else ()
        port = 8080 + APPS.index(app)
        return Service(
            name, config_hash, f"image:{app}", restart=chance.choice(["no", "always"]), binds=binds, has_healthcheck=True,
            ports=(("", port, "tcp"),) if name == "main" else (),
        )  # fmt: skip

    def _version(self, app: str, chance: Random, *, good: bool) -> Version:
        old = self.apps[app].versions[-1] if self.apps[app].versions else None
        service = self._service(app, "main", chance, good=good)
        if old is None:
            return Version((service,), b"conf 0", "", REQUIRES.get(app, ()))
        return replace(old, services=(service, *old.services[1:]))

    def _change(self, name: str, **fields: object) -> None:
        if self.apps[name].versions:
            self._write(name, replace(self.apps[name].versions[-1], **fields))  # type: ignore[arg-type]

    def _write(self, name: str, version: Version) -> None:
        """A person saves this version; a folder that is not there is made."""
        before = self.world.tree.folders.get(name)
        self.apps[name].versions.append(version)
        needs = ("DB_USER",) if version.requires else ()
        folder = self.world.put(
            name, *version.services, needs=needs, requires=version.requires, exec_service="main", version=f"1.0 {version.note}".strip(),
            volumes=["data"], example={"TITLE": "hello"},
        )  # fmt: skip
        folder.mounted = {"conf": version.mounted}
        if before is not None:
            folder.env, folder.identity = before.env, before.identity

    def _noticed(self, name: str) -> None:
        self._queue(name)

    def _queue(self, name: str) -> None:
        self.world.queue.add(name, self.world.clock.monotonic())


def play(seed: int, steps: Sequence[Step]) -> str:
    """What went wrong in this history, or ""."""
    life = Life(seed)
    try:
        life.play(steps)
    except (Forbidden, AssertionError) as error:
        return f"{error}"
    finally:
        life.world.close()
    return ""
