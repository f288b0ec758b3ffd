"""Planning: the planner's question put for a run, behind whatever holds the app on disk up.

Changes nothing, not even the record. What is due is the planner's decision.
"""

from __future__ import annotations

from controller.model.desired import Present
from controller.model.effects import Run
from controller.model.observed import Rendered
from controller.model.plan import Action, Plan
from controller.model.record import Record, Target
from controller.planner.gates import find_closed
from controller.planner.plan import View, plan, plan_stop
from controller.reconciler import wishes
from controller.reconciler.looking import Providers
from controller.reconciler.work import Blocked, Work


def plan_run(work: Work, blocked: Blocked | None, rendered: Rendered | None, providers: Providers) -> Plan:
    """What is due. Behind a block only repairs of the target; none when it is not ours to touch, or its
    own providers are not available (I14)."""
    record = work.record
    if record.suspended or record.suspended_by_manifest:
        return Plan()
    if record.stopped:
        # Whatever else holds it up, its folder being gone among them: what a person said goes on to count.
        return plan_stop(record, work.observed)
    back_to = runs_instead(record, blocked)
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


def remarks(work: Work, blocked: Blocked | None, rendered: Rendered | None) -> Run[tuple[Action, ...]]:
    """What a plan says beside its actions: why nothing more is done, and which tags have moved."""
    told = [] if blocked is None else [blocked.action(work.name)]
    target = work.record.target
    if rendered is not None and target is not None and target.revision == rendered.revision:
        for service in (yield from wishes.moved_services(work, rendered)):
            image = target.services[service].image
            text = (
                f"service {service}: {image} is another image now; `homeport update {work.name}` applies it"
            )
            told.append(Action("skip", work.name, text, app=work.name))
    return tuple(told)


def runs_instead(record: Record, blocked: Blocked | None) -> Target | None:
    """What runs instead of a generation that is kept out, if that is why the app on disk is not converged to."""
    rolled_back = blocked is not None and blocked.word == "RolledBack"
    return record.quarantine.to if record.quarantine is not None and rolled_back else None


def only_repairs(steps: Plan) -> bool:
    """Whether nothing is started but single services of what was applied."""
    return not any(action.starts_all for action in steps.actions)
