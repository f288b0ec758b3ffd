"""Judging: which word an app earns, from what is seen after the actions. Pure.

Running is not enough for Ready, and one bad look is not enough for Failed: time since the start and since
the last unexpected end count. When to look again is part of the answer, because only here is it known why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.model.observed import Container, Observed, Rendered
from controller.model.record import End, Record, Target, Verdict
from controller.model.values import replace
from controller.planner.health import Fault, incarnation_of, is_done

LOOPING = 3
"""Restarts by the engine after which a revision that never was good is given up."""
_DOUBLINGS = 5
"""How often the calm that is needed for Ready doubles at most: with the default of 10 s it is five minutes then."""
_COME_AND_GO = ("restarting", "starting", "unhealthy")
"""Kinds of faults that a container in a crash loop shows, one after the other."""
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
    often: bool = False,
) -> Judgement:
    """The verdict on an app whose target was applied.

    `closed`: why a provider is not available, or "". `awaits_hooks`: an on_start hook has not run yet for
    the provider's present containers. `often`: see `restarted_often`.
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
        reason = exit_reason(record, faults) if kinds & {"down", "failed"} else "ApplyFailed"
        given_up = not target.good and record.retries >= 1
        return Judgement(Verdict("Failed", reason, causes), failed=True, given_up=given_up)
    if "paused" in kinds:
        # Never by accident: a backup wants its files to stand still. Whoever did it takes it back.
        return Judgement(Verdict("Degraded", "Paused", causes))
    if kinds & {"mount", "content"}:
        # The whole app was applied, and what Compose sees no difference in comes next.
        return Judgement(Verdict("Progressing", "Progressing", causes), _MARGIN, pending=True)
    calm, calm_left = _calm(record, now, times.stable_after)
    if kinds & {"restarting", "looping"}:
        reason = "CrashLooping" if "looping" in kinds else "ContainerExited"
        given_up = not target.good and (often or health_left <= 0)
        looks = [calm_left, *([] if target.good else [health_left])]
        after = min((left + _MARGIN for left in looks if left > 0), default=None)
        return Judgement(Verdict("Degraded", reason, causes), after, given_up=given_up)
    if faults and health_left > 0 and (not target.good or "unhealthy" not in kinds):
        verdict = Verdict("Progressing", "Progressing", causes)
        return Judgement(verdict, health_left + _MARGIN, healthy_by, pending=True)
    if faults:
        return Judgement(Verdict("Degraded", "HealthCheckFailed", causes), given_up=not target.good)
    if awaits_hooks:
        return Judgement(
            Verdict("Progressing", "AwaitingHooks", "on_start hooks have not run yet"), 1.0, pending=True
        )
    if calm_left > 0:
        message = f"{_last_end(record)}; Ready after {calm:g} s without another end"
        stable_at = now + timedelta(seconds=calm_left)
        verdict = Verdict("Progressing", "Progressing", message)
        return Judgement(verdict, calm_left + _MARGIN, stable_at, pending=True)
    ready = Verdict("Ready", "ReconciliationSucceeded", f"runs generation {record.generation}")
    left = times.stable_after - _since(record.started_at or target.applied_at, now)
    return Judgement(ready, settled=True) if left <= 0 else Judgement(ready, left + _MARGIN)


def health_reason(record: Record, faults: Iterable[Fault]) -> str:
    """What to call it that the target is not healthy, by its worst fault; "" where there is none."""
    kinds = {fault.kind for fault in faults}
    if not kinds:
        return ""
    if kinds & {"missing", "down", "failed"}:
        if record.stopped:
            return "Stopped"
        # What is not there has not ended again and again.
        return exit_reason(record, faults) if kinds & {"down", "failed"} else "ContainerExited"
    if "looping" in kinds:
        return "CrashLooping"
    if "restarting" in kinds:
        return "ContainerExited"
    if "unhealthy" in kinds:
        return "HealthCheckFailed"
    if "paused" in kinds:
        return "Paused"
    return "Progressing" if kinds == {"starting"} else "Drifted"


