"""Ending: what a run leaves behind. Its verdict in the record, told once and saved, and those queued who wait for it.

A run that found nothing new leaves nothing behind (I10).
"""

from __future__ import annotations

import math

from controller.model import effects as fx
from controller.model.effects import Run, ask
from controller.model.record import Record, Rest, Verdict
from controller.model.values import replace
from controller.planner.health import incarnation_of
from controller.reconciler import looking
from controller.reconciler.work import Work
from controller.status.conditions import same_verdict
from controller.status.transition import transition

_TOLD = {
    "Progressing": ("app.progressing", "info"),
    "Ready": ("app.ready", "info"),
    "Degraded": ("app.degraded", "warning"),
    "Waiting": ("app.waiting", "info"),
    "Invalid": ("app.invalid", "error"),
    "NeedsConfiguration": ("app.needs_configuration", "warning"),
    "Suspended": ("app.suspended", "info"),
    "Stopped": ("app.stopped", "info"),
    "RolledBack": ("app.rolled_back", "error"),
    "Failed": ("app.failed", "error"),
    "Held": ("removal.held", "warning"),
    "RemovalBlocked": ("removal.blocked", "warning"),
}
"""Words that are told when a run ends in them; the others are told where they arise."""

_WORDS_TOLD = tuple(name for name, _ in _TOLD.values())


def finish(work: Work, verdict: Verdict, rest: Rest | None = None) -> Run[None]:
    """A run that did not fail: no retry is open, and a change that a person would see is told once."""
    good = work.record.target is not None and work.record.target.good
    loops = verdict.reason == "CrashLooping"
    still_trying = verdict.word == "Progressing" or loops or (verdict.word != "Waiting" and not good)
    retries = work.record.retries if still_trying else 0
    concluded = conclude(replace(work.record, retries=retries, next_try=None), work, verdict)
    work.record = replace(concluded, rest=rest)
    if verdict.word in _TOLD:
        name, level = _TOLD[verdict.word]
        quarantine = work.record.quarantine
        if quarantine is not None and quarantine.by_person:
            level = "info"  # no failure: a person wants it so
        if work.done or not (yield from _was_told(work, name)):
            message = verdict.message
            if work.record.deadline is not None and verdict.healthy is False:
                # The status counts this down; a line of the log has to say it once.
                left = (work.record.deadline - work.moment.now).total_seconds()
                message += f"; it has {math.ceil(left)} s to get there"
            if verdict.word == "RolledBack" and quarantine is not None and not quarantine.by_person:
                # `why` says what comes next; a line of the log has to say it by itself.
                message += f". {quarantine.generation} is not tried again until an input changes or you say "
                message += f"`homeport reconcile {work.name}`"
            yield from work.tell(name, message, level, reason=verdict.reason)
    yield from save_what_differs(work)


def _was_told(work: Work, name: str) -> Run[bool]:
    """Whether people know of this verdict, which is told as `name`."""
    if work.before.generation != work.record.generation or not same_verdict(work.before, work.record):
        return False
    if work.told:
        return True
    # A run that was cut off may have told another one, and not have saved it.
    last = yield from ask(fx.ReadLastTold(work.name, _WORDS_TOLD))
    return last in (None, name)


def conclude(record: Record, work: Work, verdict: Verdict) -> Record:
    """The record with this verdict and with what was seen last."""
    return replace(
        transition(record, verdict, work.moment.now),
        available=verdict.healthy is True,
        incarnation=incarnation_of(work.observed),
        observed_services=looking.observed_services(work.observed),
    )


def save_what_differs(work: Work) -> Run[None]:
    """A look that finds nothing new writes nothing; what others see of the app wakes them."""
    record = work.record
    if replace(record, last_reconcile=work.before.last_reconcile) == work.before and not work.done:
        return
    yield from work.save()
    if looking.seen_by_consumers(record) != looking.seen_by_consumers(work.before):
        for consumer in (yield from ask(fx.FindConsumers(work.name))):
            yield from ask(fx.Enqueue(consumer))
    for provider in sorted(work.before.holds - record.holds):
        # It may be held only for our sake.
        yield from ask(fx.Enqueue(provider))
