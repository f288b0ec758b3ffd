"""Wanted: the model that an app is to converge to, or why the one on disk is not.

The first reason that holds, in the order of the words; behind it the target is kept as it is. What is done
about it is told in `run` and `converging`.
"""

from __future__ import annotations

import zlib
from contextlib import suppress

from controller.model import effects as fx
from controller.model.desired import Invalid, Present, Unreadable
from controller.model.effects import Run, ask
from controller.model.errors import AppError, InputInvalid
from controller.model.observed import Rendered
from controller.model.record import Quarantine, Record, Verdict
from controller.model.values import replace
from controller.planner import hooks
from controller.planner.gates import describe_cycle, find_closed, find_cycle
from controller.planner.judge import forget_ends
from controller.planner.plan import View, plan
from controller.planner.rollback import describe
from controller.reconciler import looking
from controller.reconciler.looking import Providers
from controller.reconciler.memory import MOST_LIKELY_ALL, Settling
from controller.reconciler.steps import keep_inputs
from controller.reconciler.work import Blocked, Policy, Work
from controller.status.history import remember
from controller.status.transition import transition

STILL_CHANGING = 5.0
"""Seconds beyond the quiet period after which it is said that files do not come to rest."""
RENDERED_AHEAD_FOR = 2.0
"""Seconds for which files may have been changing that are rendered before they have come to rest."""
SETTLE_CAP = 10.0
"""Seconds after which an edit is acted on although its files still change; up to half as many more, by the app's name, and
more where many wait (`Settling.take_turn`)."""


