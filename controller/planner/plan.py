"""The plan: which actions are due for one app, in which order, and why.

It always tells the whole story as far as it is known. An action that changes the app's inputs ends the run
that does it, and the next run plans afresh; what comes after it here is what will most likely follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controller.model.desired import Present
from controller.model.manifest import Requirement
from controller.model.observed import Observed, Rendered, Service
from controller.model.plan import Action, Plan
from controller.model.record import Record, Target
from controller.planner import hooks
from controller.planner.gates import Provider
from controller.planner.health import REPAIRABLE, Fault, find_faults, is_leftover


@dataclass(frozen=True)
class Wishes:
    """What a person asked of the app that is not done yet."""

    restart: str | None = None
    """When a person asked for it."""
    pull: bool = False
    moved: tuple[str, ...] = ()
    """Services whose images were pulled for a person and are others now."""


@dataclass(frozen=True)
class View:
    """Everything a plan is made from, seen at one moment."""

    record: Record
    observed: Observed
    app: Present | None = None
    """The app on disk, when it is valid: its volumes, seeds and hooks count."""
    rendered: Rendered | None = None
    """The model to converge to; None when it cannot be rendered yet (a merged hook is still due)."""
    apply: bool = True
    """Whether the rendered model may be applied when it is not the target yet; else only repairs are planned."""
    back_to: Target | None = None
    """The earlier revision that `rendered` is the model of, when the newest is not to be tried."""
    volumes: tuple[str, ...] = ()
    """Full names of the app's volumes."""
    providers: Mapping[str, Provider] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)
    """Mounted path to the digest of the file or the identity of the directory that is there now."""
    wishes: Wishes = field(default_factory=Wishes)
    differences: Mapping[str, str] = field(default_factory=dict)
    """Service to what of it is another in `rendered` than in the target, in words, where that is known."""

    @property
    def installs(self) -> bool:
        """Whether what comes before a start is due as well: volumes, `.env`, hooks that write into it."""
        return self.app is not None and self.apply and self.back_to is None


def plan(view: View) -> Plan:
    """The actions that are due, in order: volumes, `.env`, hooks, up, restart.

    A pull that a person asks for comes before all that does not decide what is pulled: if it fails, nothing was done.
    """
    if view.wishes.pull and view.apply and view.rendered is not None:
        return Plan((Action("pull", view.record.name, cause=_ASKED, app=view.record.name),))
    actions: list[Action] = []
    if view.installs and view.app is not None:
        actions += plan_volumes(view.app, view.volumes, view.observed)
        actions += plan_seed(view.app)
        actions += plan_installs(view.app, view.record, view.providers)
        actions += plan_updates(view.app, view.record)
    changes_inputs = any(action.changes_inputs for action in actions)
    starts = plan_start(view, changes_inputs)
    restarts = plan_restart(view, starts)
    starting = bool(starts) or any(action.asked for action in restarts)
    if view.app is not None and view.back_to is None and (view.apply or starting):
        # What is gone back to may need other hooks than the files of now name.
        actions += plan_on_start(view.app, view.record, view.providers, starting=starting)
    return Plan(tuple(actions + starts + restarts))


def plan_stop(record: Record, observed: Observed) -> Plan:
    """A person stopped the app: what runs of it is stopped and stays."""
    running = sorted(
        {c.service for c in observed.containers if c.state in ("running", "restarting", "paused")}
    )
    if not running:
        return Plan()
    action = Action("stop", record.name, ", ".join(running), _ASKED, app=record.name, services=tuple(running))
    return Plan((action,))


def plan_volumes(app: Present, volumes: tuple[str, ...], observed: Observed) -> list[Action]:
    """A volume of the manifest that does not exist is created; none is ever removed."""
    return [
        Action("ensure_volume", name, cause="it does not exist", app=app.name)
        for name in volumes
        if name not in observed.volumes
    ]


def plan_seed(app: Present) -> list[Action]:
    """`.env` is made once, and completed when a new version brings new settings."""
    if not app.seeds:
        return []
    cause = ".env does not exist" if ".env" in app.seeds else f"new settings: {', '.join(app.seeds)}"
    return [Action("seed_env", app.name, detail=".env", cause=cause, app=app.name)]


