"""The service that cuts itself off: `python -m rig.cutting run …` is `homeport run` that ends by SIGKILL at a chosen step.

A step is a change that a reconcile makes; reads leave nothing behind and are no steps, unless they are asked for. What
must be true afterwards is the tests' business, and the product knows nothing of this.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import controller.manager  # noqa: F401 - loaded here, once, and not at each start
from controller.cli.main import main
from controller.model import effects as fx
from controller.source import files
from rig.engine import children
from rig.service import Home

FOLDER = "HOMEPORT_TEST_CUT"
"""Where `at` says after how many steps to end, and `trace` what the steps were."""
FINE = "HOMEPORT_TEST_CUT_FINE"
"""Set: reads are steps, too, and what is told, and what happens to temporary files; lasting changes end in more ways."""

READS = (
    fx.ReadClock, fx.Load, fx.TakeCensus, fx.ReadRecord, fx.ReadRecords, fx.FindConsumers, fx.FindWithIdentity,
    fx.ReadFact, fx.ReadModel, fx.FindCopies,
    fx.Render, fx.Observe, fx.FindBusyPorts, fx.FindBusyNames, fx.FindIdentities, fx.FindImageIds, fx.ReadLastLines, fx.ReadExitCode,
    fx.FindMissingPaths, fx.FindMissingImages, fx.ReadScript, fx.ReadLastTold,
    fx.FindDifferences, fx.ForgetRendered,
    # What they change is gone with the process.
    fx.BeginStep, fx.Enqueue, fx.Backoff, fx.ResetBackoff,
)  # fmt: skip
"""Every other effect is a change; one that is new is a step by itself."""
LASTING = (fx.Apply, fx.RunHook, fx.Remove, fx.Restart, fx.Stop)
"""Changes that take their time: cut off in their middle, too, alone and together with their child processes."""
MIDDLE = 0.15  # seconds into a lasting change


class Steps:
    """Counts the steps since `at` was written, notes each, and ends the process at the one that was asked for.

    `_count` and `_order` change only under `_lock`: workers and others take steps.
    """

    def __init__(self, folder: Path) -> None:
        self._at = folder / "at"
        self._trace = (folder / "trace").open("a", buffering=1)
        self._lock = threading.Lock()
        self._count = 0
        self._order = ""

    def take(self, name: str) -> bool:
        """Note this step; whether it is the one."""
        with self._lock:
            try:
                order = self._at.read_text()
            except FileNotFoundError:
                order = ""
            if order != self._order:
                self._order, self._count = order, 0
            if not order:
                return False
            self._count += 1
            self._trace.write(f"{order.split()[0]} {self._count} {name}\n")
            return self._count == int(order.split()[1])

    def end(self, *, with_children: bool = False) -> None:
        """As a crash of this process alone, or of all that belongs to it."""
        try:
            self._at.unlink()
        except FileNotFoundError:  # called off meanwhile
            return
        if with_children:
            for child in children(os.getpid()):
                os.killpg(child, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def install(steps: Steps, *, fine: bool) -> None:
    """Make a step of every effect that changes something, and of every moment at which a file of ours changes places."""
    for effect in every_effect():
        if fine or effect not in (*READS, fx.Tell):
            effect.perform = _cut(effect.perform, steps, fine)  # type: ignore[assignment, method-assign]

    def changing(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("os.rename", "os.link", "os.remove"):
            path = Path(os.fsdecode(arguments[0]))
            counts = (fine or ".env" in path.name) and path.name != "at" and os.path.lexists(path)
            if counts and steps.take(f"before {event} {_without_chance(path.name)}"):
                steps.end()

    sys.addaudithook(changing)
    exchange = files._exchange

    def exchanging(one: Path, other: Path) -> bool:
        if steps.take(f"before the exchange of {other.name}"):
            steps.end()
        return exchange(one, other)

    files._exchange = exchanging


def _without_chance(name: str) -> str:
    return ".….json" if name.startswith(".") and name.endswith(".json") else name


def every_effect() -> list[type[fx.Effect[Any]]]:
    """All there are."""
    return sorted(fx.Effect.__subclasses__(), key=lambda effect: effect.__name__)


def _cut(
    perform: Callable[[fx.Effect[Any], fx.Host], Any], steps: Steps, fine: bool
) -> Callable[[fx.Effect[Any], fx.Host], Any]:
    def cut(effect: fx.Effect[Any], host: fx.Host) -> Any:
        name = describe(effect)
        if isinstance(effect, LASTING):
            for whom, with_children in (("alone", False), ("with its children", True))[: 1 + fine]:
                if steps.take(f"in the middle of {name}, {whom}"):
                    threading.Timer(MIDDLE, steps.end, kwargs={"with_children": with_children}).start()
        try:
            return perform(effect, host)
        finally:
            if steps.take(f"after {name}"):
                steps.end()

    return cut


def describe(effect: fx.Effect[Any]) -> str:
    """The effect and what tells it from others of its kind."""
    match effect:
        case fx.SaveRecord(record):
            detail = f"{record.name} {record.reason}"
        case fx.Tell(event):
            detail = f"{event.app} {event.name}"
        case fx.RunHook(container, script):
            detail = f"{container[:12]} {script[:20]!r}"
        case _:
            detail = getattr(effect, "app", getattr(effect, "key", ""))
            detail = getattr(detail, "name", detail)
    return f"{type(effect).__name__} {detail}".strip()


class CutHome(Home):
    """A home whose service can be told to end at a step. It is started again at once, as systemd would."""

    def __init__(self, folder: Path, engine: str, prefix: str, *, fine: bool = False) -> None:
        super().__init__(folder, engine, prefix)
        self.module = "rig.cutting"
        self.cut = folder / "cut"
        self.cut.mkdir()
        self._fine = fine
        self._orders = 0

    def environment(self) -> dict[str, str]:
        """As in a home, and where to find what is wanted."""
        extra = {FOLDER: str(self.cut), "PYTHONPATH": str(Path(__file__).parents[1])}
        return super().environment() | extra | ({FINE: "1"} if self._fine else {})

    def arm(self, step: int) -> None:
        """From now on count; end at this step, the first is 1."""
        self._orders += 1
        new = self.cut / "new"
        new.write_text(f"{self._orders} {step}")
        new.replace(self.cut / "at")

    def disarm(self) -> bool:
        """Stop counting; whether it had not come to that step."""
        try:
            (self.cut / "at").unlink()
        except FileNotFoundError:
            return False
        return True

    def steps(self) -> list[str]:
        """What the steps since the last `arm` were; the last one is where it ended."""
        lines = (self.cut / "trace").read_text().splitlines()
        split = [line.split(" ", 2) for line in lines]
        return [name for order, _, name in split if int(order) == self._orders]


def keep_running() -> int:
    """The service as a child of this process, which has loaded everything once, started anew whenever it is killed."""
    stopping = False

    def stop(_number: int, _frame: Any) -> None:
        nonlocal stopping
        stopping = True
        os.kill(child, signal.SIGTERM)

    while True:
        child = os.fork()
        if not child:
            install(Steps(Path(os.environ[FOLDER])), fine=FINE in os.environ)
            main()
        signal.signal(signal.SIGTERM, stop)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if stopping or code != -signal.SIGKILL:
            return code


if __name__ == "__main__":
    sys.exit(keep_running())
