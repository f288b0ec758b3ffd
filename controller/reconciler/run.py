"""The sequence for one key, told from the top; read `_run` first.

Each step asks for effects and gets answers. What an app is to be is found in `wanted`, what there is in `looking`;
what is due is decided by the planner, how it is done is in `steps`, what a status looks like is the status room's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from controller.model import effects as fx
from controller.model.desired import Absent, Invalid, Present, Unreadable
from controller.model.effects import Run, ask
from controller.model.errors import EngineUnreachable, InputInvalid, Interrupted, Superseded
from controller.model.facts import APPROVED, ENGINE_TROUBLE, REMOVE, SAID
from controller.model.observed import Rendered
from controller.model.plan import Action, Plan, Result
from controller.model.record import Record, Rest, Target, Verdict
from controller.planner.gates import find_closed
from controller.planner.health import Fault, incarnation_of
from controller.planner.judge import Judgement, Times, crash_loops, died_young, exit_reason, judge
from controller.planner.plan import View, plan, plan_stop
from controller.reconciler import looking, recovery, wishes
from controller.reconciler.looking import Providers
from controller.reconciler.removing import find_orphan, reconcile_absent
from controller.reconciler.rest import look_at_all, rest_of
from controller.reconciler.steps import ActionFailed, execute, health_timeout, who_runs
from controller.reconciler.wanted import Wanted
from controller.reconciler.work import Blocked, Memory, Policy, Work
from controller.status.conditions import same_verdict, without_condition
from controller.status.summary import last_word
from controller.status.transition import MISSING, transition

LOOK_AGAIN = 1.0
"""Seconds after which what failed behind invalid files is looked at again."""

ENGINE_RETRY = 5.0
"""Seconds after which a run that did not reach the engine is made again."""


_ITSELF = (
    "Homeport itself runs in the compose project of this name, and never applies, stops or removes it; manage that one with "
    "`docker compose`, and give this app another name if it is one"
)


class Reconciler:
    """Makes runs. Holds the policy and the memory; all else is asked for."""

    def __init__(self, policy: Policy, memory: Memory | None = None, other_rules: str = "") -> None:
        """`other_rules`: changes with everything beside the policy by which apps are judged."""
        self.policy = policy
        self._rules = hashlib.blake2b(f"{policy} {other_rules}".encode(), digest_size=16).hexdigest()
        self.memory = memory or Memory()
        self.wanted = Wanted(self.policy, self.memory)

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
            itself = name == self.memory.own_project
            result = yield from self._leave_itself(name, dry_run) if itself else self._run(name, dry_run)
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
                self.memory.note_told(name)
            if not result.pending:
                self.memory.note_run(name)
        return result

    def _run(self, name: str, dry_run: bool) -> Run[Result]:
        moment = yield from ask(fx.ReadClock())
        known = yield from ask(fx.ReadRecord(name))
        desired = yield from ask(fx.Load(name))
        if isinstance(desired, Unreadable) and desired.kept_by_other:
            return (yield from self._leave_to_other(name, moment, known, desired, dry_run))
        by_command = (yield from ask(fx.ReadFact(REMOVE + name))) is not None
        held: Blocked | None = None
        if isinstance(desired, Absent) or by_command:
            if known is None and isinstance(desired, Absent):
                return (yield from find_orphan(name, moment, self.memory, dry_run))
            gone = (
                replace(known, rest=None)
                if known
                else Record(name, folder=desired.folder if isinstance(desired, Present | Invalid) else "")
            )
            outcome = yield from reconcile_absent(gone, desired, moment, self.policy, self.memory, dry_run)
            if isinstance(outcome, Result):
                return outcome
            held = outcome
        before = known or Record(name)
        awake = replace(_not_from_the_future(before, moment.now), rest=None)
        work = Work(name, moment, before, awake, desired)
        if not dry_run:
            work.told = self.memory.take_told(name)
            yield from self._note_leap(work, known)
        if held is None:
            yield from self._note_back(work, dry_run)
        if not dry_run and (left := self.wanted.unsettled(work)) > 0:
            return (yield from self._wait_until_settled(work, left, told=held is None))
        if not dry_run and self.memory.take_forced(name):
            self.memory.retry_now(name)
        yield from self._take_in(work, dry_run)
        # What the brake holds stays held behind any other reason, until its folder is back.
        held_before = work.record.held and held is not None
        work.record = replace(work.record, held=held_before or (held is not None and held.by_brake))
        yield from work.observe()
        if not dry_run:
            yield from wishes.adopt(work)

        providers = yield from looking.look_at_providers(work, self.policy.stable_after, dry_run)
        looking.take_over(work, providers)
        blocked, rendered = yield from self.wanted.find_model(work, providers, held)
        looking.remember_completed(work, rendered)
        if rendered is not None and blocked is None:
            volumes = tuple(sorted({*work.record.own_volumes, *rendered.own_volumes}))
            work.record = replace(work.record, own_volumes=volumes)
            yield from self.wanted.advance(work, rendered, dry_run)
            yield from looking.look_at_differences(work, rendered)
            target = work.record.target
            applied = target.services if target is not None else {}
            kept = {name: as_it_is for name, as_it_is in applied.items() if name not in work.differences}
            work.record = replace(work.record, desired_services=looking.desired_services(rendered, kept))
        yield from looking.look_at_mounts(work, rendered)
        yield from wishes.find_moved(work, rendered, dry_run)

        steps = self._plan(work, blocked, rendered, providers)
        if dry_run:
            told = yield from self._remarks(work, blocked, rendered)
            return Result(last_word(work.record), (*steps.actions, *told))
        return (yield from self._converge(work, steps, blocked, rendered, providers))

    def _wait_until_settled(self, work: Work, left: float, *, told: bool) -> Run[Result]:
        if told:
            yield from self.wanted.say_still_changing(work)
        return Result(last_word(work.record), after=min(left, 1.0) + 0.005, pending=True)

    def _note_back(self, work: Work, dry_run: bool) -> Run[None]:
        """Its folder is there: that somebody let its removal go is of no use any more."""
        self.memory.note_back(work.name)
        if (
            not dry_run
            and work.record.condition(MISSING) is not None
            and not isinstance(work.desired, Unreadable)
        ):
            # Back in time: what the status said before counts again, and nothing else happened.
            work.record = without_condition(work.record, MISSING)
            yield from work.tell("app.back", "its folder is back; nothing was removed")
            yield from work.save()
            work.before = work.record
        if not dry_run and (work.before.generation == 0 or last_word(work.before) in _GONE):
            yield from ask(fx.WriteFact(APPROVED + work.name))

    def _note_leap(self, work: Work, known: Record | None) -> Run[None]:
        if self.memory.take_leap(work.name, work.moment) and known is not None:
            work.record = _begun_anew(work.record, work.moment.now)
            # At once: an engine that is not awake yet would end the run, and the leap is noted once.
            yield from ask(fx.SaveRecord(work.record))

    def _leave_itself(self, name: str, dry_run: bool) -> Run[Result]:
        """The project that the service runs in: an apply would end the service in its middle, a removal for good."""
        moment = yield from ask(fx.ReadClock())
        known = yield from ask(fx.ReadRecord(name))
        desired = yield from ask(fx.Load(name))
        told = Action("skip", name, _ITSELF, app=name)
        if dry_run:
            return Result("Invalid", (told,))
        self.memory.forget(name)
        self.memory.note_back(name)
        for said in SAID:
            yield from ask(fx.WriteFact(said + name))
        if isinstance(desired, Absent):
            if known is not None:
                yield from ask(fx.ForgetRecord(name))
            return Result()
        work = Work(name, moment, known or Record(name), replace(known or Record(name), rest=None), desired)
        yield from self._take_in(work, dry_run)
        yield from work.observe()
        yield from self._finish(work, Verdict("Invalid", "OwnProject", _ITSELF))
        return Result("Invalid", (told,))

    def _leave_to_other(
        self, name: str, moment: fx.Moment, known: Record | None, desired: Unreadable, dry_run: bool
    ) -> Run[Result]:
        """Another Homeport keeps the tree: not even what runs is repaired, for it may be what that one started."""
        if known is None or dry_run:
            return Result("Unknown")
        work = Work(name, moment, known, replace(known, rest=None), desired)
        yield from work.observe()
        yield from self._finish(work, Verdict("Unknown", "SourceUnavailable", desired.message))
        return Result("Unknown")

    # -- what is wanted and what there is -------------------------------------------------------------

    def _take_in(self, work: Work, dry_run: bool) -> Run[None]:
        """Generation, revision, the manifest's facts and what a person said into the record."""
        desired, before, name = work.desired, work.before, work.name
        seen: dict[str, Any] = {}
        if isinstance(desired, Present | Invalid):
            seen |= {"folder": desired.folder, "revision": desired.revision, "own_write": False}
            seen |= {"identity": desired.identity, "inputs": desired.inputs}
            if before.folder not in ("", desired.folder):
                seen["folders"] = tuple(dict.fromkeys((before.folder, *before.folders)))
            if desired.revision != before.revision and not before.own_write:
                generation = before.generation + 1
                seen |= {"generation": generation, "last_change": work.moment.now, "quarantine": None}
                seen |= {"retries": 0}  # those were tries of other files
                told: dict[str, object] = {"generation": generation}
                told["revision"] = desired.revision.removeprefix("sha256:")[:12]
                if generation == 1:
                    work.news.append(work.event("app.discovered", "new app folder", **told))
                else:
                    changed = _changed(before.inputs, desired.inputs)
                    message = f"{_listed(changed) or 'inputs'} changed"
                    work.news.append(work.event("app.changed", message, **told, files=changed))
                for warning in desired.warnings if isinstance(desired, Present) else ():
                    work.news.append(work.event("app.warning", warning, "warning"))
                if not dry_run:
                    self.memory.retry_now(name)
                    yield from ask(fx.ResetBackoff(name))
        if isinstance(desired, Present):
            manifest = desired.manifest
            seen |= {
                "display_name": manifest.display_name,
                "version": manifest.version,
                "requires": tuple(sorted(r.app for r in manifest.requires)),
                "on_remove": {r.app: r.on_remove for r in manifest.requires if r.on_remove},
                "volumes": tuple(f"{self.policy.volume_prefix}_{name}_{short}" for short in manifest.volumes),
                "exec_service": manifest.exec_service,
                "suspended_by_manifest": manifest.suspend,
            }
        work.record = replace(work.record, **seen)
        yield from wishes.take_in(work, self.memory, dry_run)

    # -- closing the gap ------------------------------------------------------------------------------

    def _plan(
        self, work: Work, blocked: Blocked | None, rendered: Rendered | None, providers: Providers
    ) -> Plan:
        """What is due. Behind a block only repairs of the target; none when it is not ours to touch, or its
        own providers are not available (I14)."""
        record = work.record
        if record.suspended or record.suspended_by_manifest:
            return Plan()
        if record.stopped:
            # Whatever else holds it up, its folder being gone among them: what a person said goes on to count.
            return plan_stop(record, work.observed)
        back_to = _back_to(record, blocked)
        follows = back_to or record.target
        # What is applied needs its own providers, and not those of what ran before it.
        requires = record.requires if blocked is None else follows.requires if follows else ()
        waits = find_closed(requires, providers)
        if waits is not None or (blocked is not None and blocked.reason == "NameConflict"):
            return Plan()
        app = work.desired if isinstance(work.desired, Present) else None
        return plan(
            View(
                record,
                work.observed,
                app,
                rendered,
                apply=blocked is None or back_to is not None,
                back_to=back_to,
                volumes=record.volumes,
                providers=providers,
                mounts=work.mounts,
                wishes=work.wishes,
                differences=work.differences,
            )
        )

    def _remarks(
        self, work: Work, blocked: Blocked | None, rendered: Rendered | None
    ) -> Run[tuple[Action, ...]]:
        """What a plan says beside its actions: why nothing more is done, and which tags have moved."""
        told = [] if blocked is None else [blocked.action(work.name)]
        target = work.record.target
        if rendered is not None and target is not None and target.revision == rendered.revision:
            for service in (yield from wishes.moved_services(work, rendered)):
                image = target.services[service].image
                text = f"service {service}: {image} is another image now; `homeport update {work.name}` applies it"
                told.append(Action("skip", work.name, text, app=work.name))
        return tuple(told)

    def _converge(
        self,
        work: Work,
        steps: Plan,
        blocked: Blocked | None,
        rendered: Rendered | None,
        providers: Providers,
    ) -> Run[Result]:
        """Act, unless the backoff says not yet; then judge what is there."""
        faults = looking.faults_of(work, rendered)
        looking.note_unexpected_ends(work, rendered)
        if steps:
            left = yield from self._backing_off(work, providers)
            if left > 0:
                if not _only_repairs(steps):
                    yield from self._heal_meanwhile(work, providers)
                return (yield from self._still_failing(work, left))
            if self._died_young(work, steps, faults):
                if blocked is None:
                    # An update that runs for a moment and ends, again and again, is to be given up, too.
                    return (yield from self._judge(work, blocked, rendered, providers))
                message = "; ".join(fault.cause for fault in faults) + ", soon after its start"
                verdict = Verdict("Failed", exit_reason(work.record), message)
                if not blocked.pending:
                    # What holds the files up is for a person; what was applied before them is tried again beside it.
                    verdict = Verdict(blocked.word, blocked.reason, f"{blocked.message}; and now: {message}")
                return (yield from self._retry_later(work, verdict, providers, message))
            self.memory.retry_now(work.name)
            try:
                yield from execute(work, steps, rendered, providers, self.policy)
            except ActionFailed as failed:
                return (yield from self._action_failed(work, failed, providers, rendered))
            except InputInvalid as error:
                blocked = Blocked("Invalid", error.reason, str(error), after=self.policy.poll_incomplete)
            if any(action.ends_run for action in work.done):
                yield from ask(fx.Enqueue(work.name))
                done = "the images were pulled" if work.done[-1].kind == "pull" else ".env was completed"
                yield from self._finish(
                    work, Verdict("Progressing", "Progressing", f"{done}; it goes on at once")
                )
                return Result("Progressing", tuple(work.done), pending=True)
            if not (work.done and work.done[-1].kind in _LOOKED_AT):
                yield from work.observe()
        yield from wishes.fulfilled(work)
        return (yield from self._judge(work, blocked, rendered, providers))

    def _died_young(self, work: Work, steps: Plan, faults: tuple[Fault, ...]) -> bool:
        """Whether what is to be repaired ended soon after our last start, and no wait was made for it yet."""
        if not _only_repairs(steps) or work.name in self.memory.not_before:
            return False
        return died_young(work.record, faults, work.moment.now, self.policy.stable_after)

    def _backing_off(self, work: Work, providers: Providers) -> Run[float]:
        """Seconds until the next try; at once when anything the last one failed against has changed."""
        name = work.name
        if name in self.memory.not_before and self.memory.failed_against.get(name) != _failure_context(
            work, providers
        ):
            self.memory.retry_now(name)
            yield from ask(fx.ResetBackoff(name))
        return self.memory.not_before.get(name, 0.0) - work.moment.monotonic

    def _judge(
        self, work: Work, blocked: Blocked | None, rendered: Rendered | None, providers: Providers
    ) -> Run[Result]:
        target = work.record.target
        if target is not None and (rendered is None or rendered.revision != target.revision):
            # The revision on disk could not be applied: judged is what runs.
            rendered = yield from ask(fx.ReadModel(work.name, target.revision))
        faults = looking.faults_of(work, rendered)
        follows = _back_to(work.record, blocked) or target
        closed = find_closed(follows.requires if follows else work.record.requires, providers)
        waits_for = closed.message if closed else ""
        judgement = self._judgement(work, blocked, faults, waits_for, providers)
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
            health_message="; ".join(fault.cause for fault in faults),
            dependencies=None if not work.record.requires else waits_for,
        )
        if judgement.given_up and blocked is None:
            back = yield from recovery.go_back(work, verdict, rendered, self.policy, self.memory)
            if isinstance(back, Result):
                return back
            verdict = back
        if judgement.failed:
            left = yield from self._backing_off(work, providers)
            if left > 0:
                return (yield from self._still_failing(work, left))
            return (yield from self._retry_later(work, verdict, providers))
        if judgement.settled and target is not None:
            yield from recovery.settle(work)
        rest = rest_of(work, judgement, providers, self._rules) if blocked is None else None
        work.record = replace(work.record, deadline=judgement.deadline)
        yield from self._finish(work, verdict, blocked, rest)
        if judgement.settled:
            yield from ask(fx.ResetBackoff(work.name))
        told_actions = () if blocked is None else (blocked.action(work.name),)
        word = last_word(work.record)
        return Result(word, (*work.done, *told_actions), judgement.after, pending=judgement.pending)

    def _judgement(
        self,
        work: Work,
        blocked: Blocked | None,
        faults: tuple[Fault, ...],
        closed: str,
        providers: Providers,
    ) -> Judgement:
        target = work.record.target
        if blocked is not None:
            message = blocked.message
            if blocked.word == "RolledBack" and faults:
                message += "; and now: " + "; ".join(
                    [*([closed] if closed else []), *(fault.cause for fault in faults)]
                )
            verdict = Verdict(blocked.word, blocked.reason, message)
            judgement = Judgement(
                verdict, blocked.after, pending=blocked.pending, failed=blocked.word == "Failed"
            )
            if (
                blocked.word not in _OF_NO_USE
                or blocked.reason == "NameConflict"
                or target is None
                or (target.good and work.record.unstable_since is None)
            ):
                return judgement
            # The files are of no use, and what was applied last was never good, or is not stable again yet, which others wait
            # for: it is watched until it is, or fails.
            behind = self._judge_target(work, target, faults, closed, awaits=False)
            after = blocked.after or behind.after or (LOOK_AGAIN if behind.failed else None)
            return replace(judgement, after=after, given_up=behind.given_up, settled=behind.settled)
        if target is None:
            verdict = Verdict("Progressing", "Progressing", "nothing was applied yet")
            return Judgement(verdict, after=1.0, pending=True)
        return self._judge_target(work, target, faults, closed, awaits=self._awaits_hooks(work, providers))

    def _judge_target(
        self, work: Work, target: Target, faults: tuple[Fault, ...], closed: str, *, awaits: bool
    ) -> Judgement:
        times = Times(self.policy.stable_after, health_timeout(work, self.policy))
        loops = crash_loops(work.record, work.observed)
        return judge(work.record, target, faults, closed, awaits, work.moment.now, times, loops)

    @staticmethod
    def _was_told(work: Work, name: str) -> Run[bool]:
        """Whether people know of this verdict, which is told as `name`."""
        if work.before.generation != work.record.generation or not same_verdict(work.before, work.record):
            return False
        if work.told:
            return True
        # A run that was cut off may have told another one, and not have saved it.
        last = yield from ask(fx.ReadLastTold(work.name, _WORDS_TOLD))
        return last in (None, name)

    @staticmethod
    def _awaits_hooks(work: Work, providers: Providers) -> bool:
        if not isinstance(work.desired, Present):
            return False
        return any(
            r.on_start
            and r.app in providers
            and work.record.on_start.get(r.app) != providers[r.app].incarnation
            for r in work.desired.manifest.requires
        )

    # -- failures -------------------------------------------------------------------------------------

    def _action_failed(
        self, work: Work, failed: ActionFailed, providers: Providers, rendered: Rendered | None
    ) -> Run[Result]:
        """Told once: by the line that says what comes next. What a hook did, in another app, is a line of its own."""
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
        elif failed.touched and (yield from recovery.is_damaged(work)):
            back = yield from recovery.go_back(work, verdict, rendered, self.policy, self.memory, told)
            if isinstance(back, Result):
                return back
            verdict = replace(back, word="Failed")
        elif not failed.touched or recovery.is_untouched(work):
            # Nothing of the start is to be mended: what ran before it goes on, and is healed.
            work.record = replace(work.record, applying=work.before.applying)
            yield from self._heal_meanwhile(work, providers)
        return (yield from self._retry_later(work, verdict, providers, said, told))

    def _pull_failed(self, work: Work, failed: ActionFailed, providers: Providers) -> Run[Result]:
        """The images that a person asked for cannot be had: the person is told, and the app is as it was."""
        error = failed.error
        message = f"{error}; the app is as it was. To try again: `homeport update {work.name}`"
        yield from work.tell("action.failed", message, "error", **failed.told)
        work.record = replace(work.record, conditions=work.before.conditions)
        yield from self._heal_meanwhile(work, providers)
        yield from work.save()
        target = work.record.target
        edited = target is None or target.revision != work.record.revision
        told = Action("error", work.name, f"{error.reason}: {error}", app=work.name, asked=True)
        return Result(last_word(work.record), (*work.done, told), after=1.0 if edited else None, failed=True)

    def _heal_meanwhile(self, work: Work, providers: Providers) -> Run[None]:
        """The revision on disk cannot be started yet, for its hook or its pull fails: what ran before it is kept
        running. A repair that does not hold is made again only when the app had been stable."""
        target, told = work.record.target, work.record.conditions
        model = (yield from ask(fx.ReadModel(work.name, target.revision))) if target is not None else None
        repairs = self._plan(work, Blocked("Failed", "ApplyFailed", ""), model, providers)
        faults = looking.faults_of(work, model)
        young = died_young(work.record, faults, work.moment.now, self.policy.stable_after)
        if model is None or not repairs or not _only_repairs(repairs) or young:
            return
        try:
            yield from execute(work, repairs, model, providers, self.policy)
        except ActionFailed as failed:
            yield from work.tell("action.failed", str(failed.error), "error", **failed.told)
        except InputInvalid as error:
            yield from work.tell("action.failed", str(error), "error", reason=error.reason)
        work.record = replace(work.record, conditions=told)

    def _retry_later(
        self,
        work: Work,
        verdict: Verdict,
        providers: Providers,
        said: str = "",
        told: Mapping[str, object] | None = None,
    ) -> Run[Result]:
        """One more failure: say so, with the time of the next try. `said`: in short, if it was told in full. `told`:
        of the action that failed."""
        delay = yield from ask(fx.Backoff(work.name))
        self.memory.not_before[work.name] = work.moment.monotonic + delay
        self.memory.failed_against[work.name] = _failure_context(work, providers)
        failed = replace(
            work.record,
            retries=work.record.retries + 1,
            next_try=work.moment.now + timedelta(seconds=delay),
            deadline=None,
            last_error=f"{verdict.reason}: {verdict.message}",
        )
        work.record = self._concluded(failed, work, verdict)
        message = f"{said or verdict.message}; next try in {delay:.0f} s"
        fields = {**(told or {}), "reason": verdict.reason, "retry_in": round(delay, 2)}
        work.news.append(work.event("app.failed", message, "error", **fields))
        yield from self._save(work)
        error = Action("error", work.name, f"{verdict.reason}: {verdict.message}", app=work.name)
        return Result("Failed", (*work.done, error), after=delay, failed=True)

    @staticmethod
    def _still_failing(work: Work, left: float) -> Run[Result]:
        """Woken before its time: nothing is tried and nothing is told."""
        if work.record != work.before:
            yield from work.save()
        message = f"{work.record.last_error}; next try in {left:.0f} s"
        error = Action("error", work.name, message, app=work.name)
        return Result(last_word(work.record), (error,), after=left + 0.005, failed=True)

    # -- what is remembered ---------------------------------------------------------------------------

    def _finish(
        self, work: Work, verdict: Verdict, blocked: Blocked | None = None, rest: Rest | None = None
    ) -> Run[None]:
        """A run that did not fail: no retry is open, and a change that a person would see is told once."""
        good = work.record.target is not None and work.record.target.good
        still_trying = verdict.word == "Progressing" or (verdict.word != "Waiting" and not good)
        retries = work.record.retries if still_trying else 0
        concluded = self._concluded(replace(work.record, retries=retries, next_try=None), work, verdict)
        work.record = replace(concluded, rest=rest)
        if verdict.word in _TOLD:
            name, level = _TOLD[verdict.word]
            if work.record.quarantine is not None and work.record.quarantine.by_person:
                level = "info"  # no failure: a person wants it so
            if work.done or not (yield from self._was_told(work, name)):
                message = verdict.message
                if work.record.deadline is not None and verdict.healthy is False:
                    # The status counts this down; a line of the log has to say it once.
                    left = (work.record.deadline - work.moment.now).total_seconds()
                    message += f"; it has {left:.0f} s to get there"
                yield from work.tell(name, message, level, reason=verdict.reason)
        yield from self._save(work)

    @staticmethod
    def _concluded(record: Record, work: Work, verdict: Verdict) -> Record:
        """The record with this verdict and with what was seen last."""
        return replace(
            transition(record, verdict, work.moment.now),
            available=verdict.healthy is True,
            incarnation=incarnation_of(work.observed),
            observed_services=looking.observed_services(work.observed),
        )

    def _save(self, work: Work) -> Run[None]:
        """Save what differs; a look that finds nothing new writes nothing (I10)."""
        record = work.record
        if replace(record, last_reconcile=work.before.last_reconcile) == work.before and not work.done:
            return
        yield from work.save()
        if looking.seen_by_consumers(record) != looking.seen_by_consumers(work.before):
            for consumer in (yield from ask(fx.ReadRecords())):
                if work.name in consumer.needs:
                    yield from ask(fx.Enqueue(consumer.name))
        for provider in sorted(work.before.holds - record.holds):
            # It may be held only for our sake.
            yield from ask(fx.Enqueue(provider))