class Wanted:
    """Holds the policy and what has not settled; all else is asked for."""

    def __init__(self, policy: Policy, settling: Settling) -> None:
        self.policy = policy
        self.settling = settling

    def find_model(
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
        if blocked.word == "Suspended":
            blocked = yield from self._with_drift(work, blocked, providers)
        quarantine = work.record.quarantine
        if blocked.word == "RolledBack" and quarantine is not None:
            rendered = yield from ask(fx.ReadModel(work.name, quarantine.to.revision))
            if rendered is not None:
                return blocked, rendered
            message = (
                f"the model of generation {quarantine.to.generation} is no longer on record; edit the app"
            )
            blocked = Blocked("Failed", "RollbackFailed", message)
        target = work.record.target
        return blocked, (
            (yield from ask(fx.ReadModel(work.name, target.revision))) if target is not None else None
        )

    def unsettled(self, work: Work) -> float:
        """Seconds for which an edit has to be quiet still; 0 when there is none or it has come to rest."""
        desired, name = work.desired, work.name
        if not isinstance(desired, Present | Invalid) or desired.revision == work.before.revision:
            self.settling.end(name)
            self._note_settled(work)
            return 0.0
        new = work.before.target is None and (
            work.before.generation == 0 or work.before.reason == "Incomplete"
        )
        now = work.moment.monotonic
        since = self.settling.unsettled.setdefault(name, now)
        left = (self.policy.settle_new if new else self.policy.settle) - desired.quiet
        if left <= 0:
            self._note_settled(work)
        else:
            self.settling.still_changing.setdefault(name, (since, ""))
            # A file that never comes to rest must not starve an app; a folder being copied may take its time.
            if new or now - since <= SETTLE_CAP * _spread(name) or not self.settling.take_turn(name, now):
                return left
        self.settling.end(name)
        return 0.0

    def render_ahead(self, work: Work) -> Run[None]:
        """Files that wait out their quiet period are rendered meanwhile: the engine port knows them then, and the run
        that acts on them starts no child first. What has been changing for long will most likely go on.
        """
        desired = work.desired
        if not isinstance(desired, Present) or desired.seeds or desired.unset or work.before.stopped:
            return
        if work.before.target is None and any(r.on_install for r in desired.manifest.requires):
            return  # they may mean nothing before it has run
        changing_for = self.settling.changing_for(work.name, work.moment.monotonic)
        if desired.quiet >= MOST_LIKELY_ALL and changing_for <= RENDERED_AHEAD_FOR:
            # What is wrong with them is said when they have come to rest.
            with suppress(AppError):
                yield from self._render(work)

    def say_still_changing(self, work: Work) -> Run[None]:
        """Files that never come to rest are waited for, and a person is told which ones: once, in the log and in the status."""
        desired = work.desired
        since, said = self.settling.still_changing.get(work.name, (work.moment.monotonic, ""))
        settle = self.policy.settle if work.before.generation else self.policy.settle_new
        if (
            not isinstance(desired, Present | Invalid)
            or work.moment.monotonic - since <= settle + STILL_CHANGING
        ):
            return
        if not said:
            said = f"its files do not come to rest ({desired.newest or 'the folder'} changed last); they are taken in when "
            said += f"nothing of them has changed for {settle:g} s"
            yield from work.tell("app.unsettled", said, "warning", file=desired.newest)
            self.settling.still_changing[work.name] = since, said
        if work.before.stopped or work.before.suspended or work.before.suspended_by_manifest:
            return  # it says so, and nothing of it is awaited
        record = replace(work.record, folder=work.record.folder or desired.folder)
        work.record = transition(record, Verdict("Progressing", "Progressing", said), work.moment.now)
        if replace(work.record, last_reconcile=work.before.last_reconcile) != work.before:
            yield from work.save()

    def _note_settled(self, work: Work) -> None:
        _, said = self.settling.still_changing.pop(work.name, (0.0, ""))
        if said:
            work.news.append(work.event("app.settled", "its files have come to rest"))

    def _shrinks(self, work: Work, rendered: Rendered | None) -> Blocked | None:
        """A service that disappears from the files is removed only after the removal quiet period: half a save
        looks just like it. Until then the edit waits as a whole."""
        target, name, now = work.record.target, work.name, work.moment.monotonic
        gone = (
            sorted(set(target.services) - {s.name for s in rendered.services}) if target and rendered else []
        )
        if not gone or rendered is None:
            self.settling.shrinking.pop(name, None)
            return None
        revision, since = self.settling.shrinking.setdefault(name, (rendered.revision, now))
        if revision != rendered.revision:
            since = now
            self.settling.shrinking[name] = (rendered.revision, now)
        left = self.policy.removal_settle - (now - since)
        if left <= 0:
            return None
        message = f"service {', '.join(gone)} is no longer in the files; the edit is applied when that has been so for "
        message += f"{self.policy.removal_settle:g} s"
        return Blocked("Progressing", "Progressing", message, after=left + 0.005, pending=True)

    def _find_block(self, work: Work, providers: Providers) -> Run[Blocked | None]:
        """Why the app on disk is not to be applied now: the first that holds, in the order of the words."""
        desired, record = work.desired, work.record
        if said := _said_by_person(record) or _unusable(work):
            return said
        if not isinstance(desired, Present):
            return None
        if (kept_out := _kept_out(work)) is not None:
            return Blocked("RolledBack", "RolledBack", describe(kept_out))
        if among := (yield from self._among_others(work)):
            return among
        if desired.unset and not desired.seeds and not self._merged_hook_due(work, providers):
            unset = "; ".join(str(problem) for problem in desired.unset)
            return Blocked("NeedsConfiguration", "NeedsConfiguration", f"{unset}. Edit {desired.folder}/.env")
        closed = find_closed(record.requires, providers)
        if closed is not None and (record.target is None or record.target.revision != desired.revision):
            return Blocked("Waiting", closed.reason, closed.message)
        return None

    def _among_others(self, work: Work) -> Run[Blocked | None]:
        """What other apps have to say to it: one that it was until now, or a circle of requirements."""
        record = work.record
        if record.target is not None and not record.requires:
            return None
        was = (yield from self._renamed_from(work)) if record.target is None else ""
        if was:
            message = f"its folder was {was} until now: {was} is removed first (its volumes stay), then this is installed"
            return Blocked("Progressing", "Progressing", message, after=1.0, pending=True)
        if cycle := find_cycle(work.name, (yield from _requirements(record))):
            return Blocked("Invalid", "DependencyCycle", describe_cycle(cycle))
        return None

    def _renamed_from(self, work: Work) -> Run[str]:
        """The app whose folder this one's was, when that one is about to be removed for it; or ""."""
        same = yield from ask(fx.FindWithIdentity(work.record.identity))
        others = [name for name in same if name != work.name]
        if not others:
            return ""
        census = yield from ask(fx.TakeCensus())
        return next((name for name in others if not census.lost and name not in census.names), "")

    def _with_drift(self, work: Work, blocked: Blocked, providers: Providers) -> Run[Blocked]:
        """What is suspended is left alone, and says in what it differs from what it should be."""
        if not isinstance(work.desired, Present) or self._inputs_will_change(work, providers):
            return blocked
        try:
            rendered = yield from self._render(work)
        except AppError as error:
            return replace(blocked, message=f"{blocked.message}; its files are wrong: {error}")
        yield from looking.look_at_mounts(work, rendered)
        yield from looking.look_at_differences(work, rendered)
        left_as_it_is = work.record
        if rendered is not None:
            # As if it went on, so that the cause is told and not only that something is due.
            yield from self.advance(work, rendered, dry_run=True)
        due = plan(
            View(
                work.record, work.observed, work.desired, rendered,
                providers=providers, mounts=work.mounts, differences=work.differences,
            )
        )  # fmt: skip
        work.record = left_as_it_is
        drift = "; ".join(action.cause for action in due.actions if action.kind in ("compose_up", "restart"))
        return replace(blocked, message=f"{blocked.message}; drift: {drift}") if drift else blocked

    def advance(self, work: Work, rendered: Rendered, dry_run: bool) -> Run[None]:
        """Inputs changed, and the model that they give did not (a script, the manifest's words, a mounted file):
        there is nothing to apply. The target moves on; a service that mounts what changed is restarted by a repair.
        """
        target, desired = work.record.target, work.desired
        if target is None or not isinstance(desired, Present):
            return
        if target.revision == rendered.revision:
            if target.generation != work.record.generation and not target.detached:
                # The files are again what was applied: it is the newest generation that runs.
                target = replace(target, generation=work.record.generation)
                work.record = replace(work.record, target=target)
            return
        if target.detached or work.record.applying or target.folder not in ("", desired.folder):
            return
        if any(service.is_built for service in rendered.services):
            return  # what it is built from may be what changed
        applied = yield from ask(fx.ReadModel(work.name, target.revision))
        if applied is None or applied.document != rendered.document:
            return
        mounted = target.mounted_files
        if mounted.keys() - desired.mounted.keys():
            return  # A mounted file is gone: what looks for it before an apply says so.
        same = all(mounted.get(path, digest) == digest for path, digest in desired.mounted.items())
        new = replace(
            target,
            revision=rendered.revision,
            generation=work.record.generation,
            version=desired.manifest.version,
            requires=work.record.requires,
            good=target.good and same,
        )
        if same:
            work.record = replace(work.record, target=new)
        else:
            # Not started yet: what is down at this moment is so for another reason, and has not died of the edit.
            new = replace(new, applied_at=work.moment.now)
            work.record = replace(forget_ends(remember(work.record, new)), started_at=None)
        if not dry_run:
            yield from keep_inputs(work, rendered)

    def _inputs_will_change(self, work: Work, providers: Providers) -> bool:
        """Whether `.env` is not complete yet: until then the model cannot be rendered, nor values judged."""
        return isinstance(work.desired, Present) and (
            bool(work.desired.seeds) or self._merged_hook_due(work, providers)
        )

    @staticmethod
    def _merged_hook_due(work: Work, providers: Providers) -> bool:
        if not isinstance(work.desired, Present):
            return False
        app, record = work.desired, work.record
        for requirement in app.manifest.requires:
            provider, entry = providers.get(requirement.app), record.on_install.get(requirement.app)
            # A provider that is not up shows no volumes; until it is, those of the ledger count as its own.
            up = provider is not None and provider.available
            volumes = provider.volumes if up and provider else entry.volumes if entry else ""
            if hooks.install_due(requirement, entry, volumes, app.env):
                return True
            updated = record.on_update.get(requirement.app)
            if hooks.update_due(requirement, updated, record.target, app.manifest.version):
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


def _spread(name: str) -> float:
    """From 1 to 1.5, always the same for a name."""
    return 1 + zlib.crc32(name.encode()) / 2**33


def _kept_out(work: Work) -> Quarantine | None:
    """What keeps the newest generation out; nothing while a person has its images pulled."""
    return None if work.wishes.pull else work.record.quarantine


def _unusable(work: Work) -> Blocked | None:
    """The files cannot be read, mean nothing, or the name is another's; a person's going back comes before that,
    for it was said while the files were as they are."""
    desired, kept_out = work.desired, _kept_out(work)
    if isinstance(desired, Unreadable):
        return Blocked("Unknown", "SourceUnavailable", desired.message)
    if kept_out is not None and kept_out.by_person:
        return Blocked("RolledBack", "RolledBack", describe(kept_out))
    if isinstance(desired, Invalid):
        return Blocked("Invalid", desired.reason, desired.message)
    if work.observed.foreign:
        message = (
            f"a compose project named {work.name} already runs from {', '.join(work.observed.foreign)}; "
            f"it is left alone: rename this app, stop that project, or take it over: `homeport adopt {work.name}`"
        )
        return Blocked("Invalid", "NameConflict", message)
    return None


def _said_by_person(record: Record) -> Blocked | None:
    if record.suspended or record.suspended_by_manifest:
        by = "its manifest (suspend: true)" if record.suspended_by_manifest else "`homeport suspend`"
        then = "; once it is taken up again it is stopped, or stays so, as `homeport stop` said"
        message = f"left exactly as it is, by {by}{then if record.stopped else ''}"
        return Blocked("Suspended", "Suspended", message)
    if record.stopped:
        message = f"stopped by `homeport stop`; `homeport start {record.name}` starts it again"
        return Blocked("Stopped", "Stopped", message)
    return None


def _requirements(record: Record) -> Run[dict[str, tuple[str, ...]]]:
    """Who requires whom, from this app on down."""
    found = {record.name: record.requires}
    waiting = list(record.requires)
    while waiting:
        name = waiting.pop()
        if name not in found:
            provider = yield from ask(fx.ReadRecord(name))
            found[name] = provider.requires if provider is not None else ()
            waiting += found[name]
    return found