def exit_reason(record: Record, faults: Iterable[Fault]) -> str:
    """How the end of a container is called: a first one is no loop yet."""
    again = record.retries or any(fault.again for fault in faults)
    return "CrashLooping" if again else "ContainerExited"


# -- unexpected ends ------------------------------------------------------------------------------------


def unexpected_ends(record: Record, rendered: Rendered, observed: Observed) -> tuple[Container, ...]:
    """Containers that ended or were started again since the last look, by no action of ours.

    A crash loop looks `running` in a third of the looks; the start time gives it away, or, where the last look
    fell between two runs, the number of restarts.
    """
    stopped, then = _not_running_any_more(record, observed), set(record.incarnation.split(","))
    ended = []
    for container in observed.containers:
        service = rendered.service(container.service)
        if service is None or container.oneoff:
            continue
        again = container.restarts and container.state == "running" and container.incarnation not in then
        not_done = container.id[:12] in stopped and not is_done(service, container, record.completed)
        if again or not_done or (container.state == "restarting" and not is_counted(record, container)):
            ended.append(container)
    return tuple(ended)


def vanished(record: Record, rendered: Rendered, observed: Observed) -> tuple[str, ...]:
    """Ids, in short, of containers that ran at the last look and are not there any more."""
    there = {c.id[:12] for c in observed.containers if rendered.service(c.service) is not None}
    return tuple(sorted(_not_running_any_more(record, observed) - there))


def _not_running_any_more(record: Record, observed: Observed) -> set[str]:
    ended = set(record.incarnation.split(",")) - set(incarnation_of(observed).split(","))
    return {incarnation.split("@")[0] for incarnation in ended if incarnation}


def is_counted(record: Record, container: Container) -> bool:
    """Whether this end of it was seen before: first when it was over, and now that it runs again."""
    counted = record.ends.get(container.name)
    return counted is not None and _is_of(counted, container)


def _is_of(end: End, container: Container) -> bool:
    return container.finished_at == end.finished != ""


def recent_ends(record: Record, now: datetime, stable_after: float) -> dict[str, End]:
    """The ends on record that an end now has to do with: none after which it has run for the longest calm, or a slow loop
    would be Ready after each end."""
    forgotten = timedelta(seconds=stable_after * 2**_DOUBLINGS)
    return {name: end for name, end in record.ends.items() if abs(now - end.at) < forgotten}


def forget_ends(record: Record) -> Record:
    """Whoever starts now does so for the first time: what ended before was of other inputs, or a person begins anew."""
    return replace(record, unstable_since=None, ends={})


def note_starts(record: Record, before: Observed, after: Observed, now: datetime) -> Record:
    """The calm of those that we have just started begins now, and of no others: the wait for our next try is none."""
    ran = {(c.name, c.incarnation) for c in before.containers}
    started = {c.name for c in after.containers if (c.name, c.incarnation) not in ran}
    ends = {name: replace(end, at=now) if name in started else end for name, end in record.ends.items()}
    return replace(record, ends=ends)


def count_end(before: End | None, container: Container, now: datetime) -> End:
    """One more end of this container, or the one before once more: it was over then, and runs again now."""
    if before is None:
        return End(1, now, container.finished_at)
    return End(before.count + (not _is_of(before, container)), now, container.finished_at, before.code)


def is_milestone(count: int) -> bool:
    """Whether so many ends are told: the first, and each time that they have doubled."""
    return count.bit_count() == 1


