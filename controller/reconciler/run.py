"""The sequence for one key, told from the top; read `_run` first.

Each step asks for effects and gets answers. What is due is decided by the planner, how an action is done is
in `steps`, what a status looks like is the status room's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from controller.model import effects as fx
from controller.model.desired import Absent, Invalid, Present, Unreadable
from controller.model.effects import Run, ask
from controller.model.errors import AppError, EngineUnreachable, InputInvalid, Interrupted
from controller.model.facts import SUSPENDED
from controller.model.observed import Container, Observed, Rendered
from controller.model.plan import Action, Plan, Result
from controller.model.record import LedgerEntry, Record, Verdict
from controller.planner import hooks
from controller.planner.gates import Provider, choose_container, find_closed, find_cycle
from controller.planner.health import Fault, find_faults, incarnation_of, is_leftover
from controller.planner.judge import Judgement, Times, died_young, judge, unexpected_ends
from controller.planner.plan import View, plan
from controller.reconciler.removing import reconcile_absent
from controller.reconciler.steps import ActionFailed, execute, health_timeout
from controller.reconciler.work import Blocked, Memory, Policy, Work, folders_of
from controller.status.conditions import same_verdict
from controller.status.summary import last_word
from controller.status.transition import transition

SETTLE_CAP = 10.0
"""Seconds after which an edit is acted on although its files still change."""

ENGINE_RETRY = 5.0
"""Seconds after which a run that did not reach the engine is made again."""

Providers = Mapping[str, Provider]


class Reconciler:
    """Makes runs. Holds the policy and the memory; all else is asked for."""

    def __init__(self, policy: Policy, memory: Memory | None = None) -> None:
        self.policy = policy
        self.memory = memory or Memory()

    def run(self, name: str, *, dry_run: bool = False) -> Run[Result]:
        """Reconcile one app. Never raises for what is wrong with the app; `StateUnusable` passes through.

        With `dry_run` no effect that changes anything is asked for, and the result holds what would be done.
        """
        try:
            return (yield from self._run(name, dry_run))
        except EngineUnreachable:
            # When it is back everything is queued; this is for a single call that was lost.
            return Result("Unknown", after=ENGINE_RETRY, parked=True)
        except Interrupted:
            # The service stops; the record is as the last finished step left it.
            return Result("Progressing", pending=True)

    def _run(self, name: str, dry_run: bool) -> Run[Result]:
        moment = yield from ask(fx.ReadClock())
        known = yield from ask(fx.ReadRecord(name))
        desired = yield from ask(fx.Load(name))
        held: Blocked | None = None
        if isinstance(desired, Absent):
            if known is None:
                return Result()
            outcome = yield from reconcile_absent(known, moment, self.policy, self.memory, dry_run)
            if isinstance(outcome, Result):
                return outcome
            held = outcome
        before = known or Record(name)
        work = Work(name, moment, before, _not_from_the_future(before, moment.now), desired)
        if held is None:
            self.memory.note_back(name)
            if not dry_run and (known is None or last_word(before) in ("Held", "RemovalBlocked", "Removing")):
                yield from ask(fx.EndApproval(name))
        if not dry_run and (left := self._unsettled(work)) > 0:
            return Result(last_word(before), after=min(left, 1.0) + 0.005, pending=True)
        if not dry_run and self.memory.take_forced(name):
            self.memory.retry_now(name)
        yield from self._take_in(work, dry_run)
        work.record = replace(work.record, held=held is not None and held.by_brake)
        yield from work.observe()

        providers = yield from self._look_at_providers(work, dry_run)
        self._take_over(work, providers)
        blocked, rendered = yield from self._find_model(work, providers, held)
        self._remember_completed(work, rendered)
        if rendered is not None and blocked is None:
            work.record = replace(work.record, desired_services=_desired_services(rendered))

        steps = self._plan(work, blocked, rendered, providers)
        if dry_run:
            told = () if blocked is None else (blocked.action(name),)
            return Result(last_word(work.record), (*steps.actions, *told))
        return (yield from self._converge(work, steps, blocked, rendered, providers))

    # -- what is wanted and what there is -------------------------------------------------------------

    def _unsettled(self, work: Work) -> float:
        """Seconds for which an edit has to be quiet still; 0 when there is none or it has come to rest."""
        desired, name = work.desired, work.name
        if not isinstance(desired, Present | Invalid) or desired.revision == work.before.revision:
            self.memory.unsettled.pop(name, None)
            return 0.0
        new = work.before.target is None and (
            work.before.generation == 0 or _reason(work.before) == "Incomplete"
        )
        since = self.memory.unsettled.setdefault(name, work.moment.monotonic)
        # A file that never comes to rest must not starve an app; a folder being copied may take its time.
        starved = not new and work.moment.monotonic - since > SETTLE_CAP
        left = (self.policy.settle_new if new else self.policy.settle) - desired.quiet
        if left <= 0 or starved:
            self.memory.unsettled.pop(name, None)
            return 0.0
        return left

    def _take_in(self, work: Work, dry_run: bool) -> Run[None]:
        """Generation, revision and the manifest's facts into the record."""
        desired, before, name = work.desired, work.before, work.name
        suspended = yield from ask(fx.ReadFact(SUSPENDED + name))
        seen: dict[str, Any] = {"suspended": suspended is not None}
        if isinstance(desired, Present | Invalid):
            seen |= {"folder": desired.folder, "revision": desired.revision, "own_write": False}
            if before.folder not in ("", desired.folder):
                seen["folders"] = tuple(dict.fromkeys((before.folder, *before.folders)))
            if desired.revision != before.revision and not before.own_write:
                generation = before.generation + 1
                seen |= {"generation": generation, "last_change": work.moment.now}
                news = (
                    ("app.discovered", "new app folder")
                    if generation == 1
                    else ("app.changed", "inputs changed")
                )
                revision = desired.revision.removeprefix("sha256:")[:12]
                work.news.append(work.event(*news, generation=generation, revision=revision))
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
                "volumes": tuple(f"{self.policy.volume_prefix}_{name}_{short}" for short in manifest.volumes),
                "exec_service": manifest.exec_service,
                "suspended_by_manifest": manifest.suspend,
            }
        work.record = replace(work.record, **seen)

    @staticmethod
    def _take_over(work: Work, providers: Providers) -> None:
        """An app that runs although nothing was ever applied was installed before the state was lost: its
        on_install hooks are not due again (they would set new passwords under a running app)."""
        record = work.record
        if record.target is not None or record.on_install or record.started_at is not None:
            return
        if not work.observed.containers or not isinstance(work.desired, Present):
            return
        ledger = {
            r.app: LedgerEntry("done", r.on_install, "", providers[r.app].volumes, (), work.moment.now)
            for r in work.desired.manifest.requires
            if r.on_install is not None and r.app in providers
        }
        work.record = replace(record, on_install=ledger)

    def _shrinks(self, work: Work, rendered: Rendered | None) -> Blocked | None:
        """A service that disappears from the files is removed only after the removal quiet period: half a save
        looks just like it. Until then the edit waits as a whole."""
        target, name, now = work.record.target, work.name, work.moment.monotonic
        gone = (
            sorted(set(target.services) - {s.name for s in rendered.services}) if target and rendered else []
        )
        if not gone or rendered is None:
            self.memory.shrinking.pop(name, None)
            return None
        revision, since = self.memory.shrinking.setdefault(name, (rendered.revision, now))
        if revision != rendered.revision:
            since = now
            self.memory.shrinking[name] = (rendered.revision, now)
        left = self.policy.removal_settle - (now - since)
        if left <= 0:
            return None
        message = f"service {', '.join(gone)} is no longer in the files; the edit is applied when that has been so for "
        message += f"{self.policy.removal_settle:g} s"
        return Blocked("Progressing", "Progressing", message, after=left + 0.005, pending=True)

    def _look_at_providers(self, work: Work, dry_run: bool) -> Run[dict[str, Provider]]:
        wanted = {*work.record.requires, *(work.record.target.requires if work.record.target else ())}
        providers = {}
        for name in sorted(wanted - {work.name}):
            provider = yield from self._look_at_provider(name)
            # A dry run shows what will happen once the provider is up.
            providers[name] = replace(provider, available=provider.available or (dry_run and provider.known))
        return providers

    def _look_at_provider(self, name: str) -> Run[Provider]:
        """Looked at afresh, never taken from its record: after a restart of the engine the record is old."""
        record = yield from ask(fx.ReadRecord(name))
        if record is None or record.target is None:
            desired = yield from ask(fx.Load(name))
            why = _why_not_ready(record) if record else "it is not installed yet"
            return Provider(name, known=not isinstance(desired, Absent), why=why)
        rendered = yield from ask(fx.ReadModel(name, record.target.revision))
        if rendered is None:
            return Provider(
                name, known=True, why="its applied revision is not on record; it is applied again first"
            )
        observed = yield from ask(fx.Observe(name, folders_of(record), record.volumes))
        faults = find_faults(rendered, record.target, observed, record.completed)
        container, no_container = choose_container(name, record.exec_service, observed)
        return Provider(
            name,
            known=True,
            available=not faults,
            why="; ".join(fault.cause for fault in faults),
            revision=record.revision,
            incarnation=incarnation_of(observed),
            volumes=",".join(f"{volume}@{created}" for volume, created in sorted(observed.volumes.items())),
            container=container,
            no_container=no_container,
        )

    def _find_block(self, work: Work, providers: Providers) -> Run[Blocked | None]:
        """Why the app on disk is not to be applied now: the first that holds, in the order of the words."""
        desired, record = work.desired, work.record
        if record.suspended or record.suspended_by_manifest:
            by = "its manifest (suspend: true)" if record.suspended_by_manifest else "`homeport suspend`"
            return Blocked("Suspended", "Suspended", f"left exactly as it is, by {by}")
        if isinstance(desired, Unreadable):
            return Blocked("Unknown", "SourceUnavailable", desired.message)
        if isinstance(desired, Invalid):
            return Blocked("Invalid", desired.reason, desired.message)
        if not isinstance(desired, Present):
            return None
        if work.observed.foreign:
            message = (
                f"a compose project named {work.name} already runs from {', '.join(work.observed.foreign)}; "
                "it is left alone: rename this app, or stop that project"
            )
            return Blocked("Invalid", "NameConflict", message)
        if record.requires:
            records = yield from ask(fx.ReadRecords())
            cycle = find_cycle(
                work.name, {r.name: r.requires for r in records} | {work.name: record.requires}
            )
            if cycle:
                message = f"requires itself: {' -> '.join(cycle)}; take one of these out of `requires`"
                return Blocked("Invalid", "DependencyCycle", message)
        if desired.unset and not desired.seeds and not self._install_due(work, providers):
            unset = "; ".join(str(problem) for problem in desired.unset)
            return Blocked("NeedsConfiguration", "NeedsConfiguration", f"{unset}. Edit {desired.folder}/.env")
        closed = find_closed(record.requires, providers)
        if closed is not None and (record.target is None or record.target.revision != desired.revision):
            return Blocked("Waiting", closed.reason, closed.message)
        return None

    def _find_model(
        self, work: Work, providers: Providers, held: Blocked | None
    ) -> Run[tuple[Blocked | None, Rendered | None]]:
        """The model to converge to: that of the app on disk; or, with the reason why not, that of the target."""
        blocked = held or (yield from self._find_block(work, providers))
        rendered: Rendered | None = None
        if blocked is None:
            if self._inputs_will_change(work, providers):
                return None, None
            try:
                rendered = yield from self._render(work)
                blocked = self._shrinks(work, rendered)
            except InputInvalid as error:
                blocked = Blocked("Invalid", error.reason, str(error))
            except AppError as error:
                blocked = Blocked("Failed", error.reason, str(error))
        if blocked is None:
            return None, rendered
        target = work.record.target
        return blocked, (
            yield from ask(fx.ReadModel(work.name, target.revision))
        ) if target is not None else None

    def _inputs_will_change(self, work: Work, providers: Providers) -> bool:
        """Whether `.env` is not complete yet: until then the model cannot be rendered, nor values judged."""
        return isinstance(work.desired, Present) and (
            bool(work.desired.seeds) or self._install_due(work, providers)
        )

    @staticmethod
    def _install_due(work: Work, providers: Providers) -> bool:
        if not isinstance(work.desired, Present):
            return False
        for requirement in work.desired.manifest.requires:
            provider, entry = providers.get(requirement.app), work.record.on_install.get(requirement.app)
            # A provider that is not up shows no volumes; until it is, those of the ledger count as its own.
            up = provider is not None and provider.available
            volumes = provider.volumes if up and provider else entry.volumes if entry else ""
            if hooks.install_due(requirement, entry, volumes, work.desired.env):
                return True
        return False

    def _render(self, work: Work) -> Run[Rendered | None]:
        """The model of the app on disk. A revision that was applied before costs no child process."""
        if not isinstance(work.desired, Present):
            return None
        target = work.record.target
        if target is not None and (target.revision, target.folder) == (
            work.desired.revision,
            work.desired.folder,
        ):
            kept = yield from ask(fx.ReadModel(work.name, target.revision))
            if kept is not None:
                return kept
        return (yield from ask(fx.Render(work.desired)))

    @staticmethod
    def _remember_completed(work: Work, rendered: Rendered | None) -> None:
        """One-shot services that were seen to end by themselves stay done when the engine forgets its events."""
        if rendered is None:
            return
        ended = {c.incarnation for c in work.observed.containers if c.state == "exited" and c.exit_code == 0}
        seen = {c.incarnation for c in work.observed.containers if c.ended_by_itself}
        completed = tuple(sorted((set(work.record.completed) & ended) | seen))
        if completed != work.record.completed:
            work.record = replace(work.record, completed=completed)

    # -- closing the gap ------------------------------------------------------------------------------

    def _plan(
        self, work: Work, blocked: Blocked | None, rendered: Rendered | None, providers: Providers
    ) -> Plan:
        """What is due. Behind a block only repairs of the target; none when it is not ours to touch, or its
        own providers are not available (I14)."""
        frozen = blocked is not None and blocked.reason in ("Suspended", "NameConflict")
        target = work.record.target
        waits = find_closed(target.requires, providers) if target is not None else None
        if frozen or waits is not None:
            return Plan()
        app = work.desired if isinstance(work.desired, Present) else None
        return plan(
            View(work.record, work.observed, app, rendered, blocked is None, work.record.volumes, providers)
        )

    def _converge(
        self,
        work: Work,
        steps: Plan,
        blocked: Blocked | None,
        rendered: Rendered | None,
        providers: Providers,
    ) -> Run[Result]:
        """Act, unless the backoff says not yet; then judge what is there."""
        faults = self._faults(work, rendered)
        self._note_unexpected_ends(work, rendered)
        if steps:
            left = yield from self._backing_off(work, providers)
            if left > 0:
                return (yield from self._still_failing(work, left))
            repair = all(action.services for action in steps.actions if action.kind == "compose_up")
            young = repair and died_young(work.record, faults, work.moment.now, self.policy.stable_after)
            if young and work.name not in self.memory.not_before:
                message = "; ".join(fault.cause for fault in faults) + ", soon after its start"
                return (
                    yield from self._retry_later(work, Verdict("Failed", "CrashLooping", message), providers)
                )
            self.memory.retry_now(work.name)
            try:
                yield from execute(work, steps, rendered, providers, self.policy)
            except ActionFailed as failed:
                return (yield from self._action_failed(work, failed, providers))
            except InputInvalid as error:
                blocked = Blocked("Invalid", error.reason, str(error), after=self.policy.poll_incomplete)
            if any(action.changes_inputs for action in work.done):
                yield from ask(fx.Enqueue(work.name))
                verdict = Verdict("Progressing", "Progressing", ".env was completed; next the app is started")
                yield from self._finish(work, verdict)
                return Result("Progressing", tuple(work.done), pending=True)
            yield from work.observe()
        return (yield from self._judge(work, blocked, rendered, providers))

    @staticmethod
    def _faults(work: Work, rendered: Rendered | None) -> tuple[Fault, ...]:
        target = work.record.target
        if target is None or rendered is None or rendered.revision != target.revision:
            return ()
        return find_faults(rendered, target, work.observed, work.record.completed)

    def _note_unexpected_ends(self, work: Work, rendered: Rendered | None) -> None:
        """A container that ended by no action of ours: Ready comes back only after it has been stable again."""
        target = work.record.target
        if target is None or rendered is None or rendered.revision != target.revision:
            return
        ended = unexpected_ends(work.record, rendered, work.observed)
        if ended:
            incarnation = incarnation_of(work.observed)
            work.record = replace(work.record, unstable_since=work.moment.now, incarnation=incarnation)
            work.news.append(
                work.event(
                    "app.drift", f"ended or restarted by no action of ours: {', '.join(ended)}", "warning"
                )
            )

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
        faults = self._faults(work, rendered)
        closed = find_closed(target.requires if target else work.record.requires, providers)
        if blocked is not None:
            verdict = Verdict(blocked.word, blocked.reason, blocked.message)
            failed = blocked.word == "Failed"
            judgement = Judgement(verdict, blocked.after, pending=blocked.pending, failed=failed)
        elif target is None:
            message = "nothing was applied yet"
            judgement = Judgement(Verdict("Progressing", "Progressing", message), after=1.0, pending=True)
        else:
            times = Times(self.policy.stable_after, health_timeout(work, self.policy))
            awaits = self._awaits_hooks(work, providers)
            waits_for = closed.message if closed else ""
            judgement = judge(work.record, target, faults, waits_for, awaits, work.moment.now, times)
        verdict = replace(
            judgement.verdict,
            healthy=None if target is None or rendered is None else not faults,
            health_message="; ".join(fault.cause for fault in faults),
            dependencies=None if not work.record.requires else closed.message if closed else "",
        )
        if judgement.failed:
            left = yield from self._backing_off(work, providers)
            if left > 0:
                return (yield from self._still_failing(work, left))
            return (yield from self._retry_later(work, verdict, providers))
        if judgement.settled and target is not None:
            work.record = replace(work.record, target=replace(target, good=True), unstable_since=None)
        yield from self._finish(work, verdict)
        if judgement.settled:
            yield from ask(fx.ResetBackoff(work.name))
        told = () if blocked is None else (blocked.action(work.name),)
        word = last_word(work.record)
        return Result(word, (*work.done, *told), judgement.after, pending=judgement.pending)

    @staticmethod
    def _was_told(work: Work) -> bool:
        return work.before.generation == work.record.generation and same_verdict(work.before, work.record)

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

    def _action_failed(self, work: Work, failed: ActionFailed, providers: Providers) -> Run[Result]:
        action, error = failed.action, failed.error
        name = "hook.failed" if action.kind == "hook" else "action.failed"
        yield from work.tell(
            name, str(error), "error", kind=action.kind, target=action.target, reason=error.reason
        )
        verdict = Verdict("Failed", error.reason, str(error))
        return (
            yield from self._retry_later(work, verdict, providers, f"{action.kind} failed: {error.reason}")
        )

    def _retry_later(self, work: Work, verdict: Verdict, providers: Providers, said: str = "") -> Run[Result]:
        """One more failure: say so, with the time of the next try. `said`: in short, if it was told in full."""
        delay = yield from ask(fx.Backoff(work.name))
        self.memory.not_before[work.name] = work.moment.monotonic + delay
        self.memory.failed_against[work.name] = _failure_context(work, providers)
        work.record = replace(
            work.record,
            retries=work.record.retries + 1,
            next_try=work.moment.now + timedelta(seconds=delay),
            last_error=f"{verdict.reason}: {verdict.message}",
        )
        yield from self._save(work, verdict)
        message = f"{said or verdict.message}; next try in {delay:.0f} s"
        yield from work.tell("app.failed", message, "error", reason=verdict.reason, retry_in=round(delay, 2))
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

    def _finish(self, work: Work, verdict: Verdict) -> Run[None]:
        """A run that did not fail: no retry is open, and a change that a person would see is told once."""
        moves_on = verdict.word == "Progressing" or not (work.record.target and work.record.target.good)
        retries = work.record.retries if moves_on else 0
        work.record = replace(work.record, retries=retries, next_try=None)
        yield from self._save(work, verdict)
        if verdict.word in _TOLD and (work.done or not self._was_told(work)):
            name, level = _TOLD[verdict.word]
            yield from work.tell(name, verdict.message, level, reason=verdict.reason)

    def _save(self, work: Work, verdict: Verdict) -> Run[None]:
        """Save what differs; a look that finds nothing new writes nothing (I10)."""
        record = replace(
            transition(work.record, verdict, work.moment.now),
            available=verdict.healthy is True,
            incarnation=incarnation_of(work.observed),
            observed_services=_observed_services(work.observed),
        )
        work.record = record
        if replace(record, last_reconcile=work.before.last_reconcile) == work.before and not work.done:
            return
        yield from work.save()
        if _seen_by_consumers(record) != _seen_by_consumers(work.before):
            for consumer in (yield from ask(fx.ReadRecords())):
                if work.name in consumer.requires:
                    yield from ask(fx.Enqueue(consumer.name))
        for provider in sorted(set(work.before.requires) - set(record.requires)):
            # It may be held only for our sake.
            yield from ask(fx.Enqueue(provider))


