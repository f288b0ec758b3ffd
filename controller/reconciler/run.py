"""The sequence for one key, told from the top; read `_run` first.

Each step asks for effects and gets answers. What an app is to be is found in `wanted`, what there is in `looking`;
what is due is decided by the planner, how it is done is in `steps`, what follows from it in `converging`.
"""

from __future__ import annotations

import hashlib

from controller.model import effects as fx
from controller.model.desired import Unreadable
from controller.model.effects import Run, ask
from controller.model.errors import EngineUnreachable, Interrupted, Superseded
from controller.model.facts import ENGINE_TROUBLE
from controller.model.observed import Rendered
from controller.model.plan import Result
from controller.model.record import Record
from controller.model.values import replace
from controller.reconciler import looking, wishes
from controller.reconciler.converging import Converging
from controller.reconciler.leaving import leave_itself, leave_to_other
from controller.reconciler.memory import Memory
from controller.reconciler.planning import plan_run, remarks
from controller.reconciler.removing import reconcile_absent
from controller.reconciler.rest import look_at_all
from controller.reconciler.taking_in import not_from_the_future, note_back, note_leap, take_in
from controller.reconciler.wanted import Wanted
from controller.reconciler.work import Policy, Work
from controller.status.summary import last_word

ENGINE_RETRY = 5.0
"""Seconds after which a run that did not reach the engine is made again."""


class Reconciler:
    """Makes runs. Holds the policy and the memory; all else is asked for."""

    def __init__(self, policy: Policy, memory: Memory | None = None, other_rules: str = "") -> None:
        """`other_rules`: changes with everything beside the policy by which apps are judged."""
        self.policy = policy
        self.memory = memory or Memory()
        self._rules = hashlib.blake2b(f"{policy} {other_rules}".encode(), digest_size=16).hexdigest()
        self._wanted = Wanted(policy, self.memory.settling)
        self._converging = Converging(policy, self._rules, self.memory.retries)

    def look_at_all(self, *, reread: bool) -> Run[tuple[str, ...]]:
        """See `rest.look_at_all`."""
        return look_at_all(self.memory, self._rules, reread=reread)

    def run(self, name: str, *, dry_run: bool = False) -> Run[Result]:
        """Reconcile one app. Never raises for what is wrong with the app; `StateUnusable` passes through.

        With `dry_run` no effect that changes anything is asked for, and the result holds what would be done.
        """
        try:
            trouble = yield from ask(fx.ReadFact(ENGINE_TROUBLE))
            if trouble is not None and not dry_run:
                raise EngineUnreachable(trouble)
            if name == self.memory.own_project:
                result = yield from leave_itself(name, self.policy, self.memory, dry_run)
            else:
                result = yield from self._run(name, dry_run)
        except EngineUnreachable:
            # When it is back everything is queued; this is for a single call that was lost.
            return Result("Unknown", after=ENGINE_RETRY, parked=True)
        except Superseded:
            return Result("Progressing", after=self.policy.settle, pending=True)
        except Interrupted:
            # The service stops; the record is as the last finished step left it.
            return Result("Progressing", pending=True)
        if not dry_run:
            if result.word:  # else it is gone, and nothing of it is to be remembered
                self.memory.endings.note(name)
            if not result.pending:
                self.memory.looks.note_run(name)
        return result

    def _run(self, name: str, dry_run: bool) -> Run[Result]:
        moment = yield from ask(fx.ReadClock())
        known = yield from ask(fx.ReadRecord(name))
        desired = yield from ask(fx.Load(name))
        if isinstance(desired, Unreadable) and desired.kept_by_other:
            return (yield from leave_to_other(name, moment, known, desired, dry_run))
        held = yield from reconcile_absent(name, known, desired, moment, self.policy, self.memory, dry_run)
        if isinstance(held, Result):
            return held

        before = known or Record(name)
        awake = replace(not_from_the_future(before, moment.now), rest=None)
        work = Work(name, moment, before, awake, desired)
        if not dry_run:
            work.told = self.memory.endings.take(name)
            yield from note_leap(work, known, self.memory.leaps)
        if held is None:
            yield from note_back(work, self.memory, dry_run)
        if not dry_run and (left := self._wanted.unsettled(work)) > 0:
            return (yield from self._wait_until_settled(work, left, told=held is None))
        if not dry_run and self.memory.requests.take_try(name):
            self.memory.retries.now(name)
            work.at_once = True
        yield from take_in(work, self.policy, self.memory, dry_run)
        # What the brake holds stays held behind any other reason, until its folder is back.
        held_before = work.record.held and held is not None
        work.record = replace(work.record, held=held_before or (held is not None and held.by_brake))
        yield from work.observe()
        if not dry_run:
            yield from wishes.adopt(work)

        providers = yield from looking.look_at_providers(work, self.policy.stable_after, dry_run)
        looking.take_over(work, providers)
        blocked, rendered = yield from self._wanted.find_model(work, providers, held)
        looking.remember_completed(work, rendered)
        if rendered is not None and blocked is None:
            yield from self._take_in_model(work, rendered, dry_run)
        yield from looking.look_at_mounts(work, rendered)
        yield from wishes.find_moved(work, rendered, dry_run)

        steps = plan_run(work, blocked, rendered, providers)
        if dry_run:
            told = yield from remarks(work, blocked, rendered)
            return Result(last_word(work.record), (*steps.actions, *told))
        return (yield from self._converging.converge(work, steps, blocked, rendered, providers))

    def _wait_until_settled(self, work: Work, left: float, *, told: bool) -> Run[Result]:
        if told:
            yield from self._wanted.say_still_changing(work)
        yield from self._wanted.render_ahead(work)
        now = (yield from ask(fx.ReadClock())).monotonic
        left -= now - work.moment.monotonic
        after = self.memory.settling.look_after_look(work.name, max(left, 0.0), now)
        return Result(last_word(work.record), after=after + 0.005, pending=True)

    def _take_in_model(self, work: Work, rendered: Rendered, dry_run: bool) -> Run[None]:
        """What the model on disk says: its volumes, whether the target moves on, what an edit changes, its services."""
        volumes = tuple(sorted({*work.record.own_volumes, *rendered.own_volumes}))
        work.record = replace(work.record, own_volumes=volumes)
        yield from self._wanted.advance(work, rendered, dry_run)
        yield from looking.look_at_differences(work, rendered)
        target = work.record.target
        applied = target.services if target is not None else {}
        kept = {name: as_it_is for name, as_it_is in applied.items() if name not in work.differences}
        work.record = replace(work.record, desired_services=looking.desired_services(rendered, kept))
