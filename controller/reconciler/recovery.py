"""Recovery: an update that failed is taken back, and what it takes to be able to do so later.

Going back is no step of its own: the failed generation is put into quarantine, and the next run converges to
the earlier revision as to any other. Whether it may is decided in `planner.rollback`.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.model import effects as fx
from controller.model.desired import Present
from controller.model.effects import Run, ask
from controller.model.errors import AppError
from controller.model.facts import UPDATE
from controller.model.observed import Observed, Rendered
from controller.model.plan import Action, Result
from controller.model.record import Quarantine, Target, Verdict
from controller.model.values import replace
from controller.planner.health import REPAIRABLE
from controller.planner.judge import forget_ends
from controller.planner.rollback import Mode, find_way_back, last_good
from controller.reconciler.looking import faults_of
from controller.reconciler.memory import Retries
from controller.reconciler.work import Policy, Work
from controller.status.history import remember
from controller.status.summary import last_word
from controller.status.transition import transition


def _mode_of(work: Work, policy: Policy) -> Mode:
    """Whether a failed update is taken back by itself: the manifest's word, else the service's."""
    if isinstance(work.desired, Present) and work.desired.manifest.rollback is not None:
        return work.desired.manifest.rollback
    return policy.rollback


def go_back(
    work: Work,
    verdict: Verdict,
    rendered: Rendered | None,
    policy: Policy,
    retries: Retries,
    told: Mapping[str, object] | None = None,
) -> Run[Result | Verdict]:
    """Put the newest generation into quarantine, so that the next run goes back; or answer with the verdict that
    says why the app stays as it is. `told`: of the action that failed."""
    way = find_way_back(work.record, rendered, work.observed, _mode_of(work, policy))
    if way.to is None:
        if last_good(work.record) is not None:
            # A person's choice is awaited: it does not get better by itself.
            verdict = replace(verdict, word="Failed")
        # What was said at the look before may be part of the message, and is not said once more.
        why_not = f"; {way.why_not}"
        return replace(verdict, message=verdict.message.removesuffix(why_not) + why_not)
    generation, name = work.record.generation, work.name
    quarantine = Quarantine(generation, way.to, verdict.reason, verdict.message)
    now = work.moment.now
    work.record = replace(work.record, quarantine=quarantine, retries=0, next_try=None)
    text = f"generation {generation} failed, going back to {way.to.generation}: {verdict.message}"
    work.record = transition(work.record, Verdict("Progressing", "Progressing", text), now)
    work.record = replace(work.record, last_error=f"{verdict.reason}: {verdict.message}")
    # First: an update whose images are here would let it in again.
    yield from ask(fx.WriteFact(UPDATE + name))
    yield from work.save()
    yield from work.tell("app.rolling_back", text, "error", **{**(told or {}), "reason": verdict.reason})
    retries.now(name)
    yield from ask(fx.ResetBackoff(name))
    yield from ask(fx.Enqueue(name))
    # That an earlier revision runs afterwards makes it no success of the edit.
    error = Action("error", name, f"{verdict.reason}: {verdict.message}", app=name, asked=True)
    return Result("Progressing", (*work.done, error), pending=True)


def is_damaged(work: Work) -> Run[bool]:
    """Whether a start that failed took away something that ran before it, or before an earlier one that nobody looked at:
    the engine went, or the service was killed. What that one took away did not run any more when this one began."""
    before, target = _running(work.before_start), work.record.target
    yield from work.observe()
    if before - _running(work.observed):
        return True
    if not work.before.applying or target is None:
        return False
    model = yield from ask(fx.ReadModel(work.name, target.revision))
    return any(fault.kind in REPAIRABLE for fault in faults_of(work, model))


def is_untouched(work: Work) -> bool:
    """Whether a start that failed left everything as it was: then there is nothing to mend either."""
    return work.before_start.containers == work.observed.containers


def _running(observed: Observed) -> set[str]:
    return {c.id for c in observed.containers if c.state == "running" and not c.oneoff}


def fall_back(work: Work, rendered: Rendered | None, policy: Policy) -> Run[Result | None]:
    """The files on disk are of no use, and what was applied last never was good and is failing: the last good
    revision becomes the target again. Nothing is put into quarantine; the next edit that means something is applied.
    """
    way = find_way_back(work.record, rendered, work.observed, _mode_of(work, policy))
    failed = work.record.target
    if way.to is None or failed is None:
        return None
    text = f"generation {failed.generation} failed, and the files are not valid: going back to {way.to.generation}"
    target = replace(way.to, detached=True)
    begun_anew = forget_ends(remember(work.record, target))
    work.record = replace(begun_anew, applying=target.revision, retries=0)
    yield from work.save()
    yield from work.tell("app.rolling_back", text, "error")
    yield from ask(fx.ResetBackoff(work.name))
    yield from ask(fx.Enqueue(work.name))
    return Result(last_word(work.record), tuple(work.done), pending=True)


def settle(work: Work) -> Run[None]:
    """The app was Ready for long enough: its revision is a good one, and its images are kept from now on."""
    target = work.record.target
    if target is None:
        return
    if not target.good:
        try:
            yield from ask(fx.KeepImages(work.name, _images(work.record.applied)))
        except AppError as error:
            message = f"its images cannot be kept for a rollback: {error}"
            work.news.append(work.event("app.warning", message, "warning"))
    work.record = replace(work.record, target=replace(target, good=True), unstable_since=None)


def _images(targets: tuple[Target, ...]) -> frozenset[str]:
    return frozenset(image for t in targets for s in t.services.values() for image in s.image_ids)
