"""Metrics: what the service counts and times, in a registry of its own, as Prometheus reads it.

Names, labels and their bounds are here. What an app is, and when something is counted, does not belong here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

QUEUE: Final = "apps"
"""The value of the label `name` of all that is told of the one work queue."""
RUN_RESULTS: Final = ("success", "error", "requeue_after", "parked")
"""`parked`: the engine is away, and everything is looked at again when it is back."""
HOOKS: Final = ("on_install", "on_update", "on_start", "on_remove")
HOOK_RESULTS: Final = ("done", "failed", "timeout")

# A time of birth beside each count doubles what is told, and says what `process_start_time_seconds` says.
disable_created_metrics()  # type: ignore[no-untyped-call]

_QUEUE_SECONDS: Final = (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
_RUN_SECONDS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 300.0, 1800.0)


@dataclass(frozen=True)
class Seen:
    """What is true at the moment of a scrape."""

    apps: Mapping[str, int]
    """By summary, those included that no app has."""
    ready: Mapping[str, bool]
    """By app, those left out that are not meant to be. The only label without a fixed set of values: it has at most as many
    as there are apps, and goes with them."""
    healthy: bool
    service_ready: bool
    engine_reachable: bool
    tree_lost: bool
    tree_watched: bool
    state_writable: bool
    held: int
    last_resync: float | None
    """Seconds since 1970; None: there was none yet."""


class QueueMetrics:
    """What a work queue tells about itself. Called with the queue's lock held: nothing here waits or raises."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"workqueue_{name}", text, ["name"], registry=registry).labels(QUEUE)

        def histogram(name: str, text: str) -> Histogram:
            made = Histogram(f"workqueue_{name}", text, ["name"], registry=registry, buckets=_QUEUE_SECONDS)
            return made.labels(QUEUE)

        def counter(name: str, text: str) -> Counter:
            return Counter(f"workqueue_{name}", text, ["name"], registry=registry).labels(QUEUE)

        self._depth = gauge("depth", "Keys that are to be worked on and were not handed out yet.")
        self._adds = counter(
            "adds_total", "Adds that were accepted, and did not collapse into an earlier one."
        )
        self._waited = histogram(
            "queue_duration_seconds", "How long a key was queued before it was handed out."
        )
        self._worked = histogram("work_duration_seconds", "How long a key was handed out.")
        self._unfinished = gauge(
            "unfinished_work_seconds", "Sum of the ages of the keys that are handed out."
        )
        self._longest = gauge(
            "longest_running_processor_seconds", "Age of the key that was handed out first."
        )
        self._retries = counter("retries_total", "Adds with a delay that were asked for.")

    def added(self, depth: int) -> None:
        """An add was accepted."""
        self._adds.inc()
        self._depth.set(depth)

    def got(self, depth: int, queued_seconds: float) -> None:
        """A key was handed out."""
        self._depth.set(depth)
        self._waited.observe(queued_seconds)

    def finished(self, worked_seconds: float) -> None:
        """A key is done."""
        self._worked.observe(worked_seconds)

    def retried(self) -> None:
        """An add with a delay was asked for."""
        self._retries.inc()

    def running(self, unfinished_seconds: float, longest_seconds: float) -> None:
        """Sum and maximum of the ages of the keys that are out."""
        self._unfinished.set(unfinished_seconds)
        self._longest.set(longest_seconds)


