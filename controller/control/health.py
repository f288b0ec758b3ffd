"""Health: whether the service does its work, from facts about its threads and about what it stands on. Pure.

Two questions: is it healthy (if not, a restart helps), and is it ready (it can act). How the facts are found, and HTTP,
do not belong here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

LONGEST_STEP: Final = 3600.0
"""Seconds. A step that says after how many it is ended gets twice that, where that is more."""
LONGEST_STOP: Final = 86400.0
"""Seconds, where only containers decide: each may be given hours to end (stop_grace_period), one after the other."""
LONGEST_SCAN: Final = 900.0
"""Seconds that a look at the whole tree may take; 1,000 apps take a few."""

RESTART: Final = (
    "restart the service (`systemctl restart homeport`); the apps go on running. Its log says what happened"
)


@dataclass(frozen=True)
class Step:
    """What one worker is at."""

    app: str
    what: str
    seconds: float
    longest: float
    """Seconds after which the step is ended by itself, where it says so; inf where only containers decide; else 0."""


@dataclass(frozen=True)
class Facts:
    """The service at one moment. A text that says what is wrong is "" where nothing is."""

    started: bool
    stopping: bool
    threads: Mapping[str, bool]
    """The parts that have one thread each, and whether it runs."""
    workers: int
    """That there should be."""
    workers_missing: int
    steps: tuple[Step, ...]
    scan_seconds: float
    """For how long the look at the tree has been under way that is under way now."""
    engine: str
    tree: str
    state: str
    late: Mapping[str, float] = field(default_factory=dict)
    """Of the parts that run, those that did not come round, and for how many seconds that was waited for."""


@dataclass(frozen=True)
class Check:
    """One part of the answer. `message` says what is wrong, `to_do` what helps; both "" where it is fine."""

    name: str
    message: str = ""
    to_do: str = ""

    @property
    def ok(self) -> bool:
        return not self.message


@dataclass(frozen=True)
class Health:
    """The answer. `alive`: what only a restart mends; `able`: what it needs besides to act."""

    alive: tuple[Check, ...]
    able: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether every part of the service does its work, whatever the engine and the tree do."""
        return all(check.ok for check in self.alive)

    @property
    def trouble(self) -> str:
        """What makes it unhealthy, in one line; "" where nothing does."""
        return "; ".join(f"{check.name}: {check.message}" for check in self.alive if not check.ok)

    @property
    def ready(self) -> bool:
        """Whether it acts: healthy, started, and the engine, the tree and the state can be used."""
        return self.healthy and all(check.ok for check in self.able)


def judge(facts: Facts) -> Health:
    """The answer for these facts. A service that has not started yet, or stops, has no threads to miss."""
    running = facts.started and not facts.stopping
    return Health(tuple(_alive(facts)) if running else (), tuple(_able(facts)))


def to_document(checks: tuple[Check, ...], word: str) -> dict[str, Any]:
    """The checks for programs; `word` is what they make together."""
    return {
        "status": word,
        "checks": [
            {"name": check.name, "ok": check.ok, "message": check.message, "toDo": check.to_do}
            for check in checks
        ],
    }


def _alive(facts: Facts) -> Iterator[Check]:
    missing = facts.workers_missing
    yield (
        Check("workers", f"{missing} of {facts.workers} workers have ended", RESTART)
        if missing
        else Check("workers")
    )
    for name, runs in facts.threads.items():
        if not runs:
            yield Check(name, f"the thread of the {name} has ended", RESTART)
        elif name in facts.late:
            text = f"the {name} runs, but did not come round within {facts.late[name]:g} s"
            yield Check(name, text, "see whether the machine is busy; if it stays so, " + RESTART)
        else:
            yield Check(name)
    stuck = [step for step in facts.steps if step.seconds > _bound(step)]
    yield Check("steps", "; ".join(map(_stuck, stuck)), RESTART) if stuck else Check("steps")
    if facts.scan_seconds > LONGEST_SCAN:
        text = f"a look at the whole tree has been under way for {facts.scan_seconds:.0f} s"
        yield Check("scan", text, "see whether the disk with the apps tree answers; else " + RESTART)
    else:
        yield Check("scan")


def _bound(step: Step) -> float:
    return LONGEST_STOP if math.isinf(step.longest) else max(LONGEST_STEP, 2 * step.longest)


def _stuck(step: Step) -> str:
    return f"{step.app}: {step.what} has been under way for {step.seconds:.0f} s"


def _able(facts: Facts) -> Iterator[Check]:
    if facts.stopping:
        yield Check("service", "the service stops", "nothing")
    elif not facts.started:
        yield Check("service", "the service is starting", "wait")
    else:
        yield Check("service")
    yield _fine_or("engine", facts.engine, "`homeport doctor`; what runs goes on running")
    yield _fine_or("tree", facts.tree, "mount it or put it back; nothing is stopped or removed meanwhile")
    yield _fine_or("state", facts.state, "make room on its disk, or mend its rights; see `homeport doctor`")


def _fine_or(name: str, trouble: str, to_do: str) -> Check:
    return Check(name, trouble, to_do) if trouble else Check(name)
