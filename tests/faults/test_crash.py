"""The service is killed after each step of an app's whole life in turn, and every time the life goes on alike.

What a step is, and how the service is ended at it, is `rig.cutting`'s. No step is named here: each life is cut off at the
n-th step of every stage, and the life that is never cut off shows that no stage has more.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.api.client import ApiClient, ServiceUnreachable
from controller.control.verbs import Remove, Rollback, Start, Stop, Wish
from controller.model import effects as fx
from controller.model.record import Record
from controller.status.store import SqliteStore
from controller.status.summary import last_word
from rig.cleanup import EngineCleanup
from rig.cutting import READS, CutHome, every_effect
from rig.engine import api
from rig.pair import INSTALL, PROVIDER, hook_processes, in_provider, put_consumer, put_provider
from rig.service import Home
from rig.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.fault("E01")]

HOOKS = ("install", "update", "start", "remove")
SCRIPTS = {
    "install": 'echo "DB_USER=$FURTKA_CONSUMER_APP"\necho "DB_PASSWORD=pw"\n',
    "update": 'echo "SCHEMA=$FURTKA_CONSUMER_VERSION"\n',
}
NOTED = "echo $FURTKA_CONSUMER_APP >> /data/{}\nsleep 0.2\n"  # long enough to be cut off in its middle

CONSUMER = """\
services:
  main:
    image: homeport/sample:1
    command: {command}
    init: true
    network_mode: none
    stop_grace_period: 0s
    environment: {{USER_: "${{DB_USER:?}}", SCHEMA_: "${{SCHEMA:-none}}", TITLE_: "${{TITLE}}", EDIT: "{edit}"}}
    volumes: ["own:/own", "./app.conf:/app.conf:ro"]
