"""The soak: the real service on an engine of its own for any number of minutes, under edits and faults without an end.

`python -m rig.soak --minutes=30`, or `make soak MINUTES=30`. One line says at the end what was done and what it cost,
for people and for scripts; the exit code is 1 when something was lost, left behind or grew.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.errors

from controller.api.client import ApiClient
from controller.model.errors import HomeportError
from rig.edits import Editor, differing, explain, observed, unsettled
from rig.engine import SAMPLE_IMAGE, PrivateEngine, api, build_sample_image, children, unable
from rig.pair import put_consumer, put_provider
from rig.process import kib, status_of, watch_count
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

EDIT_EVERY = 1.5  # seconds, on average
FAULT_EVERY = 10.0
SAMPLE_EVERY = 10.0
FREEZE = (1.0, 12.0)  # seconds that the engine says nothing
PATIENCE = 180.0  # seconds: a busy machine, and an engine that first cleans up after the one that was killed
WARM_UP = 0.5  # of the time: what is loaded once and kept is no leak
JUDGED_FROM = 30.0  # minutes; of fewer the second half is too short to tell growth from chance
MAX_SLOPE = 2 * 1024  # KiB an hour; in the second half of 30 minutes half a MiB, and chance makes 20 KiB
SPARE_FDS = 4  # an API connection or a child's pipes that are just being closed
VAULTS = ("vault0", "vault1", "vault2")
BYSTANDER = "somebody-elses"

VAULT = (
    SLEEPER
    + "    volumes: ['files:/files']\nvolumes: {files: {name: 'furtka_@VAULT_files', external: true}}\n"
)


@dataclass(frozen=True)
class Sample:
    """What the service takes at one moment; sizes in KiB. The first and the last are taken at rest."""

    seconds: float
    rss: int
    own: int
    """Of it what is no page of a file: those come and go with the needs of other programs."""
    fds: int
    threads: int
    children: int
    watches: int
    state: int


def sample(home: Home, began: float) -> Sample:
    """Read from /proc and from the state folder."""
    assert home.process is not None
    pid = home.process.pid
    status = status_of(pid)
    return Sample(
        seconds=round(time.monotonic() - began, 1),
        rss=kib(status, "VmRSS"),
        own=kib(status, "RssAnon"),
        fds=len(list(Path("/proc", str(pid), "fd").iterdir())),
        threads=int(status["Threads"]),
        children=len(children(pid)),
        watches=watch_count(pid),
        state=_size(home.state) // 1024,
    )


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.lstat().st_size
    return total


class Soak:
    """One soak. `run` answers with what is wrong at the end; nothing is good."""

    def __init__(self, home: Home, engine: PrivateEngine, seed: int) -> None:
        self.home, self.engine, self.seed = home, engine, seed
        self.chance = random.Random(seed)
        self.samples: list[Sample] = []
        self.faults: list[str] = []
        self.tokens: dict[Path, str] = {}
        self.bystander = ""
        self.wrong: list[str] = []
        with api(engine.host) as client:
            client.tag(SAMPLE_IMAGE, "homeport/other", "1")
        self.editor = Editor(home, self.chance, (SAMPLE_IMAGE, "homeport/other:1"))
        self.editor.kinds.append((self.editor.crash, 2))
        self.kinds: list[tuple[Callable[[], str], int]] = [
            (self.kill_container, 5), (self.remove_container, 3), (self.stop_container, 2), (self.plan, 3),
            (self.drop_and_put_back, 2), (self.new_provider, 2), (self.freeze, 3), (self.kill_engine, 1),
            (self.restart_engine, 1),
        ]  # fmt: skip

    def run(self, minutes: float) -> None:
        """The whole soak; fills `wrong`."""
        self.begin()
        wait_until(lambda: not self.children(), "no child is left", 30)
        began = time.monotonic()
        self.samples.append(sample(self.home, began))
        due_edit = due_fault = due_sample = began
        while (now := time.monotonic()) < began + minutes * 60 and not self.home.ended():
            if now >= due_edit:
                self.editor.edit()
                due_edit = now + self.chance.expovariate(1 / EDIT_EVERY)
            if now >= due_fault:
                kinds, weights = zip(*self.kinds, strict=True)
                self.faults.append(self.chance.choices(kinds, weights)[0]())
                due_fault = now + self.chance.expovariate(1 / FAULT_EVERY)
            if now >= due_sample:
                self.samples.append(sample(self.home, began))
                print(f"soak: {self.samples[-1]} edits={len(self.editor.story)} faults={len(self.faults)}")
                due_sample = now + SAMPLE_EVERY
            time.sleep(max(0.0, min(due_edit, due_fault, due_sample) - time.monotonic()))
        self.editor.finish()
        self.judge()
        if not self.home.ended():
            wait_until(lambda: not self.children(), "no child is left", 30)
            self.samples.append(sample(self.home, began))
            self.judge_samples(minutes)

    # -- before ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """All apps run, each volume has a token in it, and beside them runs something that is not ours."""
        put_provider(self.home)
        put_consumer(self.home)
        for vault in VAULTS:
            self.put_vault(vault)
        self.editor.make_all()
        with api(self.engine.host) as client:
            settings = client.create_host_config(
                restart_policy={"Name": "always"}, network_mode="none", init=True
            )
            made = client.create_container(
                SAMPLE_IMAGE, ["sleep", "100000"], name=BYSTANDER, host_config=settings,
                labels={"com.docker.compose.project": BYSTANDER, "com.docker.compose.project.working_dir": "/srv"},
            )  # fmt: skip
            client.start(made["Id"])
            self.bystander = made["Id"]
        self.home.start()
        wait_until(lambda: not self.unsettled(), "all apps are Ready", PATIENCE, interval=0.5)
        for volume in ("db_data", *(f"{vault}_files" for vault in VAULTS)):
            token = self.engine.directory / f"data/volumes/furtka_{self.home.prefix}{volume}/_data/token"
            self.tokens[token] = str(self.chance.random())
            token.write_text(self.tokens[token])

    def put_vault(self, short: str) -> None:
        self.home.put(short, VAULT.replace("VAULT", short), volumes=["files"])

    # -- the faults: each answers with what was done ----------------------------------------------------

    def kill_container(self) -> str:
        return self._to_container("kill", lambda client, name: client.kill(name))

    def remove_container(self) -> str:
        return self._to_container("rm -f", lambda client, name: client.remove_container(name, force=True))

    def stop_container(self) -> str:
        return self._to_container("stop", lambda client, name: client.stop(name, timeout=0))

    def _to_container(self, what: str, do: Callable[[Any, str], None]) -> str:
        names = sorted(self.home.containers())
        if not names:
            return f"{what}: there was nothing"
        name = self.chance.choice(names)
        # It may be gone or just being re-created.
        with api(self.engine.host) as client, contextlib.suppress(docker.errors.APIError):
            do(client, name)
        return f"{what} {name}"

    def plan(self) -> str:
        """A person asks what would be done."""
        short = self.chance.choice(("db", "app", *VAULTS))
        with contextlib.suppress(HomeportError):
            ApiClient(self.home.state / "homeport.sock").reconcile([self.home.name(short)], dry_run=True)
        return f"plan {short}"

    def drop_and_put_back(self) -> str:
        short = self.chance.choice(VAULTS)
        shutil.rmtree(self.home.apps / self.home.name(short))
        time.sleep(self.chance.uniform(0, 3))  # shorter and longer than the quiet period
        self.put_vault(short)
        return f"{short} dropped and put back"

    def new_provider(self) -> str:
        """A new container of the provider: its consumer's on_start runs again."""
        with api(self.engine.host) as client, contextlib.suppress(docker.errors.APIError):
            client.remove_container(f"{self.home.name('db')}-main-1", force=True)
        return "rm -f the provider"

    def freeze(self) -> str:
        seconds = self.chance.uniform(*FREEZE)
        with self.engine.frozen():
            time.sleep(seconds)
        return f"engine frozen for {seconds:.1f} s"

    def kill_engine(self) -> str:
        self.engine.kill9()
        time.sleep(self.chance.uniform(0, 3))
        self.engine.start(PATIENCE)
        return "engine killed"

    def restart_engine(self) -> str:
        self.engine.shut_down()
        self.engine.start(PATIENCE)
        return "engine restarted"

    # -- after ----------------------------------------------------------------------------------------

    def unsettled(self) -> dict[str, Any]:
        """Apps that are not at rest where their files want them."""
        there = [sketch for sketch in self.editor.sketches if not sketch.away]
        others = {s: self.home.word(s) for s in ("db", "app", *VAULTS)}
        return unsettled(self.home, there) | {s: word for s, word in others.items() if word != "Ready"}

    def wanted(self) -> dict[str, Any]:
        there = [sketch for sketch in self.editor.sketches if not sketch.away]
        return {name: one for sketch in there for name, one in sketch.wanted(self.home).items()}

    def of_editor(self) -> dict[str, Any]:
        names = [self.home.name(sketch.short) + "-" for sketch in self.editor.sketches]
        return {name: one for name, one in observed(self.home).items() if name.startswith(tuple(names))}

    def judge(self) -> None:
        """What runs is what the tree asks for; nothing was lost, touched or left behind."""
        if self.home.ended():
            self.wrong.append("the service has ended")
            return
        try:
            wait_until(
                lambda: not differing(self.wanted(), self.of_editor()) and not self.unsettled(),
                "what runs is what the tree asks for", PATIENCE, interval=1,
            )  # fmt: skip
        except AssertionError as error:
            self.wrong.append(
                f"{error}\n{self.unsettled()}\n{explain(self.home, self.editor, self.wanted())}"
            )
        others = {self.home.name(s) + "-main-1" for s in ("db", "app", *VAULTS)}
        left = self.home.containers().keys() - self.wanted().keys() - others
        if left:
            self.wrong.append(f"containers that nobody asked for: {', '.join(sorted(left))}")
        for token, text in self.tokens.items():
            if not token.exists() or token.read_text() != text:
                self.wrong.append(f"what was in a volume is lost: {token}")
        with api(self.engine.host) as client:
            there = {container["Id"] for container in client.containers()}
        if self.bystander not in there:
            self.wrong.append("a container that is not ours was touched")
        if crashed := self.count("reconcile.crashed"):
            self.wrong.append(f"{crashed} runs ended with a fault in Homeport itself")

    def judge_samples(self, minutes: float) -> None:
        """What the service takes at rest is what it took before the first edit."""
        first, last = self.samples[0], self.samples[-1]
        if last.fds > first.fds + SPARE_FDS:
            self.wrong.append(f"file handles grew from {first.fds} to {last.fds}")
        if last.threads > first.threads:
            self.wrong.append(f"threads grew from {first.threads} to {last.threads}")
        if minutes >= JUDGED_FROM and self.slope() > MAX_SLOPE:
            self.wrong.append(f"memory grows by {self.slope():.0f} KiB an hour, more than {MAX_SLOPE}")

    def children(self) -> list[int]:
        assert self.home.process is not None
        return children(self.home.process.pid)

    def warm(self) -> list[Sample]:
        """The samples after the warm-up, without the last, which is taken at rest."""
        return self.samples[int(len(self.samples) * WARM_UP) : -1]

    def slope(self) -> float:
        """KiB an hour by which its own memory grows."""
        warm = self.warm()
        if len({one.seconds for one in warm}) < 2:
            return 0.0
        return (
            statistics.linear_regression([s.seconds for s in warm], [float(s.own) for s in warm]).slope * 3600
        )

    def count(self, *events: str) -> int:
        """Log lines of these events."""
        return sum(line.get("event") in events for line in self.lines())

    def lines(self) -> Iterator[dict[str, Any]]:
        with self.home.log_file.open() as log:
            for line in log:
                if line.startswith("{") and line.endswith("\n"):  # the last may be half written
                    yield json.loads(line)

    def result(self, minutes: float) -> str:
        """The one line for scripts."""
        runs = len({line["reconcile_id"] for line in self.lines() if "reconcile_id" in line})
        warm = self.warm() or self.samples
        first, last = self.samples[0], self.samples[-1]
        return (
            f"soak minutes={minutes:g} reconciles={runs} actions={self.count('action.done', 'hook.done')} "
            f"edits={len(self.editor.story)} faults={len(self.faults)} rss_first={warm[0].rss} rss_last={warm[-1].rss} "
            f"slope_kib_per_hour={self.slope():.0f} fds={first.fds}/{last.fds} threads={first.threads}/{last.threads} "
            f"children={first.children}/{last.children} watches={first.watches}/{last.watches} "
            f"state_kib={first.state}/{last.state} seed={self.seed} result={'failed' if self.wrong else 'ok'}"
        )


def soak(minutes: float, seed: int, folder: Path) -> Soak:
    """Run one on an engine of its own; everything is taken away again."""
    engine = PrivateEngine()
    try:
        engine.start()
        build_sample_image(engine.host)
        home = Home(folder, engine.host, "soak-")
        try:
            done = Soak(home, engine, seed)
            done.run(minutes)
        finally:
            home.stop()
    finally:
        engine.stop()
    return done


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    if reason := unable():
        print(f"soak: {reason}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is taken away
    folder = Path(tempfile.mkdtemp(prefix="homeport-soak-", dir="/tmp"))
    print(
        f"soak: seed {options.seed}, {options.minutes:g} minutes, in {folder}, process {os.getpid()}",
        flush=True,
    )
    done = soak(options.minutes, options.seed, folder)
    for problem in done.wrong:
        print(f"soak: {problem}", file=sys.stderr)
    print(done.result(options.minutes), flush=True)
    if done.wrong:
        print(f"soak: the log and the state are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
