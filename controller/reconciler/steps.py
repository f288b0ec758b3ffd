"""Doing the actions of a plan, each as the few effects that make it safe to be cut off anywhere.

What is due is the planner's decision; what the outcome means for the app is judged by the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from controller.model import effects as fx
from controller.model.desired import Invalid, Present
from controller.model.effects import Run, ask
from controller.model.errors import AppError, InputInvalid
from controller.model.observed import ExecResult, Observed, Rendered
from controller.model.plan import Action, Plan
from controller.model.record import AppliedService, LedgerEntry, Target, Verdict
from controller.planner import hooks
from controller.planner.gates import Provider
from controller.planner.health import is_leftover, owner_of
from controller.reconciler.work import Policy, Work
from controller.status.transition import transition


class ActionFailed(Exception):
    """An action failed with this error; what was done before it stands."""

    def __init__(self, action: Action, error: AppError) -> None:
        super().__init__(str(error))
        self.action = action
        self.error = error


def execute(
    work: Work, plan: Plan, rendered: Rendered | None, providers: Mapping[str, Provider], policy: Policy
) -> Run[None]:
    """Do the actions in order; the run ends after those that change the app's inputs.

    Raises `ActionFailed` for the first that fails, `InputInvalid` when a path that a service mounts is not
    there; in both cases what runs is untouched unless the failing action was the start itself.
    """
    ups = [action for action in plan.actions if action.kind == "compose_up"]
    if ups and rendered is not None:
        yield from _preflight(work, ups[0], rendered)
    yield from _begin(work, "; ".join(f"{' '.join(str(a).split())}: {a.cause}" for a in plan.actions))
    for action in plan.actions:
        if any(done.changes_inputs for done in work.done) and not action.changes_inputs:
            return
        started = yield from ask(fx.ReadClock())
        try:
            result = yield from _act(work, action, rendered, providers, policy)
        except InputInvalid:
            raise
        except AppError as error:
            raise ActionFailed(action, error) from error
        ended = yield from ask(fx.ReadClock())
        work.done.append(action)
        text = " ".join(f"{action}{': ' + action.cause if action.cause else ''}{result}".split())
        yield from work.tell(
            "hook.done" if action.kind == "hook" else "action.done",
            text,
            kind=action.kind,
            target=action.target,
            seconds=round(ended.monotonic - started.monotonic, 3),
        )


def _begin(work: Work, message: str) -> Run[None]:
    """Say Progressing before the first action: whoever looks meanwhile sees what is being done and why."""
    work.record = transition(work.record, Verdict("Progressing", "Progressing", message), work.moment.now)
    yield from work.save()
    yield from work.tell("app.progressing", message)


def _act(
    work: Work, action: Action, rendered: Rendered | None, providers: Mapping[str, Provider], policy: Policy
) -> Run[str]:
    """One action; answers with what it gave, for the log."""
    match action.kind:
        case "ensure_volume":
            yield from ask(fx.EnsureVolume(work.name, action.target))
        case "seed_env":
            return (yield from _seed(work))
        case "hook" if action.event == "on_install":
            return (
                yield from _install_hook(work, action, providers[action.provider], policy.install_timeout)
            )
        case "hook":
            yield from _start_hook(work, action, providers[action.provider], policy.start_timeout)
        case "compose_up":
            if rendered is None:
                raise AssertionError("a plan starts nothing that was not rendered")
            yield from _apply(work, action, rendered, health_timeout(work, policy) + 30.0)
        case "restart":
            ids = tuple(c.id for service in action.services for c in work.observed.of(service))
            yield from ask(fx.Restart(work.name, ids))
        case kind:
            raise AssertionError(f"a plan holds an action that nobody can do: {kind}")
    return ""


def health_timeout(work: Work, policy: Policy) -> float:
    """Seconds that an app may take to become healthy: the manifest's word, else the service's."""
    if isinstance(work.desired, Present) and work.desired.manifest.health_timeout is not None:
        return float(work.desired.manifest.health_timeout)
    return policy.health_timeout


# -- before a start -----------------------------------------------------------------------------------


def _preflight(work: Work, action: Action, rendered: Rendered) -> Run[None]:
    """What would make a start fail half-way is found before anything is touched."""
    services = [s for s in rendered.services if not action.services or s.name in action.services]
    folder = work.record.folder
    required = {
        b.source for s in services for b in s.binds if _must_exist(b.source, b.target, b.read_only, folder)
    }
    missing = yield from ask(fx.FindMissingPaths(tuple(sorted(required))))
    if missing:
        raise InputInvalid(
            "Incomplete",
            f"{', '.join(missing)}: mounted by a service but not there; add it "
            "(the engine would put an empty folder, owned by root, in its place)",
        )
    if action.services:
        return
    try:
        yield from _preflight_ports(work, rendered)
        absent = yield from ask(fx.FindMissingImages(rendered))
        if absent and isinstance(work.desired, Present):
            yield from ask(fx.Pull(work.desired, rendered, absent))
    except AppError as error:
        raise ActionFailed(action, error) from error


def _preflight_ports(work: Work, rendered: Rendered) -> Run[None]:
    ports = tuple(sorted({port for service in rendered.services for port in service.ports}))
    busy = (yield from ask(fx.FindBusyPorts(work.name, ports))) if ports else {}
    if busy:
        held = "; ".join(f"host port {port} is held by {holder}" for port, holder in sorted(busy.items()))
        raise AppError("PreflightFailed", f"{held}; nothing was touched")


def _must_exist(source: str, target: str, read_only: bool, folder: str) -> bool:
    """Whether a mounted host path has to be there before a start.

    A writable folder inside the app is made by the engine, as people expect of `./data:/data`. What is
    mounted read-only, looks like a file, or lies outside the app's folder must be there: the engine would
    put an empty folder in its place, and the app would start without its configuration or its disk.
    """
    inside = PurePosixPath(source).is_relative_to(folder)
    is_file = bool(PurePosixPath(source).suffix and PurePosixPath(target).suffix)
    return read_only or not inside or is_file


# -- actions that write into the app's folder -----------------------------------------------------------


def _seed(work: Work) -> Run[str]:
    if not isinstance(work.desired, Present):
        raise AssertionError("only an app that is there can be seeded")
    keys = yield from _own_write(work, fx.SeedEnv(work.desired))
    return f" wrote {', '.join(keys)}" if keys else ""


def _own_write(work: Work, write: fx.Effect[tuple[str, ...]]) -> Run[tuple[str, ...]]:
    """Our own write is no new generation (I13): its digest replaces the one on record.

    Said before it is done, so that a crash in between does not make a person's edit of it either.
    """
    work.record = replace(work.record, own_write=True)
    yield from work.save()
    try:
        keys = yield from ask(write)
    except AppError:
        work.record = replace(work.record, own_write=False)
        yield from work.save()
        raise
    desired = yield from ask(fx.Load(work.name))
    work.record = replace(work.record, own_write=False)
    if isinstance(desired, Present | Invalid):
        work.desired = desired
        work.record = replace(work.record, revision=desired.revision)
    yield from work.save()
    return keys


# -- hooks --------------------------------------------------------------------------------------------


def _install_hook(work: Work, action: Action, provider: Provider, timeout: float) -> Run[str]:
    """Ledger "started", run, merge, ledger "done": cut off in between, the hook runs once more."""
    if not isinstance(work.desired, Present):
        raise AssertionError("only an app that is there has hooks")
    who = _who(action)
    script = yield from ask(fx.ReadScript(action.provider, action.script))
    entry = LedgerEntry("started", action.script, hooks.digest(script), provider.volumes, (), work.moment.now)
    yield from _note(work, action.provider, entry)
    output = hooks.parse_output((yield from _run(work, action, provider, script, timeout)), who)
    changed = yield from _own_write(work, fx.MergeEnv(work.desired, output.values))
    yield from _note(work, action.provider, replace(entry, phase="done", keys=tuple(sorted(output.values))))
    if output.ignored_lines:
        message = f"{who} printed {output.ignored_lines} lines that are neither KEY=VALUE nor FURTKA_JSON; they were ignored"
        yield from work.tell("app.warning", message, "warning")
    return f"; set {', '.join(changed) or 'nothing new'} in .env"


def _start_hook(work: Work, action: Action, provider: Provider, timeout: float) -> Run[None]:
    script = yield from ask(fx.ReadScript(action.provider, action.script))
    yield from _run(work, action, provider, script, timeout)
    on_start = {**work.record.on_start, action.provider: provider.incarnation}
    work.record = replace(work.record, on_start=on_start)
    yield from work.save()


def _run(work: Work, action: Action, provider: Provider, script: bytes, timeout: float) -> Run[ExecResult]:
    if not isinstance(work.desired, Present):
        raise AssertionError("only an app that is there has hooks")
    who = _who(action)
    if not provider.container:
        raise AppError("HookFailed", f"{who} has nowhere to run: {provider.no_container}")
    env = hooks.environment(work.name, work.desired.manifest.version, work.desired.env)
    result = yield from ask(fx.RunHook(provider.container, script, env, timeout))
    hooks.check_ended(result, who, timeout)
    return result


def _note(work: Work, provider: str, entry: LedgerEntry) -> Run[None]:
    work.record = replace(work.record, on_install={**work.record.on_install, provider: entry})
    yield from work.save()


def _who(action: Action) -> str:
    return f"{action.event} hook of {action.provider} ({action.script})"


# -- the start itself -----------------------------------------------------------------------------------


def _apply(work: Work, action: Action, rendered: Rendered, deadline: float) -> Run[None]:
    """Make the rendered model run, then remember what it gave.

    The model is kept before, the target saved after: cut off in between, the next run plans the same apply
    again, and Compose finds nothing to change. The other order would call a revision applied that never ran.
    """
    whole = not action.services
    if whole:
        yield from ask(fx.KeepModel(work.name, rendered))
    applying = rendered.revision if whole else work.record.applying
    work.record = replace(work.record, started_at=work.moment.now, applying=applying)
    yield from work.save()
    yield from ask(fx.Apply(work.name, work.record.folder, rendered, action.services, action.force, deadline))
    yield from work.observe()
    work.moment = yield from ask(fx.ReadClock())
    now, old = work.moment.now, work.record.target
    if whole or old is None:
        target = Target(
            rendered.revision,
            work.record.generation,
            _applied(rendered, work.observed),
            now,
            work.record.requires,
            folder=work.record.folder,
        )
        work.record = replace(work.record, target=target, started_at=now, unstable_since=None, applying="")
    else:
        renewed = {s: a for s, a in _applied(rendered, work.observed).items() if s in action.services}
        target = replace(old, services={**old.services, **renewed})
        work.record = replace(work.record, target=target, started_at=now)
    yield from work.save()


def _applied(rendered: Rendered, observed: Observed) -> dict[str, AppliedService]:
    """What each service looks like right after the apply; later looks are compared with this."""
    applied: dict[str, AppliedService] = {}
    for service in rendered.services:
        containers = [c for c in observed.of(service.name) if not is_leftover(c)]
        first = containers[0] if containers else None
        applied[service.name] = AppliedService(
            first.config_hash if first else service.config_hash,
            service.image,
            tuple(sorted({c.image_id for c in containers})),
            first.networks if first else (),
            owner_of(first, observed) if first else "",
        )
    return applied
