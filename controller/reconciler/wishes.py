"""Wishes: what a person said of an app by a command, taken from the facts into the run.

A wish is a fact that outlives a crash; it is forgotten once it is fulfilled. How it is said is control's,
what follows from it is decided by the planner.
"""

from __future__ import annotations

from controller.model import effects as fx
from controller.model.effects import Run, ask
from controller.model.facts import ADOPT, RESTART, ROLLBACK, STOPPED, SUSPENDED, UPDATE
from controller.model.observed import Observed, Rendered
from controller.model.record import Quarantine, Record, Target
from controller.model.values import replace
from controller.planner.judge import forget_ends
from controller.planner.plan import Wishes
from controller.reconciler.memory import Requests
from controller.reconciler.work import Work
from controller.status.history import find_revision

PULLED = "pulled"
"""Value of the fact UPDATE once the images are here."""


def take_in(work: Work, requests: Requests, dry_run: bool) -> Run[None]:
    """What a person said, into the record and the wishes of this run."""
    name, record = work.name, work.record
    suspended = yield from ask(fx.ReadFact(SUSPENDED + name))
    stopped = yield from ask(fx.ReadFact(STOPPED + name))
    restart = yield from ask(fx.ReadFact(RESTART + name))
    update = yield from ask(fx.ReadFact(UPDATE + name))
    if record.stopped and stopped is None:
        work.news.append(work.event("app.started", "no longer stopped, by `homeport start`"))
    if record.suspended and suspended is None:
        work.news.append(work.event("app.resumed", "looked after again, by `homeport resume`"))
    if record.stopped != (stopped is not None):
        record = forget_ends(record)  # whether it runs at this moment or not, a person begins anew
    work.record = replace(record, suspended=suspended is not None, stopped=stopped is not None)
    work.wishes = Wishes(restart, pull=update not in (None, PULLED))
    if not dry_run:
        # An update lifts it once the images are here: until then nothing is known to be better.
        if requests.take_lift(name) or update == PULLED:
            yield from _lift(work)
        yield from _roll_back(work)


def _lift(work: Work) -> Run[None]:
    """What was kept out is let in again. Saved at once: what asks for it is forgotten."""
    quarantine, record = work.record.quarantine, work.record
    if quarantine is not None and not (record.suspended or record.suspended_by_manifest):
        work.record = replace(record, quarantine=None)
        message = f"generation {quarantine.generation} is tried again: a person asks for it"
        work.news.append(work.event("app.changed", message))
        yield from work.save()


def _roll_back(work: Work) -> Run[None]:
    """A person goes back to an earlier revision: it holds until the inputs change, or until they go forward again."""
    wanted = yield from ask(fx.ReadFact(ROLLBACK + work.name))
    if wanted is None:
        return
    to = find_revision(work.record, wanted)
    if to is None:
        message = "there is no earlier revision on record to go back to"
        work.news.append(work.event("app.warning", message, "warning"))
    elif _is_forward(work.record, to):
        yield from _lift(work)
    else:
        message = f"a person went back to generation {to.generation}; that holds until an input changes"
        generation = work.record.generation
        quarantine = Quarantine(generation, to, "RolledBack", message, by_person=True)
        yield from ask(fx.FulfilWish(UPDATE + work.name, PULLED))  # by a pull that ended after it was said
        target = work.record.target
        if target is not None and target.generation == to.generation:
            target = replace(target, detached=False)  # what is there is another run of it, from other images
        work.record = replace(work.record, quarantine=quarantine, target=target)
        yield from work.save()
    yield from ask(fx.FulfilWish(ROLLBACK + work.name, wanted))


def _is_forward(record: Record, to: Target) -> bool:
    """Whether what a person names is what is kept out, and not another run of what runs."""
    runs = record.target.revision if record.target is not None else ""
    return record.quarantine is not None and runs != to.revision == record.revision


def adopt(work: Work) -> Run[None]:
    """A person says that the project which runs under this name from elsewhere is this app."""
    wanted = yield from ask(fx.ReadFact(ADOPT + work.name))
    if wanted is None:
        return
    if work.observed.foreign:
        folders = tuple(dict.fromkeys((*work.record.folders, *work.observed.foreign)))
        work.record = replace(work.record, folders=folders)
        yield from work.save()
        yield from work.tell(
            "app.adopted", f"the project from {', '.join(work.observed.foreign)} is taken over"
        )
        yield from work.observe()
    yield from ask(fx.FulfilWish(ADOPT + work.name, wanted))


def find_moved(work: Work, rendered: Rendered | None, dry_run: bool) -> Run[None]:
    """Which services' images are others since they were pulled for a person; none: that wish is fulfilled."""
    target = work.record.target
    if rendered is None or target is None or target.revision != rendered.revision:
        return
    if (yield from ask(fx.ReadFact(UPDATE + work.name))) != PULLED:
        return
    moved = yield from moved_services(work, rendered)
    work.wishes = replace(work.wishes, moved=moved)
    if not moved and not dry_run:
        yield from ask(fx.FulfilWish(UPDATE + work.name, PULLED))
        yield from work.tell("app.up_to_date", "no image is newer than what runs")


def moved_services(work: Work, rendered: Rendered) -> Run[tuple[str, ...]]:
    """Services whose image name stands for another image than the one that was applied."""
    target = work.record.target
    ids = yield from ask(fx.FindImageIds(rendered))
    applied = target.services if target else {}
    return tuple(
        name
        for name, image in sorted(ids.items())
        if name in applied and applied[name].image_ids and image not in applied[name].image_ids
    )


def fulfilled(work: Work) -> Run[None]:
    """A run came to its end without a failure: what a person asked for is forgotten, if it was done or cannot be."""
    asked = any(action.asked for action in work.done)
    # What did not run and was started is as fresh as after a restart.
    started = any(action.kind == "compose_up" for action in work.done) and not _runs(work.before_start)
    nothing_runs = not work.done and not _runs(work.observed)
    if work.wishes.restart and (asked or started or nothing_runs):
        work.record = forget_ends(work.record)
        yield from ask(fx.FulfilWish(RESTART + work.name, work.wishes.restart))
    if work.wishes.moved and any(action.starts_all for action in work.done):
        yield from ask(fx.FulfilWish(UPDATE + work.name, PULLED))


def _runs(observed: Observed) -> bool:
    return any(c.state == "running" for c in observed.containers)