def with_crash_loops(
    faults: tuple[Fault, ...], record: Record, observed: Observed, now: datetime, stable_after: float
) -> tuple[Fault, ...]:
    """The faults, and the services whose containers are started again and again; what is down and was not calm is told
    from what ended for the first time.

    The same from look to look, whether such a container runs at the moment, waits for its next start or has passed a
    check: each change would be news. It is over once the container has been calm.
    """
    found = looping(record, observed, now, stable_after)
    loops = {c.service: _loop(c, record.ends[c.name]) for c in reversed(found)}
    again = {c.id for c in observed.containers if is_counted(record, c) and record.ends[c.name].count > 1}
    others = (
        replace(f, again=f.container in again)
        for f in faults
        if f.service not in loops or f.kind not in _COME_AND_GO
    )
    return (*others, *(loops[service] for service in sorted(loops)))


def _loop(container: Container, end: End) -> Fault:
    code = "" if end.code is None else f"exit {end.code}, "
    times = 1 << (end.count.bit_length() - 1)
    cause = f"service {container.service}: restarts again and again ({code}{times} times or more)"
    return Fault(container.service, "looping", cause, container.id, end.finished)


def looping(record: Record, observed: Observed, now: datetime, stable_after: float) -> tuple[Container, ...]:
    """Containers that were started again after more than one end, and that were not calm since."""
    if record.unstable_since is None:
        return ()

    def loops(container: Container) -> bool:
        end = record.ends.get(container.name)
        if end is None or end.count < 2:
            return False
        is_calm = _since(end.at, now) >= _calm_after(end, stable_after)
        return container.state == "restarting" or (container.state == "running" and not is_calm)

    return tuple(c for c in observed.containers if loops(c))


def restarted_often(record: Record, observed: Observed) -> bool:
    """Whether the engine has started one of its containers again so often that it is no bad luck any more."""
    often = any(c.restarts >= LOOPING and not c.oneoff for c in observed.containers)
    return often and record.unstable_since is not None


def _calm_after(end: End, stable_after: float) -> float:
    """Seconds without another end after which a container counts as calm: twice as many with each end."""
    return stable_after * 2.0 ** min(end.count - 1, _DOUBLINGS)


def _calm(record: Record, now: datetime, stable_after: float) -> tuple[float, float]:
    """Seconds without an end after which the app is Ready, and how many of them are left; none where it is."""
    if record.unstable_since is None:
        return 0.0, 0.0
    waits = [(_runs_since(record, record.unstable_since), stable_after)]
    waits += [(end.at, _calm_after(end, stable_after)) for end in record.ends.values()]
    left, calm = max((calm - _since(since, now), calm) for since, calm in waits)
    return calm, max(0.0, left)


def _runs_since(record: Record, ended: datetime) -> datetime:
    """After a long backoff the end is long ago, and the start is not."""
    return max(ended, record.started_at or ended)


def _last_end(record: Record) -> str:
    """That it runs again, in words, and after what."""
    last = max(record.ends.values(), key=lambda end: end.at, default=None)
    if last is None or last.code is None or record.unstable_since is None or last.at < record.unstable_since:
        return "it runs again"
    return f"it ended (exit {last.code}) and runs again"


def is_unproven(record: Record, observed: Observed, now: datetime, stable_after: float) -> bool:
    """Whether its containers end again and again and the app has not been stable since: running is then no proof.

    One unexpected end is not enough: after a reboot nobody has to wait. Nor are tries of ours that fail for another
    reason, once it has run for `stable_after` seconds.
    """
    if record.unstable_since is None:
        return False
    runs_for = _since(_runs_since(record, record.unstable_since), now)
    ends_with_our_tries = record.retries > 0 and runs_for < stable_after
    return ends_with_our_tries or bool(looping(record, observed, now, stable_after))


def died_young(record: Record, faults: Iterable[Fault], now: datetime, stable_after: float) -> bool:
    """Whether a container ended within `stable_after` of our last start: the next start goes through the backoff."""
    ended = any(fault.kind in ("missing", "down", "failed") for fault in faults)
    return ended and record.started_at is not None and _since(record.started_at, now) < stable_after


def _since(then: datetime, now: datetime) -> float:
    """Seconds since then; a clock that was set back counts as no time at all, never as a negative one."""
    return max(0.0, (now - then).total_seconds())
