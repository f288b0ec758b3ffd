"""Judging: which word an app earns, from what is seen after the actions. Pure.

Running is not enough for Ready, and one bad look is not enough for Failed: time since the start and since
the last unexpected end count. When to look again is part of the answer, because only here is it known why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.model.observed import Observed, Rendered
from controller.model.record import Record, Target, Verdict
from controller.planner.health import Fault, incarnation_of, is_done

LOOPING = 3
"""Restarts by the engine after which a container is said to be in a crash loop."""
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
    deadline: datetime | None = None
    """When time decides, whatever happens until then: the app is not healthy in time, or has been stable."""
    pending: bool = False
    failed: bool = False
    settled: bool = False
    """Ready for `stable_after`: earlier failures no longer count, the revision is a good one."""
    given_up: bool = False
    """The revision never became a good one and is not expected to: an earlier one may take its place."""


def judge(
    record: Record,
    target: Target,
    faults: tuple[Fault, ...],
    closed: str,
    awaits_hooks: bool,
    now: datetime,
    times: Times,
    loops: str = "",
) -> Judgement:
    """The verdict on an app whose target was applied.

    `closed`: why a provider is not available, or "". `awaits_hooks`: an on_start hook has not run yet for
    the provider's present containers. `loops`: what `crash_loops` found.
    """
    causes = "; ".join(fault.cause for fault in faults)
    kinds = {fault.kind for fault in faults}
    healthy_by = (record.started_at or target.applied_at) + timedelta(seconds=times.health_timeout)
    health_left = times.health_timeout - _since(record.started_at or target.applied_at, now)
    if closed:
        return Judgement(
            Verdict("Degraded", "DependencyNotReady", f"{closed}; meanwhile {causes or 'it runs on'}")
        )
    if kinds & {"missing", "down", "failed", "changed", "network", "owner", "surplus"}:
        reason = exit_reason(record) if kinds & {"down", "failed"} else "ApplyFailed"
        given_up = not target.good and record.retries >= 1
        return Judgement(Verdict("Failed", reason, causes), failed=True, given_up=given_up)
    if "paused" in kinds:
        # Never by accident: a backup wants its files to stand still. Whoever did it takes it back.
        return Judgement(Verdict("Degraded", "Paused", causes))
    if kinds & {"mount", "content"}:
        # The whole app was applied, and what Compose sees no difference in comes next.
        return Judgement(Verdict("Progressing", "Progressing", causes), _MARGIN, pending=True)
    quiet_left = times.stable_after - _since(record.unstable_since or now, now)
    if "restarting" in kinds or (loops and quiet_left > 0):
        return _crash_loop(target, causes or loops, bool(loops), health_left, quiet_left)
    if faults and health_left > 0 and (not target.good or "unhealthy" not in kinds):
        verdict = Verdict("Progressing", "Progressing", causes)
        return Judgement(verdict, health_left + _MARGIN, healthy_by, pending=True)
    if faults:
        return Judgement(Verdict("Degraded", "HealthCheckFailed", causes), given_up=not target.good)
    if awaits_hooks:
        return Judgement(
            Verdict("Progressing", "AwaitingHooks", "on_start hooks have not run yet"), 1.0, pending=True
        )
    if record.unstable_since is not None:
        # After a long backoff the end is long ago, and the start is not.
        runs_since = max(record.unstable_since, record.started_at or record.unstable_since)
        left = times.stable_after - _since(runs_since, now)
        if left > 0:
            message = f"it runs again; Ready after {times.stable_after:g} s without another end"
            stable_at = runs_since + timedelta(seconds=times.stable_after)
            verdict = Verdict("Progressing", "Progressing", message)
            return Judgement(verdict, left + _MARGIN, stable_at, pending=True)
    ready = Verdict("Ready", "ReconciliationSucceeded", f"runs generation {record.generation}")
    left = times.stable_after - _since(record.started_at or target.applied_at, now)
    return Judgement(ready, settled=True) if left <= 0 else Judgement(ready, left + _MARGIN)


def _crash_loop(
    target: Target, causes: str, is_sure: bool, health_left: float, quiet_left: float
) -> Judgement:
    given_up = not target.good and (is_sure or health_left <= 0)
    looks = [quiet_left, *([] if target.good else [health_left])]
    after = min((left + _MARGIN for left in looks if left > 0), default=None)
    return Judgement(Verdict("Degraded", "CrashLooping", causes), after, given_up=given_up)


def health_reason(record: Record, faults: Iterable[Fault]) -> str:
    """What to call it that the target is not healthy, by its worst fault; "" where there is none."""
    kinds = {fault.kind for fault in faults}
    if not kinds:
        return ""
    if kinds & {"missing", "down", "failed"}:
        if record.stopped:
            return "Stopped"
        # What is not there has not ended again and again.
        return exit_reason(record) if kinds & {"down", "failed"} else "ContainerExited"
    if "restarting" in kinds:
        return "CrashLooping"
    if "unhealthy" in kinds:
        return "HealthCheckFailed"
    if "paused" in kinds:
        return "Paused"
    return "Progressing" if kinds == {"starting"} else "Drifted"


def exit_reason(record: Record) -> str:
    """How the end of a container is called: a first one is no loop yet."""
    return "CrashLooping" if record.retries else "ContainerExited"


def crash_loops(record: Record, observed: Observed) -> str:
    """The services whose containers the engine starts again and again, in words, or "".

    In a third of the looks such a container is `running`: the number of restarts gives it away, until the app
    has been stable again.
    """
    if record.unstable_since is None:
        return ""
    looping = sorted({c.service for c in observed.containers if c.restarts >= LOOPING and not c.oneoff})
    return "; ".join(f"service {name}: restarts again and again" for name in looping)


def is_unproven(record: Record, observed: Observed, now: datetime, stable_after: float) -> bool:
    """Whether its containers end again and again and the app has not been stable since: running is then no proof.

    One unexpected end is not enough: after a reboot nobody has to wait. Nor are tries of ours that fail for another
    reason, once it has run for `stable_after` seconds.
    """
    if record.unstable_since is None:
        return False
    runs_since = max(record.unstable_since, record.started_at or record.unstable_since)
    ends_with_our_tries = record.retries > 0 and _since(runs_since, now) < stable_after
    return ends_with_our_tries or bool(crash_loops(record, observed))


def died_young(record: Record, faults: Iterable[Fault], now: datetime, stable_after: float) -> bool:
    """Whether a container ended within `stable_after` of our last start: the next start goes through the backoff."""
    ended = any(fault.kind in ("missing", "down", "failed") for fault in faults)
    return ended and record.started_at is not None and _since(record.started_at, now) < stable_after


def unexpected_ends(record: Record, rendered: Rendered, observed: Observed) -> tuple[str, ...]:
    """Names of containers that ended or were started again since the last look, by no action of ours.

    A crash loop looks `running` in a third of the looks; the start time gives it away, or, where the last look
    fell between two runs, the number of restarts.
    """
    now = set(incarnation_of(observed).split(","))
    then = set(record.incarnation.split(","))
    names = []
    for short in sorted(i.split("@")[0] for i in then - now if i):
        container = next((c for c in observed.containers if c.id.startswith(short)), None)
        service = rendered.service(container.service) if container else None
        if container is None or service is None:
            names.append(f"container {short} (gone)")
        elif not is_done(service, container, record.completed):
            names.append(container.name)
    running = [c for c in observed.containers if c.state == "running" and c.restarts]
    names += [c.name for c in running if c.incarnation not in then]
    return tuple(dict.fromkeys(names))


def _since(then: datetime, now: datetime) -> float:
    """Seconds since then; a clock that was set back counts as no time at all, never as a negative one."""
    return max(0.0, (now - then).total_seconds())