def plan_installs(app: Present, record: Record, providers: Mapping[str, Provider]) -> list[Action]:
    """`on_install` hooks that are due, in the order of the manifest."""
    actions = []
    for requirement in app.manifest.requires:
        volumes = providers[requirement.app].volumes if requirement.app in providers else ""
        why = hooks.install_due(requirement, record.on_install.get(requirement.app), volumes, app.env)
        if why:
            actions.append(_hook(app, requirement, "on_install", requirement.on_install or "", why))
    return actions


def plan_updates(app: Present, record: Record) -> list[Action]:
    """`on_update` hooks that are due, before the consumer is started at its new version."""
    actions = []
    for requirement in app.manifest.requires:
        entry = record.on_update.get(requirement.app)
        why = hooks.update_due(requirement, entry, record.target, app.manifest.version)
        if why:
            actions.append(_hook(app, requirement, "on_update", requirement.on_update or "", why))
    return actions


def plan_on_start(
    app: Present, record: Record, providers: Mapping[str, Provider], *, starting: bool
) -> list[Action]:
    """`on_start` hooks that are due: before each start, and when the provider's containers are new."""
    actions = []
    for requirement in app.manifest.requires:
        provider = providers.get(requirement.app)
        if provider is None or not provider.available:
            continue
        why = hooks.start_due(
            requirement, record.on_start.get(requirement.app, ""), provider.incarnation, starting
        )
        if why:
            actions.append(_hook(app, requirement, "on_start", requirement.on_start or "", why))
    return actions


def plan_start(view: View, changes_inputs: bool) -> list[Action]:
    """What has to be started: the whole app at a new revision, or the services that differ from the target."""
    target, name = view.record.target, view.record.name
    if view.apply and (changes_inputs or view.rendered is None or must_apply(view)):
        cause = cause_of_apply(view, changes_inputs)
        if view.back_to is not None:
            detail = f"generation {view.back_to.generation}"
            return [Action("rollback", name, detail, cause, app=name)]
        return [Action("compose_up", name, cause=cause, app=name, mends=cause == _CUT_OFF)]
    if view.rendered is None or target is None:
        return []
    if view.record.applying:
        return [Action("compose_up", name, cause=_CUT_OFF, app=name, mends=True)]
    faults = find_faults(view.rendered, target, view.observed, view.record.completed, view.mounts)
    return plan_repairs(name, [fault for fault in faults if fault.kind in REPAIRABLE], view.rendered)


def must_apply(view: View) -> bool:
    """Whether the whole app is to be applied: another revision, another place, or an apply that did not end."""
    target, rendered = view.record.target, view.rendered
    if target is None or rendered is None or target.revision != rendered.revision or view.record.applying:
        return True
    if view.back_to is not None:
        return not (target.detached and target.generation == view.back_to.generation)
    if target.detached:
        return True
    return bool(view.wishes.moved) or (view.app is not None and target.folder not in ("", view.app.folder))


_CUT_OFF = "an earlier apply failed or was cut off; what it left is mended"
_ASKED = "a person asks for it"


def cause_of_apply(view: View, changes_inputs: bool) -> str:
    """Why the whole app is applied, as precisely as it is known."""
    target = view.record.target
    quarantine = view.record.quarantine
    if view.back_to is not None and quarantine is not None:
        return (
            _ASKED
            if quarantine.by_person
            else f"generation {quarantine.generation} failed ({quarantine.reason})"
        )
    if target is None:
        return (
            "its containers run already; they are taken over" if view.observed.containers else "first start"
        )
    if changes_inputs or view.rendered is None:
        return "its inputs change"
    changed = _changed_services(target, view.rendered, view.differences)
    changed += [f"service {name}: its image has moved" for name in view.wishes.moved]
    if changed:
        return "; ".join(changed)
    if view.record.applying and target.revision == view.rendered.revision:
        return _CUT_OFF
    if target.detached:
        return "it ran from copies of an earlier revision"
    moved = view.app is not None and target.folder not in ("", view.app.folder)
    return "its folder was moved" if moved else "inputs changed, no service differs"


