"""Converging: the gap is closed as far as it can be now, and what is there then is judged.

Nothing is tried before its time. What a failure leads to is told in `failing`, what the end of a run leaves in `ending`.
"""

from __future__ import annotations

from controller.model import effects as fx
from controller.model.effects import Run, ask
from controller.model.errors import InputInvalid
from controller.model.observed import Rendered
from controller.model.plan import Plan, Result
from controller.model.record import Verdict
from controller.model.values import replace
from controller.planner.gates import find_closed
from controller.planner.health import Fault
from controller.planner.judge import exit_reason, health_reason, with_crash_loops
from controller.reconciler import looking, recovery, wishes
from controller.reconciler.ending import finish
from controller.reconciler.failing import Failing
from controller.reconciler.judging import judge_run
from controller.reconciler.looking import Providers
from controller.reconciler.memory import Retries
from controller.reconciler.planning import only_repairs, runs_instead
from controller.reconciler.rest import rest_of
from controller.reconciler.steps import ActionFailed, execute
from controller.reconciler.work import Blocked, Policy, Work
from controller.status.summary import last_word

_LOOKED_AT = ("compose_up", "rollback", "restart")
"""Kinds of actions that end with a look at what they gave."""
_ENDED = ("down", "failed")
"""Kinds of faults of what has ended."""


class Converging:
    """Holds the policy, the rules and the retries; all else is asked for."""

    def __init__(self, policy: Policy, rules: str, retries: Retries) -> None:
        """`rules`: see `rest`."""
        self.policy = policy
        self.rules = rules
        self.retries = retries
        self.failing = Failing(policy, retries)

    def converge(
        self,
        work: Work,
        steps: Plan,
        blocked: Blocked | None,
        rendered: Rendered | None,
        providers: Providers,
    ) -> Run[Result]:
        """Act, unless the backoff says not yet; then judge what is there."""
        faults = looking.faults_of(work, rendered)
        yield from looking.note_unexpected_ends(work, rendered, self.policy.stable_after)
        if steps:
            if work.ended_first and only_repairs(steps):
                # It waits for no sibling that ends again and again.
                self.retries.now(work.name)
            left = yield from self.failing.back_off(work, providers)
            if left > 0:
                if not only_repairs(steps):
                    yield from self.failing.heal_meanwhile(work, providers)
                return (yield from self.failing.wait_on(work, left))
            if self.failing.died_young(work, steps, faults):
                if blocked is None:
                    # An update that runs for a moment and ends, again and again, is to be given up, too.
                    return (yield from self._judge(work, blocked, rendered, providers))
                return (yield from self._died_behind(work, blocked, faults, providers))
            outcome = yield from self._act(work, steps, blocked, rendered, providers)
            if isinstance(outcome, Result):
                return outcome
            blocked = outcome
        yield from looking.look_into_first_ends(work)
        yield from wishes.fulfilled(work)
        return (yield from self._judge(work, blocked, rendered, providers))

    def _died_behind(
        self, work: Work, blocked: Blocked, faults: tuple[Fault, ...], providers: Providers
    ) -> Run[Result]:
        faults = self._with_crash_loops(work, faults)
        message = "; ".join(fault.cause for fault in faults)
        verdict = Verdict("Failed", exit_reason(work.record, faults), message)
        if not blocked.pending:
            # What holds the files up is for a person; what was applied before them is tried again beside it.
            verdict = Verdict(blocked.word, blocked.reason, f"{blocked.message}; and now: {message}")
        return (yield from self.failing.retry_later(work, verdict, providers, message))

    def _with_crash_loops(self, work: Work, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        return with_crash_loops(faults, work.record, work.observed, work.moment.now, self.policy.stable_after)

    def _act(
        self,
        work: Work,
        steps: Plan,
        blocked: Blocked | None,
        rendered: Rendered | None,
        providers: Providers,
    ) -> Run[Result | Blocked | None]:
        """Do what is due and look at what it gave. Answers with what holds the app up now; or with the run's end."""
        self.retries.now(work.name)
        try:
            yield from execute(work, steps, rendered, providers, self.policy)
        except ActionFailed as failed:
            return (yield from self.failing.action_failed(work, failed, providers, rendered))
        except InputInvalid as error:
            blocked = Blocked("Invalid", error.reason, str(error), after=self.policy.poll_incomplete)
        if any(action.ends_run for action in work.done):
            yield from ask(fx.Enqueue(work.name))
            done = "the images were pulled" if work.done[-1].kind == "pull" else ".env was completed"
            yield from finish(work, Verdict("Progressing", "Progressing", f"{done}; it goes on at once"))
            return Result("Progressing", tuple(work.done), pending=True)
        if not (work.done and work.done[-1].kind in _LOOKED_AT):
            yield from work.observe()
        return blocked

    def _judge(
        self, work: Work, blocked: Blocked | None, rendered: Rendered | None, providers: Providers
    ) -> Run[Result]:
        """What the app is like now, and what follows: the way back, one more try, or the end of the run."""
        target = work.record.target
        if target is not None and (rendered is None or rendered.revision != target.revision):
            # The revision on disk could not be applied: judged is what runs.
            rendered = yield from ask(fx.ReadModel(work.name, target.revision))
        faults = self._with_crash_loops(work, looking.faults_of(work, rendered))
        if blocked is None and work.record.unstable_since is None and any(f.kind in _ENDED for f in faults):
            # Not seen to run before it ended, as what ends as soon as it is started: a look at which it runs proves nothing.
            work.record = replace(work.record, unstable_since=work.moment.now)
        follows = runs_instead(work.record, blocked) or target
        closed = find_closed(follows.requires if follows else work.record.requires, providers)
        waits_for = closed.message if closed else ""
        judgement = judge_run(work, self.policy, blocked, faults, waits_for, providers)
        if judgement.given_up and blocked is not None:
            fallen = yield from recovery.fall_back(work, rendered, self.policy)
            if fallen is not None:
                return fallen
        verdict = judgement.verdict
        unhealthy = any(fault.kind == "unhealthy" for fault in faults)
        if rendered is not None and blocked is None and (verdict.word in ("Failed", "Degraded") or unhealthy):
            told = yield from looking.last_words(work, faults, verdict.message, rendered)
            verdict = replace(verdict, message=told)
        verdict = replace(
            verdict,
            healthy=None if target is None or rendered is None else not faults,
            health_reason=health_reason(work.record, faults),
            health_message="; ".join(fault.cause for fault in faults),
            dependencies=None if not work.record.requires else waits_for,
        )
        if judgement.given_up and blocked is None:
            back = yield from recovery.go_back(work, verdict, rendered, self.policy, self.retries)
            if isinstance(back, Result):
                return back
            verdict = back
        if judgement.failed:
            left = yield from self.failing.back_off(work, providers)
            if left > 0:
                return (yield from self.failing.wait_on(work, left))
            return (yield from self.failing.retry_later(work, verdict, providers))
        if judgement.settled and target is not None:
            yield from recovery.settle(work)
        rest = rest_of(work, judgement, providers, self.rules) if blocked is None else None
        work.record = replace(work.record, deadline=judgement.deadline)
        yield from finish(work, verdict, rest)
        if judgement.settled:
            yield from ask(fx.ResetBackoff(work.name))
        told_actions = () if blocked is None else (blocked.action(work.name),)
        word = last_word(work.record)
        return Result(word, (*work.done, *told_actions), judgement.after, pending=judgement.pending)
