"""Leaving alone: the project that the service runs in, and what another Homeport keeps. Said, and nothing is done.

Such a run ends before any other rule is asked.
"""

from __future__ import annotations

from controller.model import effects as fx
from controller.model.desired import Absent, Unreadable
from controller.model.effects import Moment, Run, ask
from controller.model.plan import Action, Result
from controller.model.record import Record, Verdict
from controller.model.values import replace
from controller.reconciler.ending import finish
from controller.reconciler.memory import Memory
from controller.reconciler.taking_in import take_in
from controller.reconciler.work import Policy, Work

_ITSELF = (
    "Homeport itself runs in the compose project of this name, and never applies, stops or removes it; manage that one with "
    "`docker compose`, and give this app another name if it is one"
)


def leave_itself(name: str, policy: Policy, memory: Memory, dry_run: bool) -> Run[Result]:
    """The project that the service runs in: an apply would end the service in its middle, a removal for good."""
    moment = yield from ask(fx.ReadClock())
    known = yield from ask(fx.ReadRecord(name))
    desired = yield from ask(fx.Load(name))
    told = Action("skip", name, _ITSELF, app=name)
    if dry_run:
        return Result("Invalid", (told,))
    memory.forget(name)
    memory.note_back(name)
    yield from ask(fx.ForgetSaid(name))
    if isinstance(desired, Absent):
        if known is not None:
            yield from ask(fx.ForgetRecord(name))
        return Result()
    work = Work(name, moment, known or Record(name), replace(known or Record(name), rest=None), desired)
    yield from take_in(work, policy, memory, dry_run)
    yield from work.observe()
    yield from finish(work, Verdict("Invalid", "OwnProject", _ITSELF))
    return Result("Invalid", (told,))


def leave_to_other(
    name: str, moment: Moment, known: Record | None, desired: Unreadable, dry_run: bool
) -> Run[Result]:
    """Another Homeport keeps the tree: not even what runs is repaired, for it may be what that one started."""
    if known is None or dry_run:
        return Result("Unknown")
    work = Work(name, moment, known, replace(known, rest=None), desired)
    yield from work.observe()
    yield from finish(work, Verdict("Unknown", "SourceUnavailable", desired.message))
    return Result("Unknown")
