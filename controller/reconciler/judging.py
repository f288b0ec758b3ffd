"""Judging: the planner's judgement of what a run found, behind whatever holds the app on disk up.

Changes nothing and asks for nothing. What follows from the judgement is told in `converging`.
"""

from __future__ import annotations

from controller.model.desired import Present
from controller.model.record import Target, Verdict
from controller.model.values import replace
from controller.planner.health import Fault
from controller.planner.judge import Judgement, Times, judge, restarted_often
from controller.reconciler.looking import Providers
from controller.reconciler.steps import health_timeout
from controller.reconciler.work import Blocked, Policy, Work

AT_ONCE = 0.05
"""Seconds until what follows from a start of ours."""
LOOK_AGAIN = 1.0
"""Seconds after which what failed behind invalid files is looked at again."""

_OF_NO_USE = ("Invalid", "NeedsConfiguration", "Waiting")
"""Words of files that cannot be applied as they are, or not yet: behind them what was applied last is watched."""


def judge_run(
    work: Work,
    policy: Policy,
    blocked: Blocked | None,
    faults: tuple[Fault, ...],
    closed: str,
    providers: Providers,
) -> Judgement:
    """`closed`: what the app waits for, in words; "" for nothing."""
    target = work.record.target
    if blocked is not None:
        return _judge_blocked(work, policy, blocked, faults, closed)
    if target is None:
        verdict = Verdict("Progressing", "Progressing", "nothing was applied yet")
        return Judgement(verdict, after=1.0, pending=True)
    kinds = {fault.kind for fault in faults}
    if "owner" in kinds <= {"owner", "looping"} and not any(action.kind == "restart" for action in work.done):
        # The owner of its network was just started: it follows at once, and has not failed.
        verdict = Verdict("Progressing", "Progressing", "; ".join(fault.cause for fault in faults))
        return Judgement(verdict, after=AT_ONCE, pending=True)
    return _judge_target(work, policy, target, faults, closed, awaits=_awaits_hooks(work, providers))


def _judge_blocked(
    work: Work, policy: Policy, blocked: Blocked, faults: tuple[Fault, ...], closed: str
) -> Judgement:
    target, message = work.record.target, blocked.message
    if blocked.word == "RolledBack" and faults:
        message += "; and now: " + "; ".join([*([closed] if closed else []), *(f.cause for f in faults)])
    verdict = Verdict(blocked.word, blocked.reason, message)
    judgement = Judgement(verdict, blocked.after, pending=blocked.pending, failed=blocked.word == "Failed")
    if target is None or (target.good and work.record.unstable_since is None):
        return judgement
    if blocked.word == "RolledBack":
        # What was gone back to becomes good, as any other revision does; it never gives way to a third one.
        behind = _judge_target(work, policy, target, faults, closed, awaits=False)
        return replace(judgement, after=behind.after, settled=behind.settled)
    if blocked.word not in _OF_NO_USE or blocked.reason == "NameConflict":
        return judgement
    # The files are of no use, and what was applied last was never good, or is not stable again yet, which others wait
    # for: it is watched until it is, or fails.
    behind = _judge_target(work, policy, target, faults, closed, awaits=False)
    after = blocked.after or behind.after or (LOOK_AGAIN if behind.failed else None)
    return replace(judgement, after=after, given_up=behind.given_up, settled=behind.settled)


def _judge_target(
    work: Work, policy: Policy, target: Target, faults: tuple[Fault, ...], closed: str, *, awaits: bool
) -> Judgement:
    times = Times(policy.stable_after, health_timeout(work, policy))
    often = restarted_often(work.record, work.observed)
    return judge(work.record, target, faults, closed, awaits, work.moment.now, times, often)


def _awaits_hooks(work: Work, providers: Providers) -> bool:
    if not isinstance(work.desired, Present):
        return False
    return any(
        r.on_start and r.app in providers and work.record.on_start.get(r.app) != providers[r.app].incarnation
        for r in work.desired.manifest.requires
    )