class Metrics:
    """All metrics of one service. `look` is called at each scrape, in the thread that asks.

    All series with a fixed set of labels are there from the start, with 0. Safe for threads.
    """

    def __init__(self, version: str, calls: Iterable[str], look: Callable[[], Seen]) -> None:
        self._registry = registry = CollectorRegistry()
        self.queue = QueueMetrics(registry)
        self._runs = Counter(
            "homeport_reconcile_total",
            "Runs that ended, by what they came to.",
            ["result"],
            registry=registry,
        )
        self._errors = Counter(
            "homeport_reconcile_errors_total", "Runs that failed, and are tried again.", registry=registry
        )
        self._run_seconds = Histogram(
            "homeport_reconcile_duration_seconds",
            "How long a run took.",
            registry=registry,
            buckets=_RUN_SECONDS,
        )
        self._calls = Counter(
            "homeport_engine_calls_total", "Calls of the engine.", ["call"], registry=registry
        )
        self._call_errors = Counter(
            "homeport_engine_errors_total", "Calls of the engine that failed.", ["call"], registry=registry
        )
        self._call_seconds = Histogram(
            "homeport_engine_call_duration_seconds",
            "How long a call of the engine took.",
            ["call"],
            registry=registry,
            buckets=_RUN_SECONDS,
        )
        self._hook_seconds = Histogram(
            "homeport_hook_duration_seconds",
            "How long a hook ran.",
            ["hook", "result"],
            registry=registry,
            buckets=_RUN_SECONDS,
        )
        build = Gauge(
            "homeport_build_info", "Always 1; the version is in the label.", ["version"], registry=registry
        )
        build.labels(version).set(1)
        for result in RUN_RESULTS:
            self._runs.labels(result)
        for call in calls:
            self._calls.labels(call)
            self._call_errors.labels(call)
            self._call_seconds.labels(call)
        for hook in HOOKS:
            for result in HOOK_RESULTS:
                self._hook_seconds.labels(hook, result)
        ProcessCollector(registry=registry)
        registry.register(_AtScrape(look))

    def ran(self, result: str, seconds: float) -> None:
        """A run has ended. `result`: one of `RUN_RESULTS`."""
        self._runs.labels(result).inc()
        if result == "error":
            self._errors.inc()
        self._run_seconds.observe(seconds)

    def called(self, call: str, seconds: float, *, failed: bool) -> None:
        """A call of the engine has ended."""
        self._calls.labels(call).inc()
        if failed:
            self._call_errors.labels(call).inc()
        self._call_seconds.labels(call).observe(seconds)

    def hooked(self, hook: str, result: str, seconds: float) -> None:
        """A hook has ended. `hook` and `result`: one of `HOOKS` and of `HOOK_RESULTS`."""
        self._hook_seconds.labels(hook, result).observe(seconds)

    def text(self) -> bytes:
        """All of them in the text format, `CONTENT_TYPE`."""
        return generate_latest(self._registry)


class _AtScrape(Collector):
    """Gauges that are looked up when somebody asks: nothing has to keep them, and nothing forgotten stays in them."""

    def __init__(self, look: Callable[[], Seen]) -> None:
        self._look = look

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All of them at one moment."""
        seen = self._look()
        apps = GaugeMetricFamily("homeport_apps", "Apps, by the word of their status.", labels=["summary"])
        for summary, count in seen.apps.items():
            apps.add_metric([summary], count)
        yield apps
        ready = GaugeMetricFamily(
            "homeport_app_ready",
            "Whether it is Ready; not of apps stopped or suspended.",
            labels=["app"],
        )
        for app, is_ready in seen.ready.items():
            ready.add_metric([app], is_ready)
        yield ready
        yield GaugeMetricFamily("homeport_healthy", "What /healthz says.", value=seen.healthy)
        yield GaugeMetricFamily("homeport_ready", "What /readyz says.", value=seen.service_ready)
        yield GaugeMetricFamily(
            "homeport_engine_reachable",
            "Whether the engine answers and is ours.",
            value=seen.engine_reachable,
        )
        yield GaugeMetricFamily(
            "homeport_tree_lost", "Whether the apps tree cannot be read.", value=seen.tree_lost
        )
        yield GaugeMetricFamily(
            "homeport_tree_watched", "Whether changes are heard of at once, and not only found by scans.",
            value=seen.tree_watched,
        )  # fmt: skip
        yield GaugeMetricFamily(
            "homeport_state_writable", "Whether what happens can be remembered.", value=seen.state_writable
        )
        yield GaugeMetricFamily("homeport_held_removals", "Removals that wait for a person.", value=seen.held)
        if seen.last_resync is not None:
            yield GaugeMetricFamily(
                "homeport_last_resync_timestamp_seconds", "When everything was looked at last.",
                value=seen.last_resync,
            )  # fmt: skip