volumes: {{own: }}
"""
SLEEP = '["sleep", "100000"]'
# The check keeps it from being taken for stable where a busy engine tells of its end a second late.
CRASH = '["sh", "-c", "exit 3"]\n    healthcheck: {test: ["CMD", "false"], interval: 60s}'
NEVER = 10**6


@dataclass(frozen=True)
class Most:
    """How many steps a stage has at most: one of the first `LONG`, and one of the others."""

    long: int
    short: int


LONG = 6
COARSE, FINE = Most(36, 22), Most(240, 170)
STRIDE, SEED = 4, int(os.environ.get("HOMEPORT_TEST_SEED", "0"))
"""Of all effects, reads too, every fourth is tried; four seeds try all."""
AGAIN, MEND = "another is installed", "an edit mends it"
"""The same as other stages, and so not cut off."""
TEMPORARY = re.compile(r"^\.|\.new$|\.tmp$|~$")
# No quiet periods: how many looks fall into one is chance, and every life shall take the same steps.
QUICKER = {"settle": "0", "settle-new": "0", "removal-settle": "0.3", "stable-after": "1", "workers": "1"}


@dataclass(frozen=True)
class Then:
    """What is there after a stage: of each app, and how often hooks have run by then when nothing is cut off."""

    apps: dict[str, tuple[str, int]]
    """Word and generation."""
    hooks: dict[str, int]
    edit: int | None = None
    """Of `one`: the edit that runs; None: there is no `one`."""
    schema: str = "none"
    """Of `one`: what the last on_update gave."""


class Life:
    """A provider, two consumers of it, and one that has nothing to do with them."""

    def __init__(self, home: CutHome) -> None:
        self.home = home
        home.settings.update(QUICKER)
        self.client = ApiClient(home.state / "homeport.sock")
        self.cuts: dict[str, str] = {}
        """Stage to the step at which it was cut off."""
        self.counts: dict[str, int] = {}
        """Stage to its number of steps, where it was not cut off."""
        self.tokens: set[str] = set()
        self.seen: set[str] = set()
        """Words of all steps."""

    def begin(self) -> None:
        self.home.put("by")
        self.home.start()
        self.home.wait("by", "Ready")

    def stages(self) -> Iterator[tuple[str, Callable[[], None], Then]]:
        """Name, what a person does, and what is there then. The long ones come first."""
        apps = {"by": ("Ready", 1), "db": ("Ready", 1)}
        yield "a provider is installed", self.put_provider, Then(apps, {})
        apps |= {"one": ("Ready", 1)}
        yield "a consumer is installed", lambda: self.put_consumer("one"), Then(apps, hooks(1, 0, 1, 0), 0)
        apps |= {"two": ("Ready", 1)}
        yield AGAIN, lambda: self.put_consumer("two"), Then(apps, hooks(2, 0, 2, 0), 0)
        apps |= {"one": ("RolledBack", 2)}
        yield "an update fails", lambda: self.edit(1, CRASH), Then(apps, hooks(2, 0, 4, 0), 0)
        apps |= {"one": ("Ready", 3)}
        yield MEND, lambda: self.edit(2), Then(apps, hooks(2, 0, 5, 0), 2)
        apps |= {"one": ("Ready", 4)}
        yield "an update", self.set_version, Then(apps, hooks(2, 1, 6, 0), 2, "2.0.0")
        apps |= {"one": ("Ready", 5)}
        yield "a mounted file is edited", self.edit_mounted, Then(apps, hooks(2, 1, 7, 0), 2, "2.0.0")
        apps |= {"one": ("RolledBack", 5)}
        yield (
            "a rollback by hand",
            lambda: self.ask(Rollback, "one"),
            Then(apps, hooks(2, 1, 7, 0), 2, "2.0.0"),
        )
        del apps["one"]
        yield "a removal", self.take_out, Then(apps, hooks(2, 1, 7, 1))
        apps |= {"two": ("Stopped", 1)}
        yield "a stop", lambda: self.ask(Stop, "two"), Then(apps, hooks(2, 1, 7, 1))
        apps |= {"two": ("Ready", 1)}
        yield "a start", lambda: self.ask(Start, "two"), Then(apps, hooks(2, 1, 8, 1))
        del apps["two"]
        yield "a removal by command", lambda: self.ask(Remove, "two"), Then(apps, hooks(2, 1, 8, 2))

    # -- what a person does ---------------------------------------------------------------------------

    def put_provider(self) -> None:
        files = {f"scripts/{hook}.sh": NOTED.format(hook) + SCRIPTS.get(hook, "") for hook in HOOKS}
        self.home.put("db", PROVIDER, files, volumes=["data"])

    def put_consumer(self, short: str) -> None:
        scripts = {f"on_{hook}": f"scripts/{hook}.sh" for hook in HOOKS}
        self.home.put(
            short, CONSUMER.format(command=SLEEP, edit=0), {"app.conf": "conf 0", ".env.example": "TITLE=hello\n"},
            requires=[{"app": self.home.name("db"), **scripts}],
        )  # fmt: skip

    # Each edit is of one file and at once: the half of an edit would be a generation of its own.

    def edit(self, edit: int, command: str = SLEEP) -> None:
        self.save("one", "docker-compose.yaml", CONSUMER.format(command=command, edit=edit))

    def set_version(self) -> None:
        manifest = json.loads((self.folder("one") / "manifest.json").read_text())
        self.save("one", "manifest.json", json.dumps(manifest | {"version": "2.0.0"}))

    def take_out(self) -> None:
        self.folder("one").rename(self.home.apps.parent / "aside")

    def edit_mounted(self) -> None:
        self.save("one", "app.conf", "conf of its own")

    def save(self, short: str, file: str, text: str) -> None:
        new = self.home.apps.parent / "new"
        new.write_text(text)
        new.replace(self.folder(short) / file)

    def ask(self, wish: type[Wish], short: str) -> None:
        # It may have ended late in the stage before, and be on its way back.
        wait_until(self.client.answers, "somebody is there to be asked", 60)
        with contextlib.suppress(ServiceUnreachable):  # it ended over it
            self.client.act(wish(self.home.name(short)))

    def folder(self, short: str) -> Path:
        return self.home.apps / self.home.name(short)

    # -- one stage ------------------------------------------------------------------------------------

    def pass_through(self, stage: str, act: Callable[[], None], then: Then, step: int) -> None:
        """One stage, cut off at this step, until nothing more is to be done."""
        before = self.home.ids()
        self.home.arm(step)
        act()
        try:
            # A look that finds nothing new is the end; the service may end in it.
            wait_until(
                lambda: self.at_rest(then) and self.looked() and self.at_rest(then),
                "all are at rest",
                120,
                0.1,
            )
        except AssertionError as error:
            last = "\n".join([*self.home.steps()[-40:], *map(str, self.home.log()[-20:])])
            raise AssertionError(f"{stage}, {step}: {error}\n{self.summary()}\n{last}") from None
        steps = self.home.steps()
        if self.home.disarm():
            self.counts[stage] = len(steps)
        else:
            self.cuts[stage] = steps[-1]
        self.seen |= {word for text in steps for word in text.split()}
        concerned = "two" if stage == AGAIN or "command" in stage else "one"
        same = {n: i for n, i in before.items() if f"{self.home.prefix}{concerned}-" not in n}
        if stage not in ("a stop", "a start", "a removal by command"):
            assert self.home.ids().items() >= same.items(), f"{stage}: others were touched"

    def looked(self) -> bool:
        """Everything was looked at once more; False when the service was not there for that."""
        try:
            self.client.reconcile()
        except ServiceUnreachable:
            return False
        return True

    def records(self) -> dict[str, Record]:
        store = SqliteStore.open_readonly(self.home.state)
        try:
            return {r.name.removeprefix(self.home.prefix): r for r in store.records()}
        finally:
            store.close()

    def summary(self) -> dict[str, tuple[str, int]]:
        return {short: (last_word(record), record.generation) for short, record in self.records().items()}

    def at_rest(self, then: Then) -> bool:
        records = self.records()
        return records.keys() == then.apps.keys() and all(
            (last_word(record), record.generation) == then.apps[short]
            and record.observed_generation == record.generation
            and record.target is not None
            and record.target.good
            and not record.applying
            and not record.own_write
            for short, record in records.items()
        )

    # -- what is true after each ------------------------------------------------------------------------

    def check(self, stage: str, then: Then) -> None:
        """The same as if nothing had been cut off."""
        home, records = self.home, self.records()
        containers = home.containers()
        assert sorted(containers) == sorted(f"{home.name(short)}-main-1" for short in then.apps), stage
        for short, record in records.items():
            details = containers[f"{home.name(short)}-main-1"]
            assert record.target is not None
            applied = record.target.services["main"]
            assert details["State"]["Running"] == (then.apps[short][0] != "Stopped"), (stage, short)
            assert details["Config"]["Labels"]["com.docker.compose.config-hash"] == applied.config_hash
            assert details["Image"] in applied.image_ids
            assert record.retries == 0, (stage, short)
        if then.edit is not None:
            self.check_one(stage, then, records["one"])
        self.check_hooks(stage, then)
        self.check_leftovers(stage, then)

    def check_one(self, stage: str, then: Then, record: Record) -> None:
        env = self.home.env_of("one")
        user = self.home.name("one")
        assert {k: env[k] for k in ("USER_", "SCHEMA_", "TITLE_", "EDIT")} == {
            "USER_": user, "SCHEMA_": then.schema, "TITLE_": "hello", "EDIT": str(then.edit)
        }, stage  # fmt: skip
        file = self.folder("one") / ".env"
        assert file.stat().st_mode & 0o777 == 0o600, stage
        lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
        schema = [f"SCHEMA={then.schema}"] if then.schema != "none" else []
        wanted = sorted([f"DB_USER={user}", "DB_PASSWORD=pw", "TITLE=hello", *schema])
        assert sorted(line.replace('"', "") for line in lines) == wanted, stage
        ledger = {**record.on_install, **record.on_update}
        assert {entry.phase for entry in ledger.values()} == {"done"}, stage
        assert self.home.name("db") in record.on_start, stage

    def check_hooks(self, stage: str, then: Then) -> None:
        """None is forgotten; a crash repeats one at most, once. A failing update that is cut off has a try more or less,
        and each try runs on_start."""
        if "db" not in then.apps:
            return
        ran = {hook: self.home.inside("db", f"/data/{hook}").count("\n") for hook in HOOKS}
        extra = {hook: ran[hook] - then.hooks.get(hook, 0) for hook in HOOKS}
        starts, cuts = extra.pop("start"), len(self.cuts)
        assert all(more >= 0 for more in extra.values()), (stage, ran, self.cuts)
        assert sum(extra.values()) <= cuts, (stage, ran, self.cuts)
        assert -cuts <= starts <= 2 * cuts, (stage, ran, self.cuts)
        wait_until(lambda: not hook_processes(self.home), "no hook runs on in the provider")

    def check_leftovers(self, stage: str, then: Then) -> None:
        """No temporary file in the tree or in the state, no model of an app that is gone, and all volumes."""
        home = self.home
        found = sorted(str(f.relative_to(home.apps)) for f in home.apps.rglob(".homeport-*"))
        found += sorted(
            str(f.relative_to(home.state)) for f in home.state.rglob("*") if TEMPORARY.search(f.name)
        )
        assert found == [], (stage, self.cuts.get(stage))
        with api(home.engine) as client:
            names = {volume["Name"] for volume in client.volumes()["Volumes"] or []}
            ours = sorted(name for name in names if home.prefix in name)
            for volume in ours:
                token = Path(client.inspect_volume(volume)["Mountpoint"]) / "token"
                if volume not in self.tokens:
                    token.write_text(volume)
                    self.tokens.add(volume)
                assert token.read_text() == volume, (stage, volume)
        assert self.tokens <= set(ours), stage


def hooks(install: int, update: int, start: int, remove: int) -> dict[str, int]:
    return {"install": install, "update": update, "start": start, "remove": remove}


def test_a_hook_that_outlives_a_killed_service_is_ended_before_it_is_run_once_more(home: Home) -> None:
    hangs_once = "echo begun >> /data/begun\n[ -e /data/go ] || sleep 4321\necho ended >> /data/ended\n"
    put_provider(home, install=hangs_once + INSTALL)
    put_consumer(home)
    home.start()
    wait_until(lambda: any("sleep 4321" in one for one in running_hooks(home)), "the hook runs", 20)
    home.kill9()
    in_provider(home, "touch", "/data/go")
    assert hook_processes(home), "it outlives the service"
    home.start()
    home.wait("app", "Ready")
    assert hook_processes(home) == []
    assert home.inside("db", "/data/begun").split() == ["begun"] * 2
    assert home.inside("db", "/data/ended").split() == ["ended"]
    assert home.env_of("app")["USER_"] == home.name("app")


def running_hooks(home: Home) -> list[str]:
    """As `hook_processes`; none while there is no provider."""
    return hook_processes(home) if home.word("db") == "Ready" else []


@pytest.fixture
def life(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    engine_host: str,
    app_prefix: str,
    engine_cleanup: EngineCleanup,
) -> Iterator[Life]:
    home = CutHome(tmp_path, engine_host, app_prefix, fine=getattr(request, "param", False))
    yield Life(home)
    home.stop()


@pytest.mark.parametrize(
    ("life", "most"),
    [(False, COARSE), pytest.param(True, FINE, marks=pytest.mark.slow)],
    indirect=["life"],
    ids=["coarse", "fine"],
)
def test_a_life_that_is_not_cut_off_takes_every_kind_of_step_and_no_stage_more_than_are_tried(
    life: Life, most: Most
) -> None:
    life.begin()
    for stage, act, then in life.stages():
        life.pass_through(stage, act, then, NEVER)
        life.check(stage, then)
    print(life.counts)
    assert not life.cuts
    changes = {effect.__name__ for effect in every_effect() if effect not in (*READS, fx.Tell)}
    assert changes - life.seen == {"Pull"}, "nothing is pulled here: that takes a registry"
    counts = list(life.counts.values())
    assert max(counts) <= most.long
    assert max(counts[LONG:]) <= most.short


@pytest.mark.parametrize("step", range(1, COARSE.long + 1))
def test_killed_after_the_nth_change_of_each_stage_it_goes_on_as_if_nothing_had_been(
    life: Life, step: int
) -> None:
    live(life, step, COARSE)


@pytest.mark.slow
@pytest.mark.parametrize("life", [True], indirect=True, ids=["fine"])
@pytest.mark.parametrize("step", range(1 + SEED % STRIDE, FINE.long + 1, STRIDE))
def test_killed_after_the_nth_effect_be_it_a_read_it_goes_on_as_if_nothing_had_been(
    life: Life, step: int
) -> None:
    live(life, step, FINE)


def live(life: Life, step: int, most: Most) -> None:
    """A whole life, each stage of it cut off at this step."""
    life.begin()
    for number, (stage, act, then) in enumerate(life.stages()):
        if step > most.short and number >= LONG:
            break  # there are none of that number
        life.pass_through(stage, act, then, NEVER if stage in (AGAIN, MEND) else step)
        life.check(stage, then)
    print(life.cuts)
    assert life.cuts or step > most.long // 2
    assert not life.home.log("reconcile.crashed")