def _changed_services(target: Target, rendered: Rendered, differences: Mapping[str, str]) -> list[str]:
    changed = []
    for service in rendered.services:
        old = target.services.get(service.name)
        if old is None:
            changed.append(f"service {service.name}: new")
        elif (words := differences.get(service.name)) is not None:
            changed.append(f"service {service.name}: config hash differs" + (f" ({words})" if words else ""))
        elif old.contents != service.contents:
            changed.append(f"service {service.name}: the content of its configs or secrets changed")
    kept = {service.name for service in rendered.services}
    return changed + [
        f"service {name}: no longer there" for name in sorted(target.services) if name not in kept
    ]


_RESTARTED = ("owner", "mount")
"""Faults that a restart mends."""
_ENDED = ("down", "failed")
"""Faults that a start of the same container mends."""
_FORCED = ("network", "content")
"""Faults that only a new container mends, though Compose sees no difference."""


def plan_repairs(name: str, faults: list[Fault], rendered: Rendered) -> list[Action]:
    """Mend just the services that differ, never their siblings: a bare up would run finished jobs again."""
    actions = []
    for force in (False, True):
        some = [f for f in faults if f.kind not in _RESTARTED and (f.kind in _FORCED) is force]
        if some:
            services = tuple(sorted({fault.service for fault in some}))
            cause = "; ".join(fault.cause for fault in some)
            detail = ", ".join(services)
            ended = _only_ended(some)
            actions.append(
                Action(
                    "compose_up", name, detail, cause, app=name, services=services, force=force, revives=ended
                )
            )
    for fault in faults:
        if fault.kind in _RESTARTED and not any(fault.service in a.services for a in actions):
            services = (fault.service, *_sharers(fault.service, rendered.services))
            cause = "; ".join(f.cause for f in faults if f.service == fault.service)
            actions.append(Action("restart", name, ", ".join(services), cause, app=name, services=services))
    return actions


def _only_ended(faults: list[Fault]) -> tuple[str, ...]:
    """The containers that have to be started, if that is all; of several services Compose knows the order."""
    alone = len({fault.service for fault in faults}) == 1
    if not alone or not all(fault.kind in _ENDED and fault.container for fault in faults):
        return ()
    return tuple(fault.container for fault in faults)


def _sharers(service: str, services: Iterable[Service]) -> list[str]:
    """Those that live in its namespaces: they would go on running without a network."""
    return [other.name for other in services if other.shares_with == service]


def plan_restart(view: View, starts: list[Action]) -> list[Action]:
    """A restart that a person or a provider's new containers ask for; none when all is started anyway."""
    if view.rendered is None or any(action.starts_all for action in starts):
        return []
    causes = [_ASKED] if view.wishes.restart else []
    for requirement in view.app.manifest.requires if view.app is not None else ():
        provider = view.providers.get(requirement.app)
        if provider is not None and hooks.restart_due(requirement, provider, view.record):
            causes.append(f"containers of {provider.name} are new or were started again (restart: true)")
    up = {
        c.service
        for c in view.observed.containers
        if c.state == "running" and not c.oneoff and not is_leftover(c)
    }
    # Owners of namespaces first: who shares them would lose them again.
    running = [
        s.name
        for s in sorted(view.rendered.services, key=lambda s: (bool(s.shares_with), s.name))
        if s.name in up
    ]
    if not causes or not running:
        return []
    name, cause, asked = view.record.name, "; ".join(causes), bool(view.wishes.restart)
    return [
        Action("restart", name, ", ".join(running), cause, app=name, services=tuple(running), asked=asked)
    ]


def _hook(app: Present, requirement: Requirement, event: str, script: str, cause: str) -> Action:
    target = f"{app.name}:{requirement.app}:{event}"
    return Action(
        "hook", target, script, cause, app=app.name, provider=requirement.app, event=event, script=script
    )
