"""The plan: which actions are due for one app, in which order, and why.

It always tells the whole story as far as it is known. An action that changes the app's inputs ends the run
that does it, and the next run plans afresh; what comes after it here is what will most likely follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.model.desired import Present
from controller.model.manifest import Requirement
from controller.model.observed import Observed, Rendered
from controller.model.plan import Action, Plan
from controller.model.record import Record
from controller.planner import hooks
from controller.planner.gates import Provider
from controller.planner.health import REPAIRABLE, Fault, find_faults


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
    volumes: tuple[str, ...] = ()
    """Full names of the app's volumes."""
    providers: Mapping[str, Provider] | None = None


def plan(view: View) -> Plan:
    """The actions that are due, in order: volumes, `.env`, on_install, on_start, up, restart."""
    actions: list[Action] = []
    if view.app is not None and view.apply:
        actions += plan_volumes(view.app, view.volumes, view.observed)
        actions += plan_seed(view.app)
        actions += plan_installs(view.app, view.record, view.providers or {})
    changes_inputs = any(action.changes_inputs for action in actions)
    starts = plan_start(view, changes_inputs)
    if view.app is not None and (view.apply or starts):
        actions += plan_on_start(view.app, view.record, view.providers or {}, starting=bool(starts))
    return Plan(tuple(actions + starts))


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
        return [Action("compose_up", name, cause=cause_of_apply(view, changes_inputs), app=name)]
    if view.rendered is None or target is None:
        return []
    if view.record.applying:
        return [Action("compose_up", name, cause=_CUT_OFF, app=name)]
    faults = find_faults(view.rendered, target, view.observed, view.record.completed)
    return plan_repairs(name, [fault for fault in faults if fault.kind in REPAIRABLE])


def must_apply(view: View) -> bool:
    """Whether the whole app is to be applied: another revision, another place, or an apply that did not end."""
    target, rendered = view.record.target, view.rendered
    if target is None or rendered is None or target.revision != rendered.revision or view.record.applying:
        return True
    return view.app is not None and target.folder not in ("", view.app.folder)


_CUT_OFF = "an earlier apply failed or was cut off; what it left is mended"


def cause_of_apply(view: View, changes_inputs: bool) -> str:
    """Why the whole app is applied, as precisely as it is known."""
    target = view.record.target
    if target is None:
        return "first start"
    if changes_inputs or view.rendered is None:
        return "its inputs change"
    changed = [
        f"service {service.name}: "
        + ("new" if (old := target.services.get(service.name)) is None else "config hash differs")
        for service in view.rendered.services
        if (old := target.services.get(service.name)) is None or old.config_hash != service.config_hash
    ]
    kept = {service.name for service in view.rendered.services}
    changed += [f"service {name}: no longer there" for name in sorted(target.services) if name not in kept]
    if changed:
        return "; ".join(changed)
    if view.record.applying and target.revision == view.rendered.revision:
        return _CUT_OFF
    moved = view.app is not None and target.folder not in ("", view.app.folder)
    return "its folder was moved" if moved else "inputs changed, no service differs"


def plan_repairs(name: str, faults: list[Fault]) -> list[Action]:
    """Mend just the services that differ, never their siblings: a bare up would run finished jobs again."""
    actions = []
    if any(fault.kind == "surplus" for fault in faults):
        return [Action("compose_up", name, cause="; ".join(f.cause for f in faults), app=name)]
    for force in (False, True):
        some = [f for f in faults if f.kind != "owner" and (f.kind == "network") is force]
        if some:
            services = tuple(sorted({fault.service for fault in some}))
            cause = "; ".join(fault.cause for fault in some)
            detail = ", ".join(services)
            actions.append(
                Action("compose_up", name, detail, cause, app=name, services=services, force=force)
            )
    actions += [
        Action("restart", name, fault.service, fault.cause, app=name, services=(fault.service,))
        for fault in faults
        if fault.kind == "owner"
    ]
    return actions


def _hook(app: Present, requirement: Requirement, event: str, script: str, cause: str) -> Action:
    target = f"{app.name}:{requirement.app}:{event}"
    return Action(
        "hook", target, script, cause, app=app.name, provider=requirement.app, event=event, script=script
    )
