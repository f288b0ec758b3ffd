"""An app whose folder is gone: quiet period, what may hold the removal, down, forget.

Volumes are never removed here, nor anywhere else but by a command that names them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from controller.model import effects as fx
from controller.model.desired import Absent
from controller.model.effects import Moment, Run, ask
from controller.model.errors import AppError
from controller.model.facts import APPROVED, SUSPENDED
from controller.model.plan import Action, Result
from controller.model.record import Record, Verdict
from controller.planner.removal import BRAKE_WINDOW, brake_holds
from controller.reconciler.work import Blocked, Memory, Policy, Work
from controller.status.summary import last_word
from controller.status.transition import transition


def reconcile_absent(
    record: Record, moment: Moment, policy: Policy, memory: Memory, dry_run: bool
) -> Run[Result | Blocked]:
    """Remove the app after the quiet period; or say what holds the removal: then what runs is kept running."""
    name = record.name
    work = Work(name, moment, record, record, Absent(name))
    census = yield from ask(fx.TakeCensus())
    if census.lost:
        # The root went between two looks: nothing is known for sure, and every quiet period starts anew.
        memory.forget_missing()
        return Result(last_word(record))
    if name in census.names:
        return Result(last_word(record), after=policy.settle, pending=True)
    records = yield from ask(fx.ReadRecords())
    since = memory.note_missing((r.name for r in records if r.name not in census.names), moment.monotonic)
    left = policy.removal_settle - (moment.monotonic - since.get(name, moment.monotonic))
    if left > 0 and not dry_run:
        if since.get(name) == moment.monotonic:
            message = f"its folder is gone; if it stays so for {policy.removal_settle:g} s it is removed, unless something holds it"
            yield from work.tell("app.missing", message, "warning")
        return Result(last_word(record), after=left + 0.005, pending=True)
    held = yield from _find_hold(work, records, since, policy, memory)
    if held is not None:
        return held
    action = Action("compose_down", name, cause="its folder is gone", app=name)
    if dry_run:
        return Result(last_word(record), (action,))
    return (yield from _remove(work, action, records, memory))


def _find_hold(
    work: Work, records: tuple[Record, ...], missing: Collection[str], policy: Policy, memory: Memory
) -> Run[Blocked | None]:
    """Why a removal that is due does not happen."""
    name, record = work.name, work.record
    consumers = sorted(r.name for r in records if name in r.requires and r.name not in missing)
    if consumers:
        message = f"required by {', '.join(consumers)}; it runs on. Put its folder back, or remove them first"
        return Blocked("RemovalBlocked", "RemovalBlocked", message)
    if last_word(record) == "Removing":
        return None
    if (yield from ask(fx.ReadFact(APPROVED + name))) is not None:
        return None
    suspended = yield from ask(fx.ReadFact(SUSPENDED + name))
    if suspended is not None or record.suspended_by_manifest:
        return Blocked("Held", "RemovalHeld", "it is suspended; `homeport prune --approve` removes it")
    if not policy.prune:
        message = "the service runs with --no-prune; `homeport prune --approve` removes it"
        return Blocked("Held", "RemovalHeld", message)
    lately = memory.removed_lately(work.moment.monotonic, BRAKE_WINDOW)
    why = brake_holds(len(missing), lately, len(records))
    if not why and record.held:
        # Putting one folder of many back mends an accident half; it is no yes to the other half.
        why = "it went together with many others"
    if why:
        message = (
            f"{why}; nothing is removed. Put the folders back, or let them go: `homeport prune --approve`"
        )
        return Blocked("Held", "RemovalHeld", message, by_brake=True)
    return None


def _remove(work: Work, action: Action, records: tuple[Record, ...], memory: Memory) -> Run[Result]:
    """Down, then forget: cut off in between, the next run does both again."""
    name, record = work.name, work.record
    if last_word(record) != "Removing":
        # What failed before was another thing than this removal.
        memory.retry_now(name)
        yield from ask(fx.ResetBackoff(name))
        work.record = transition(record, Verdict("Removing", "Removing", action.cause), work.moment.now)
        yield from work.save()
        yield from work.tell("app.removing", f"{action.cause}; its containers are removed, its volumes stay")
    if (left := memory.not_before.get(name, 0.0) - work.moment.monotonic) > 0:
        return Result("Removing", after=left + 0.005, failed=True)
    approved = yield from ask(fx.ReadFact(APPROVED + name))
    try:
        yield from ask(fx.Remove(name, work.folders()))
    except AppError as error:
        return (yield from _retry(work, error, memory))
    yield from ask(fx.ForgetRecord(name))
    kept = f"; volumes kept: {', '.join(record.volumes)}" if record.volumes else ""
    yield from work.tell(
        "app.removed", f"containers and networks are gone{kept}", volumes=list(record.volumes)
    )
    memory.note_removed(name, work.moment.monotonic, counts=approved is None)
    memory.retry_now(name)
    yield from ask(fx.ResetBackoff(name))
    for other in records:
        # Its providers may have been held only for its sake; its consumers have lost it.
        if name in other.requires or other.name in record.requires:
            yield from ask(fx.Enqueue(other.name))
    return Result("", (action,))


def _retry(work: Work, error: AppError, memory: Memory) -> Run[Result]:
    name, now = work.name, work.moment.now
    delay = yield from ask(fx.Backoff(name))
    memory.not_before[name] = work.moment.monotonic + delay
    work.record = replace(
        transition(work.record, Verdict("Removing", "Removing", f"{error.reason}: {error}"), now),
        retries=work.record.retries + 1,
        next_try=now + timedelta(seconds=delay),
        last_error=f"{error.reason}: {error}",
    )
    yield from work.save()
    yield from work.tell("app.failed", str(error), "error", reason=error.reason, retry_in=round(delay, 2))
    return Result(
        "Removing", (Action("error", name, f"{error.reason}: {error}", app=name),), delay, failed=True
    )
