"""Judging: which word an app earns, from what is seen after the actions. Pure.

Running is not enough for Ready, and one bad look is not enough for Failed: time since the start and since
the last unexpected end count. When to look again is part of the answer, because only here is it known why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from controller.model.observed import Observed, Rendered
from controller.model.record import Record, Target, Verdict
from controller.planner.health import Fault, incarnation_of, is_done

_MARGIN = 0.05
"""Seconds added to a deadline, so that the look it brings comes after it and not a moment before."""


@dataclass(frozen=True)
class Times:
    """The settings that judging needs, in seconds."""

    stable_after: float
    health_timeout: float


@dataclass(frozen=True)
class Judgement:
    """The verdict on a running app, and what follows from it."""

    verdict: Verdict
    after: float | None = None
    pending: bool = False
    failed: bool = False
    settled: bool = False
    """Ready for `stable_after`: earlier failures no longer count, the revision is a good one."""


def judge(
    record: Record,
    target: Target,
    faults: tuple[Fault, ...],
    closed: str,
    awaits_hooks: bool,
    now: datetime,
    times: Times,
) -> Judgement:
    """The verdict on an app whose target was applied.

    `closed`: why a provider is not available, or "". `awaits_hooks`: an on_start hook has not run yet for
    the provider's present containers.
    """
    causes = "; ".join(fault.cause for fault in faults)
    kinds = {fault.kind for fault in faults}
    health_left = times.health_timeout - _since(record.started_at or target.applied_at, now)
    if closed:
        return Judgement(
            Verdict("Degraded", "DependencyNotReady", f"{closed}; meanwhile {causes or 'it runs on'}")
        )
    if kinds & {"missing", "down", "failed", "changed", "network", "owner", "surplus"}:
        reason = "CrashLooping" if kinds & {"down", "failed"} else "ApplyFailed"
        return Judgement(Verdict("Failed", reason, causes), failed=True)
    if "restarting" in kinds:
        return Judgement(Verdict("Degraded", "CrashLooping", causes))
    if faults and health_left > 0 and (not target.good or "unhealthy" not in kinds):
        return Judgement(Verdict("Progressing", "Progressing", causes), health_left + _MARGIN, pending=True)
    if faults:
        return Judgement(Verdict("Degraded", "HealthCheckFailed", causes))
    if awaits_hooks:
        return Judgement(
            Verdict("Progressing", "AwaitingHooks", "on_start hooks have not run yet"), 1.0, pending=True
        )
    if record.unstable_since is not None:
        left = times.stable_after - _since(record.unstable_since, now)
        if left > 0:
            message = f"it runs again; Ready after {times.stable_after:g} s without another end"
            return Judgement(Verdict("Progressing", "Progressing", message), left + _MARGIN, pending=True)
    ready = Verdict("Ready", "ReconciliationSucceeded", f"runs generation {record.generation}")
    left = times.stable_after - _since(record.started_at or target.applied_at, now)
    return Judgement(ready, settled=True) if left <= 0 else Judgement(ready, left + _MARGIN)


def died_young(record: Record, faults: Iterable[Fault], now: datetime, stable_after: float) -> bool:
    """Whether a container ended within `stable_after` of our last start: the next start goes through the backoff."""
    ended = any(fault.kind in ("missing", "down", "failed") for fault in faults)
    return ended and record.started_at is not None and _since(record.started_at, now) < stable_after


def unexpected_ends(record: Record, rendered: Rendered, observed: Observed) -> tuple[str, ...]:
    """Names of containers that ended or were started again since the last look, by no action of ours.

    A crash loop looks `running` in a third of the looks; the start time gives it away.
    """
    now = set(incarnation_of(observed).split(","))
    gone = {i.split("@")[0] for i in record.incarnation.split(",") if i and i not in now}
    names = []
    for short in sorted(gone):
        container = next((c for c in observed.containers if c.id.startswith(short)), None)
        service = rendered.service(container.service) if container else None
        if container is None or service is None:
            names.append(f"container {short} (gone)")
        elif not is_done(service, container, record.completed):
            names.append(container.name)
    return tuple(names)


def _since(then: datetime, now: datetime) -> float:
    """Seconds since then; a clock that was set back counts as no time at all, never as a negative one."""
    return max(0.0, (now - then).total_seconds())
