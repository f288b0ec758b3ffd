"""The invariants as checkers that run throughout: before each effect, and after each thing that happens.

They look at the world itself and keep their own account of it; what the controller believes does not count, but for
the moment at which a run could first have known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.model import effects as fx
from controller.model.desired import Invalid, Present
from controller.model.facts import APPROVED, REMOVE, STOPPED, SUSPENDED
from controller.model.observed import Container
from controller.model.record import Record
from controller.status.conditions import lint
from controller.status.summary import last_word
from simulation.history import PROVIDERS

if TYPE_CHECKING:
    from simulation.world import SimulatedWorld


class Forbidden(AssertionError):
    """An invariant does not hold."""


@dataclass
class _Run:
    """What could be known when a run began, and what was the case at some moment since."""

    suspended: bool
    stopped: bool
    folder_was_absent: bool
    asked_to_remove: bool
    read_stop: bool = False
    loaded: object = None
    records: tuple[Record, ...] = ()
    names: frozenset[str] = frozenset()
    lost: str = "not looked"
    available: set[str] = field(default_factory=set)
    """Providers that served at some moment of the run, or were said to."""


def is_served_by(containers: Iterable[Container]) -> bool:
    """Whether what consumers of an app with these containers use of it is healthy."""
    return any((c.service, c.state, c.health) == ("main", "running", "healthy") for c in containers)


class Watch:
    """Watches one world. `secrets` are values that must be found nowhere outside `.env` files and models."""

    def __init__(self, world: SimulatedWorld) -> None:
        self.world = world
        self.secrets: set[str] = set()
        self.bystanders: dict[str, str] = {}
        """Foreign containers, id to app: they stay as they are."""
        self._absent: dict[str, float] = {}
        self._booted = world.clock.monotonic()
        self._runs: dict[str, _Run] = {}
        self._volumes: dict[str, tuple[str, str]] = {}
        self._events = 0

    def forget_engine(self) -> None:
        """A person said that the engine is a new one, and what was on the old one is gone."""
        self.bystanders.clear()
        self._volumes.clear()

    # -- the process ------------------------------------------------------------------------------------

    def boot(self) -> None:
        self._booted = self.world.clock.monotonic()
        self._runs.clear()

    def begin(self, key: str) -> None:
        """A run begins: what people said until now it has to know."""
        self._look()
        said = self.world.store.get
        self._runs[key] = _Run(
            said(SUSPENDED + key) is not None,
            said(STOPPED + key) is not None,
            key not in self.world.tree.folders,
            said(REMOVE + key) is not None,
        )

    def before(self, key: str, effect: fx.Effect[Any]) -> None:
        """An effect of the run of `key` is about to be performed."""
        self._look()
        run = self._runs[key]
        run.folder_was_absent |= key not in self.world.tree.folders
        run.asked_to_remove |= self.world.store.get(REMOVE + key) is not None
        run.available.update(app for app in PROVIDERS if app not in run.available and self.world.serves(app))
        if isinstance(effect, fx.Apply | fx.Restart | fx.Stop | fx.Remove) and effect.app != key:
            raise Forbidden(f"I1: the run of {key} touches {effect.app}")
        if isinstance(effect, fx.Apply):
            self._before_start(run, effect)
        elif isinstance(effect, fx.Restart) and (run.suspended or run.stopped):
            raise Forbidden(f"{key} is restarted although a person said suspend or stop")
        elif isinstance(effect, fx.Stop) and (run.suspended or not self._is_or_was_stopped(key, run)):
            raise Forbidden(f"{key} is stopped although nobody said so")
        elif isinstance(effect, fx.Remove):
            self._before_removal(run, effect)
        elif isinstance(effect, fx.SaveRecord) and last_word(effect.record) == "Removing":
            stored = self.world.store.record(key)
            if stored is None or last_word(stored) != "Removing":
                self._before_decision(key, run)

    def after(self, key: str, effect: fx.Effect[Any], answer: object) -> None:
        """The effect was performed."""
        run = self._runs.get(key)
        if run is not None and isinstance(effect, fx.ReadFact) and effect.key == STOPPED + key:
            run.read_stop |= answer is not None
        if run is not None and isinstance(effect, fx.ReadFact) and answer is None:
            # Taken back before the run came to it.
            run.suspended &= effect.key != SUSPENDED + key
            run.stopped &= effect.key != STOPPED + key
        if run is not None and isinstance(effect, fx.ReadRecords):
            run.records = answer  # type: ignore[assignment]
        elif run is not None and isinstance(effect, fx.TakeCensus):
            run.names, run.lost = answer.names, answer.lost  # type: ignore[attr-defined]
        elif run is not None and isinstance(effect, fx.Observe) and is_served_by(answer.containers):  # type: ignore[attr-defined]
            run.available.add(effect.app)  # an old answer, perhaps; nobody can know better
        if isinstance(effect, fx.Load):
            if effect.app == key:
                self._runs[key].loaded = answer
            if isinstance(answer, Present | Invalid):
                # A folder that comes and goes between two looks was not there at either.
                self._absent.pop(effect.app, None)

    # -- after each thing that happens --------------------------------------------------------------------

    def happened(self) -> None:
        """Nothing of other people is touched, nothing is lost, nothing is given away."""
        self._look()
        engine = self.world.lying
        if self.world.disk is not None:
            return  # all of it is elsewhere
        for container, app in self.bystanders.items():
            if not engine.is_running(container):
                raise Forbidden(f"I7: a container of the foreign project {app} does not run any more")
        for name, volume in self._volumes.items():
            if engine.volumes.get(name) != volume:
                raise Forbidden(f"I4: volume {name} is gone or made anew")
        self._volumes.update(engine.volumes)
        self._find_secrets()

    def _find_secrets(self) -> None:
        new = self.world.events[self._events :]
        self._events = len(self.world.events)
        texts = [f"{event.message} {json.dumps(dict(event.fields), default=str)}" for event in new]
        texts += [repr(record) for record in self.world.store.records()]
        for text in texts:
            for secret in self.secrets:
                if secret in text:
                    raise Forbidden(f"I8: a secret is told: {text[:300]}")

    def at_rest(self) -> None:
        """Nothing moves any more: each record is sound, says why, and the log has said the same."""
        for record in self.world.store.records():
            if problems := lint(record):
                raise Forbidden(f"{record.name}: {problems}")
            ready = record.condition("Ready")
            if ready is None or not ready.reason or (ready.status != "True" and not ready.message):
                raise Forbidden(f"I11: {record.name} does not say why it is {last_word(record)}")
            told = [e.name for e in self.world.events if e.app == record.name and e.name in _SAYS]
            word = last_word(record)
            beside = record.retries > 0 and told[-1:] == [
                "app.failed"
            ]  # what runs behind files that are no use
            if word in _SAYS.values() and not beside and (not told or _SAYS[told[-1]] != word):
                raise Forbidden(f"{record.name} is {word}; the log said last: {told[-1:]}")

    # -- the rules ----------------------------------------------------------------------------------------

    def _look(self) -> None:
        now = self.world.clock.monotonic()
        for record in self.world.store.records():
            if record.name not in self.world.tree.folders:
                self._absent.setdefault(record.name, now)

    def _before_start(self, run: _Run, effect: fx.Apply) -> None:
        app, revision = effect.app, effect.rendered.revision
        if run.suspended or run.stopped:
            raise Forbidden(f"{app} is started although a person said suspend or stop")
        record = self.world.store.record(app)
        known = {t.revision: t for t in (record.applied if record else ())}
        if record is not None and record.quarantine is not None:
            known[record.quarantine.to.revision] = record.quarantine.to
        loaded = run.loaded if isinstance(run.loaded, Present) and run.loaded.revision == revision else None
        if loaded is None and revision not in known:
            raise Forbidden(f"I2: {app} is given a revision that is neither in its folder nor on record")
        requires = (
            tuple(r.app for r in loaded.manifest.requires) if loaded is not None else known[revision].requires
        )
        for provider in requires:
            if provider not in run.available:
                raise Forbidden(f"I14: {app} is started, and {provider} was not available")
        if loaded is not None and requires and "DB_USER" not in loaded.env:
            raise Forbidden(f"I14: {app} is started before its on_install hook has succeeded")

    def _is_or_was_stopped(self, key: str, run: _Run) -> bool:
        return run.stopped or run.read_stop or self.world.store.get(STOPPED + key) is not None

    def _before_removal(self, run: _Run, effect: fx.Remove) -> None:
        app = effect.app
        record = self.world.store.record(app)
        if record is None:
            raise Forbidden(f"I7: {app} is removed, and there is no record of it")
        if last_word(record) != "Removing":
            raise Forbidden(f"{app} is removed before the status says so")

    def _before_decision(self, app: str, run: _Run) -> None:
        """The status is about to say Removing, nobody having asked for that app: I5 and I6, by our own account."""
        world, now = self.world, self.world.clock.monotonic()
        if run.asked_to_remove:
            return
        if run.lost or app in run.names or not run.folder_was_absent:
            raise Forbidden(f"I5: {app} is removed, and its folder is not surely gone")
        since = max(self._booted, self._absent.get(app, now))
        if app not in world.tree.folders and now - since < world.policy.removal_settle - 1e-6:
            raise Forbidden(f"{app} is removed {now - since:.2f} s after its folder went")
        if world.store.get(APPROVED + app) is not None:
            return
        if run.suspended:
            raise Forbidden(f"{app} is suspended and is removed")
        # By what it has read: an app may get its first record, or lose its folder, a moment later.
        records = [r for r in run.records if r.generation > 0]  # a folder of it was seen
        missing = [r.name for r in records if r.name not in run.names]
        if len(missing) > 3 and len(missing) > 0.3 * len(records):
            raise Forbidden(f"I6: {app} is removed, one of {len(missing)} of {len(records)} that are missing")
        if 2 <= len(missing) == len(records):
            raise Forbidden(f"I6: {app} is removed, and all {len(missing)} are missing")


_SAYS = {
    "app.ready": "Ready", "app.invalid": "Invalid", "app.needs_configuration": "NeedsConfiguration",
    "app.rolled_back": "RolledBack", "app.suspended": "Suspended", "app.stopped": "Stopped", "app.waiting": "Waiting",
    "app.degraded": "Degraded", "app.failed": "Failed", "removal.held": "Held", "removal.blocked": "RemovalBlocked",
}  # fmt: skip
"""Log lines that say how an app is, and the word of the status that each stands for."""
