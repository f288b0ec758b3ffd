"""Failing: what follows from a failure. The backoff, what is kept running meanwhile, and the way back.

An app is tried again for ever, later each time; at once when anything differs from what the failed try was made
against. How an earlier revision comes back is told in `recovery`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta

from controller.model import effects as fx
from controller.model.effects import Run, ask
from controller.model.errors import EngineUnreachable, InputInvalid
from controller.model.observed import Rendered
from controller.model.plan import Action, Plan, Result
from controller.model.record import Verdict
from controller.model.values import replace
from controller.planner.health import Fault
from controller.planner.judge import died_young
from controller.reconciler import looking, recovery
from controller.reconciler.ending import conclude, save_what_differs
from controller.reconciler.looking import Providers
from controller.reconciler.memory import Retries
from controller.reconciler.planning import only_repairs, plan_run
from controller.reconciler.steps import ActionFailed, execute, who_runs
from controller.reconciler.work import Blocked, Policy, Work
from controller.status.summary import last_word

_REPAIRS = ("compose_up", "restart")
"""Kinds of actions that repair where they do not start all of an app."""


class Failing:
    """Holds the policy and the retries; all else is asked for."""

    def __init__(self, policy: Policy, retries: Retries) -> None:
        self.policy = policy
        self.retries = retries

    # -- before a try ---------------------------------------------------------------------------------

    def back_off(self, work: Work, providers: Providers) -> Run[float]:
        """Seconds until the next try; at once when anything the last one failed against has changed."""
        name = work.name
        if self.retries.are_outdated(name, _failure_context(work, providers)):
            self.retries.now(name)
            work.at_once = True
            yield from ask(fx.ResetBackoff(name))
        return self.retries.left(name, work.moment.monotonic)

    def died_young(self, work: Work, steps: Plan, faults: tuple[Fault, ...]) -> bool:
        """Whether what is to be repaired ended soon after its start, or again, and no wait was made for it yet."""
        if not only_repairs(steps) or work.name in self.retries or work.at_once or work.ended_first:
            return False
        return work.ended_again or died_young(work.record, faults, work.moment.now, self.policy.stable_after)

    @staticmethod
    def wait_on(work: Work, left: float) -> Run[Result]:
        """Woken before its time: nothing is tried and nothing is told."""
        if work.record != work.before:
            yield from work.save()
        message = f"{work.record.last_error}; next try in {math.ceil(left)} s"
        error = Action("error", work.name, message, app=work.name)
        return Result(last_word(work.record), (error,), after=left + 0.005, failed=True)

    # -- after a try ----------------------------------------------------------------------------------

    def action_failed(
        self, work: Work, failed: ActionFailed, providers: Providers, rendered: Rendered | None
    ) -> Run[Result]:
        """Back to what ran before, if the action took it away, else it is kept running; and once more later.

        Told once: by the line that says what comes next. What a hook did, in another app, is a line of its own.
        """
        action, error, told, said = failed.action, failed.error, failed.told, ""
        if action.kind == "hook":
            yield from work.tell("hook.failed", str(error), "error", **told)
            told, said = {}, f"{who_runs(action)} failed"
        if action.kind == "pull":
            return (yield from self._pull_failed(work, failed, providers))
        verdict = Verdict("Failed", error.reason, str(error))
        if action.kind == "rollback":
            text = f"going back to an earlier revision failed: {error.reason}: {error}"
            verdict = Verdict("Failed", "RollbackFailed", text)
        else:
            try:
                damaged = failed.touched and (yield from recovery.is_damaged(work))
                if not damaged and (not failed.touched or recovery.is_untouched(work)):
                    yield from self._go_on_with_what_ran(work, action, providers)
            except EngineUnreachable:
                # The run ends there; what failed before is told and counted all the same. It waits for the engine and for
                # nothing else: what ran before may be down.
                yield from self.retry_later(work, verdict, providers, said, told)
                self.retries.now(work.name)
                raise
            if damaged:
                back = yield from recovery.go_back(work, verdict, rendered, self.policy, self.retries, told)
                if isinstance(back, Result):
                    return back
                verdict = replace(back, word="Failed")
        return (yield from self.retry_later(work, verdict, providers, said, told))

    def _go_on_with_what_ran(self, work: Work, action: Action, providers: Providers) -> Run[None]:
        """The action left nothing that is to be mended: what ran before it goes on, and is healed."""
        work.record = replace(work.record, applying=work.before.applying)
        # Where a repair itself has failed, it would be made, and fail, a second time at once.
        if action.kind not in _REPAIRS or action.starts_all:
            yield from self.heal_meanwhile(work, providers)

    def _pull_failed(self, work: Work, failed: ActionFailed, providers: Providers) -> Run[Result]:
        """The images that a person asked for cannot be had: the person is told, and the app is as it was."""
        error = failed.error
        message = f"{error}; the app is as it was. To try again: `homeport update {work.name}`"
        yield from work.tell("action.failed", message, "error", **failed.told)
        work.record = replace(work.record, conditions=work.before.conditions)
        try:
            yield from self.heal_meanwhile(work, providers)
        except EngineUnreachable:
            yield from work.save()
            raise
        yield from work.save()
        target = work.record.target
        edited = target is None or target.revision != work.record.revision
        told = Action("error", work.name, f"{error.reason}: {error}", app=work.name, asked=True)
        return Result(last_word(work.record), (*work.done, told), after=1.0 if edited else None, failed=True)

    def heal_meanwhile(self, work: Work, providers: Providers) -> Run[None]:
        """The revision on disk cannot be started yet, for its hook or its pull fails: what ran before it is kept
        running. A repair that does not hold is made again only when the app had been stable."""
        target, told = work.record.target, work.record.conditions
        model = (yield from ask(fx.ReadModel(work.name, target.revision))) if target is not None else None
        repairs = plan_run(work, Blocked("Failed", "ApplyFailed", ""), model, providers)
        faults = looking.faults_of(work, model)
        young = died_young(work.record, faults, work.moment.now, self.policy.stable_after)
        if model is None or not repairs or not only_repairs(repairs) or young:
            return
        try:
            yield from execute(work, repairs, model, providers, self.policy)
        except ActionFailed as failed:
            yield from work.tell("action.failed", str(failed.error), "error", **failed.told)
        except InputInvalid as error:
            yield from work.tell("action.failed", str(error), "error", reason=error.reason)
        finally:
            work.record = replace(work.record, conditions=told)

    def retry_later(
        self,
        work: Work,
        verdict: Verdict,
        providers: Providers,
        said: str = "",
        told: Mapping[str, object] | None = None,
    ) -> Run[Result]:
        """One more failure: say so, with the time of the next try. `said`: in short, if it was told in full. `told`:
        of the action that failed."""
        error = f"{verdict.reason}: {verdict.message}"
        delay = yield from note_failure(work, error, self.retries, _failure_context(work, providers))
        work.record = conclude(replace(work.record, deadline=None), work, verdict)
        message = f"{said or verdict.message}; next try in {math.ceil(delay)} s"
        fields = {**(told or {}), "reason": verdict.reason, "retry_in": round(delay, 2)}
        work.news.append(work.event("app.failed", message, "error", **fields))
        yield from save_what_differs(work)
        action = Action("error", work.name, error, app=work.name)
        return Result("Failed", (*work.done, action), after=delay, failed=True)


def note_failure(work: Work, error: str, retries: Retries, against: str = "") -> Run[float]:
    """One more failure: seconds until the next try. `against`: see `Retries.wait`."""
    delay = yield from ask(fx.Backoff(work.name))
    retries.wait(work.name, work.moment.monotonic + delay, against)
    work.record = replace(
        work.record,
        retries=work.record.retries + 1,
        next_try=work.moment.now + timedelta(seconds=delay),
        last_error=error,
    )
    return delay


def _failure_context(work: Work, providers: Providers) -> str:
    """What a try is made against. When any of it differs, the next try is made at once."""
    return "|".join(
        [work.record.revision, *(f"{p.name}={p.incarnation}={p.revision}" for p in providers.values())]
    )