_TOLD = {
    "Ready": ("app.ready", "info"),
    "Degraded": ("app.degraded", "warning"),
    "Waiting": ("app.waiting", "info"),
    "Invalid": ("app.invalid", "error"),
    "NeedsConfiguration": ("app.needs_configuration", "warning"),
    "Suspended": ("app.suspended", "info"),
    "Held": ("removal.held", "warning"),
    "RemovalBlocked": ("removal.blocked", "warning"),
}
"""Words that are told when a run ends in them; the others are told where they arise."""


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


def _seen_by_consumers(record: Record) -> tuple[object, ...]:
    return record.available, record.incarnation, record.requires, record.revision, last_word(record)


def _reason(record: Record) -> str:
    ready = record.condition("Ready")
    return ready.reason if ready else ""


def _why_not_ready(record: Record) -> str:
    ready = record.condition("Ready")
    return f"it is {last_word(record)}" + (f" ({ready.message})" if ready and ready.message else "")


def _desired_services(rendered: Rendered) -> dict[str, dict[str, str]]:
    return {s.name: {"configHash": s.config_hash, "image": s.image} for s in rendered.services}


def _observed_services(observed: Observed) -> dict[str, dict[str, object]]:
    """For the status: each service by the container that is worst off."""
    services: dict[str, list[Container]] = {}
    for container in observed.containers:
        if not container.oneoff and not is_leftover(container):
            services.setdefault(container.service, []).append(container)
    shown: dict[str, dict[str, object]] = {}
    for name, containers in sorted(services.items()):
        worst = min(containers, key=lambda c: (c.state == "running", c.health in ("", "healthy"), c.number))
        shown[name] = {
            "configHash": worst.config_hash,
            "image": worst.image,
            "state": worst.state,
            "health": worst.health,
            "restarts": sum(c.restarts for c in containers),
            "containers": sorted(c.name for c in containers),
        }
    return shown
