"""Metering: times the engine's calls, the runs and the hooks of one service, and sees what is true at a scrape.

What the metrics are called is telemetry's; nothing here decides or changes anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar, cast

from controller.control.health import Facts, Health
from controller.control.queries import summary_of
from controller.control.reading import parse_time
from controller.control.verbs import held
from controller.model.effects import Effect, Host, RunHook
from controller.model.errors import EngineUnreachable, InputInvalid, Interrupted, Superseded
from controller.model.facts import LAST_RESYNC
from controller.model.plan import Result
from controller.model.ports import Clock, Store
from controller.status.summary import WORDS
from controller.telemetry.metrics import Metrics, Seen

E = TypeVar("E")

CALLS: Final = (
    "apply", "busy_names", "busy_ports", "ensure_volume", "exec", "exit_code", "image_ids", "info", "keep_images", "last_lines",
    "missing_images", "observe", "own_project", "ping", "pull", "remove", "remove_volume", "render", "restart", "stop", "survey", "version",
)  # fmt: skip
"""What is asked of an engine and answered: all of the port but its stream of events, and `interrupt`."""

_NO_FAULT_OF_IT: Final = (InputInvalid, Interrupted, Superseded)
"""An app's files are wrong or were edited, the service stops: the engine did what it could."""
_CUT_OFF: Final = (EngineUnreachable, Interrupted)
"""The engine went away, the service stops: how the hook would have ended is not known, and nor is how long it takes."""

_BY_CHOICE: Final = ("Suspended", "Stopped")
"""Words of apps that a person does not want to be Ready."""


class Meter:
    """The metrics of one service, and what counts into them. Safe for threads."""

    def __init__(self, version: str, clock: Clock, see: Callable[[], Seen]) -> None:
        self._metrics = Metrics(version, CALLS, see)
        self._clock = clock
        self.queue = self._metrics.queue

    def metered(self, engine: E) -> E:
        """The same engine, each call of which is counted and timed."""
        return cast("E", _Metered(engine, self._metrics, self._clock))

    def perform(self, effect: Effect[Any], host: Host) -> Any:
        """Perform one effect; a hook is timed, unless it was cut off."""
        if not isinstance(effect, RunHook):
            return effect.perform(host)
        began, result = self._clock.monotonic(), "failed"
        try:
            ended = effect.perform(host)
            if ended.timed_out:
                result = "timeout"
            elif ended.exit_code == 0 and not ended.overflow:
                result = "done"
            return ended
        except _CUT_OFF:
            result = ""
            raise
        finally:
            if result:
                self._metrics.hooked(effect.hook, result, self._clock.monotonic() - began)

    def ran(self, result: Result, seconds: float) -> None:
        """A run has ended."""
        self._metrics.ran(_word(result), seconds)

    def text(self) -> bytes:
        """All metrics, in the text format of Prometheus."""
        return self._metrics.text()


class _Metered:
    def __init__(self, engine: object, metrics: Metrics, clock: Clock) -> None:
        self._engine, self._metrics, self._clock = engine, metrics, clock

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        return partial(self._call, name, found) if name in CALLS else found

    def _call(self, name: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        began, failed = self._clock.monotonic(), False
        try:
            return call(*arguments, **named)
        except BaseException as problem:
            failed = not isinstance(problem, _NO_FAULT_OF_IT)
            raise
        finally:
            self._metrics.called(name, self._clock.monotonic() - began, failed=failed)


def _word(result: Result) -> str:
    if result.parked:
        return "parked"
    if result.failed:
        return "error"
    return "success" if result.after is None else "requeue_after"


def see(store: Store, clock: Clock, facts: Facts, health: Health, *, watched: bool) -> Seen:
    """What is true at this moment. Looks at records alone: a scrape asks nothing of the engine or of a disk."""
    resync = store.get(LAST_RESYNC)
    service = {
        "engine": {"reachable": not facts.engine},
        "state": {"writable": not facts.state},
        "lastResync": resync,
    }
    now, looked = clock.now(), parse_time(resync)
    words = {record.name: summary_of(record, service, now, None) for record in store.records()}
    counts = Counter(words.values())
    return Seen(
        apps={word: counts[word] for word in WORDS},
        ready={app: word == "Ready" for app, word in words.items() if word not in _BY_CHOICE},
        healthy=health.healthy,
        service_ready=health.ready,
        engine_reachable=not facts.engine,
        tree_lost=bool(facts.tree),
        tree_watched=watched,
        state_writable=not facts.state,
        held=len(held(store)),
        last_resync=looked.timestamp() if looked else None,
    )
