"""Random lives: edits good and bad, wishes, deaths and crashes in a seeded order; the end is the final tree's.

`HOMEPORT_TEST_SEED` chooses one history. The engine here is in memory; the same on a real one is in `tests/e2e`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest

from controller.model.facts import RESTART, ROLLBACK, STOPPED, SUSPENDED, UPDATE
from controller.model.observed import Bind, Service
from controller.reconciler import Policy
from fakes.world import World

SEEDS = [int(os.environ["HOMEPORT_TEST_SEED"])] if "HOMEPORT_TEST_SEED" in os.environ else range(60)
WISHES = (STOPPED, SUSPENDED, RESTART, UPDATE, ROLLBACK)


@dataclass
class Life:
    """A world, and what its final tree says."""

    world: World
    chance: Random
    apps: list[str]
    services: dict[str, list[Service]] = field(default_factory=dict)
    mounted: dict[str, bytes] = field(default_factory=dict)
    count: int = 0

    def begin(self) -> None:
        for app in self.apps:
            self.services[app] = [self._service(app, "main", good=True)]
            self.mounted[app] = b"conf 0"
            self.write(app)

    def _service(self, app: str, name: str, *, good: bool) -> Service:
        self.count += 1
        config_hash = f"{'good' if good else 'bad'}-{self.count}"
        if not good:
            self.world.engine.hash_behaviour[config_hash] = self.chance.choice(["crash", "unhealthy"])  # type: ignore[assignment]
        binds = (Bind(f"/apps/{app}/conf", "/conf", True),) if name == "main" else ()
        restart = self.chance.choice(["no", "always"])
        return Service(name, config_hash, "image:1", restart=restart, binds=binds, has_healthcheck=True)

    def write(self, app: str) -> None:
        before = self.world.tree.folders.get(app)
        requires = (self.apps[0],) if app == self.apps[1] else ()
        folder = self.world.put(app, *self.services[app], requires=requires, exec_service="main")
        folder.mounted = {"conf": self.mounted[app]}
        if before is not None:
            folder.env, folder.identity = before.env, before.identity

    # -- what happens -----------------------------------------------------------------------------------

    def happen(self) -> None:
        app = self.chance.choice(self.apps)
        kind = self.chance.choice(
            [self.edit, self.edit, self.spoil, self.break_files, self.grow, self.shrink, self.mount, self.kill, self.wish,
             self.unwish, self.wait, self.wait, self.crash, self.take_out]
        )  # fmt: skip
        kind(app)

    def edit(self, app: str) -> None:
        self.services[app][0] = self._service(app, "main", good=True)
        self.write(app)

    def spoil(self, app: str) -> None:
        self.services[app][0] = self._service(app, "main", good=False)
        self.write(app)

    def break_files(self, app: str) -> None:
        self.write(app)
        self.world.tree.folders[app].broken = "is no JSON"

    def grow(self, app: str) -> None:
        self.services[app] = [self.services[app][0], self._service(app, "side", good=True)]
        self.write(app)

    def shrink(self, app: str) -> None:
        self.services[app] = self.services[app][:1]
        self.write(app)

    def mount(self, app: str) -> None:
        self.count += 1
        self.mounted[app] = f"conf {self.count}".encode()
        self.write(app)

    def kill(self, app: str) -> None:
        if "main" in self.world.running_services(app):
            self.world.engine.kill(app, "main")
            self.world.queue.add(app, self.world.clock.monotonic())

    def wish(self, app: str) -> None:
        fact = self.chance.choice(WISHES)
        self.world.store.put(fact + app, "" if fact == ROLLBACK else "now")
        self.world.memory.requests.note(app)
        self.world.queue.add(app, self.world.clock.monotonic())

    def unwish(self, app: str) -> None:
        for fact in (STOPPED, SUSPENDED):
            self.world.store.put(fact + app, None)
        self.world.queue.add(app, self.world.clock.monotonic())

    def wait(self, _app: str) -> None:
        for _ in range(self.chance.randrange(60)):
            if not self.world.step(self.chance):
                break
        self.world.clock.advance(self.chance.choice([0.1, 1.0, 5.0, 30.0]))
        self.world.engine_moves()

    def crash(self, _app: str) -> None:
        for _ in range(self.chance.randrange(20)):
            self.world.step(self.chance)
        self.world.crash()

    def take_out(self, app: str) -> None:
        folder = self.world.tree.folders.pop(app, None)
        if folder is None:
            return
        self.world.queue.add(app, self.world.clock.monotonic())
        self.wait(app)
        if app in self.world.tree.folders:
            return
        self.world.tree.put(folder)
        if self.world.store.record(app) is None:
            folder.env = None
        self.world.queue.add(app, self.world.clock.monotonic())

    # -- in the middle ------------------------------------------------------------------------------------

    def fallen(self) -> list[str]:
        """At a quiet moment: the apps that do not run although they should. What was good once, no edit takes down."""
        self.world.until_quiet(self.chance, limit=900)
        self.world.engine_moves()  # what was started last is healthy now
        self.world.until_quiet(self.chance, limit=900)
        fine = {app for app in self.apps if self.is_fine(app)}
        found = []
        for app in self.apps:
            record = self.world.store.record(app)
            if record is None or record.target is None or app not in self.world.tree.folders:
                continue
            was_good = any(target.good for target in (record.target, *record.history))
            by_wish = any(self.world.store.get(fact + app) for fact in (STOPPED, SUSPENDED))
            provided = fine.issuperset((*record.requires, *record.target.requires))
            if was_good and not by_wish and provided and "main" not in self.world.running_services(app):
                found.append(f"{app} is {self.world.word(app)}: {self.world.message(app)}")
        return found

    def is_fine(self, app: str) -> bool:
        containers = self.world.engine.observe(app, (f"/apps/{app}",), ()).containers
        return bool(containers) and all((c.state, c.health) == ("running", "healthy") for c in containers)

    # -- the end ----------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The last word of each app is a good one, and nobody wants anything else."""
        for app in self.apps:
            for fact in WISHES:
                self.world.store.put(fact + app, None)
            self.services[app] = [self._service(app, s.name, good=True) for s in self.services[app]]
            self.write(app)
        self.world.resync()
        self.world.until_quiet(self.chance, limit=7200)

    def differences(self) -> list[str]:
        found = []
        for app in self.apps:
            containers = self.world.engine.observe(app, (f"/apps/{app}",), ()).containers
            runs = sorted((c.service, c.config_hash, c.state) for c in containers)
            wanted = sorted((s.name, s.config_hash, "running") for s in self.services[app])
            record = self.world.record(app)
            mounts = record.target.services["main"].mounts if record.target else {}
            folder = self.world.tree.load(app)
            if runs != wanted:
                found.append(f"{app} runs {runs}, wanted {wanted}")
            if self.world.word(app) != "Ready":
                found.append(f"{app} is {self.world.word(app)}: {self.world.message(app)}")
            if mounts != getattr(folder, "mounted", None):
                found.append(f"{app} mounts {mounts}, wanted {getattr(folder, 'mounted', None)}")
        return found


@pytest.fixture
def world() -> Iterator[World]:
    with World(
        Policy(settle=0.1, settle_new=0.2, removal_settle=1.0, stable_after=2.0, health_timeout=20.0)
    ) as made:
        yield made


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_life_ends_as_the_final_tree_says(world: World, seed: int) -> None:
    life = Life(world, Random(seed), [f"app{n}" for n in range(5)])
    life.begin()
    for _ in range(2):
        for _ in range(40):
            life.happen()
        assert life.fallen() == [], f"HOMEPORT_TEST_SEED={seed}"
    life.finish()
    assert life.differences() == [], f"HOMEPORT_TEST_SEED={seed}"


def test_a_thousand_edits_over_twenty_apps_end_as_the_final_tree_says(world: World) -> None:
    life = Life(world, Random(1), [f"app{n:02}" for n in range(20)])
    life.begin()
    for _ in range(1000):
        life.happen()
    life.finish()
    assert life.differences() == []