_OF_NO_USE = ("Invalid", "NeedsConfiguration", "Waiting")
"""Words of files that cannot be applied as they are, or not yet: behind them what was applied last is watched."""

_LOOKED_AT = ("compose_up", "rollback", "restart")
"""Kinds of actions that end with a look at what they gave."""

_GONE = ("Held", "RemovalBlocked", "Removing", "Orphaned")
"""Words of an app whose folder was gone."""

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


def _back_to(record: Record, blocked: Blocked | None) -> Target | None:
    """What runs instead of a generation that is kept out, if that is why the app on disk is not converged to."""
    rolled_back = blocked is not None and blocked.word == "RolledBack"
    return record.quarantine.to if record.quarantine is not None and rolled_back else None


_MOST_LISTED = 5
"""Changed files that a message names."""


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The inputs that came, went or are others; none where it is not known how each was."""
    if not before or not now:
        return []
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more} more files" if more > 0 else "")


def _failure_context(work: Work, providers: Providers) -> str:
    """What a try is made against. When any of it differs, the next try is made at once."""
    return "|".join(
        [work.record.revision, *(f"{p.name}={p.incarnation}={p.revision}" for p in providers.values())]
    )


def _not_from_the_future(record: Record, now: datetime) -> Record:
    """A clock that was set back must not make a wait last until it is there again: what lies ahead is now."""

    def past(moment: datetime | None) -> datetime | None:
        return now if moment is not None and moment > now else moment

    target = record.target
    if target is not None and target.applied_at > now:
        target = replace(target, applied_at=now)
    started, unstable = past(record.started_at), past(record.unstable_since)
    if (target, started, unstable) == (record.target, record.started_at, record.unstable_since):
        return record
    return replace(record, target=target, started_at=started, unstable_since=unstable)


def _begun_anew(record: Record, now: datetime) -> Record:
    """After a leap of the clock: nobody is out of time, or proven stable, by minutes that never were."""
    return replace(
        record,
        started_at=now if record.started_at is not None else None,
        unstable_since=now if record.unstable_since is not None else None,
    )


def _only_repairs(steps: Plan) -> bool:
    """Whether nothing is started but single services of what was applied."""
    return not any(action.starts_all for action in steps.actions)
