"""Doing the actions of a plan, each as the few effects that make it safe to be cut off anywhere.

What is due is the planner's decision; what the outcome means for the app is judged by the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import PurePosixPath

from controller.model import effects as fx
from controller.model.desired import Invalid, Present
from controller.model.effects import Run, ask
from controller.model.errors import AppError, InputInvalid
from controller.model.facts import UPDATE
from controller.model.hostport import clash
from controller.model.observed import ExecResult, Observed, Rendered, Service
from controller.model.plan import Action, Plan
from controller.model.record import AppliedService, LedgerEntry, Target, Verdict
from controller.model.values import replace
from controller.planner import hooks
from controller.planner.gates import Provider
from controller.planner.health import is_leftover, owner_of, started
from controller.planner.judge import forget_ends, note_starts
from controller.reconciler.looking import desired_services, files_changed, mounted_now, note_started
from controller.reconciler.wishes import PULLED
from controller.reconciler.work import Policy, Work
from controller.status.history import images_of, remember
from controller.status.transition import transition


class ActionFailed(Exception):
    """An action failed with this error after so many seconds; what was done before it stands. `touched`: a start had
    begun, so that what ran before may be gone."""

    def __init__(self, action: Action, error: AppError, seconds: float, *, touched: bool = False) -> None:
        super().__init__(str(error))
        self.action = action
        self.error = error
        self.touched = touched
        self.told: dict[str, object] = {
            "kind": action.kind,
            "target": action.target,
            "reason": error.reason,
            "seconds": round(seconds, 3),
        }
        """What a line of the log that tells of it says beside its words."""


def execute(
    work: Work, plan: Plan, rendered: Rendered | None, providers: Mapping[str, Provider], policy: Policy
) -> Run[None]:
    """Do the actions in order; the run ends after those that change the app's inputs.

    Raises `ActionFailed` for the first that fails, `InputInvalid` when a path that a service mounts is not
    there; in both cases what runs is untouched unless the failing action was the start itself.
    """
    for action in plan.actions:
        if action.kind in ("compose_up", "rollback") and rendered is not None:
            yield from _preflight(work, action, rendered)
    yield from _begin(work, "; ".join(f"{' '.join(str(a).split())}: {a.cause}" for a in plan.actions))
    for action in plan.actions:
        edited = not isinstance(work.desired, Present)  # by a person, while our own write was under way
        if any(done.ends_run for done in work.done) and (edited or not action.changes_inputs):
            return
        started = yield from ask(fx.ReadClock())
        yield from ask(fx.BeginStep(work.name, " ".join(str(action).split())))
        try:
            result = yield from _act(work, action, rendered, providers, policy)
        except InputInvalid:
            raise
        except AppError as error:
            ended = yield from ask(fx.ReadClock())
            seconds = ended.monotonic - started.monotonic
            raise ActionFailed(action, error, seconds, touched=action.starts_all) from error
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
    begun = transition(work.record, Verdict("Progressing", "Progressing", message), work.moment.now)
    work.record = replace(begun, deadline=None)
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
        case "hook" if action.event == "on_start":
            yield from _start_hook(work, action, providers[action.provider], policy.start_timeout)
        case "hook":
            return (yield from _merged_hook(work, action, providers[action.provider], policy.install_timeout))
        case "pull":
            yield from _pull(work, rendered)
        case "compose_up" | "rollback":
            if rendered is None:
                raise AssertionError("a plan starts nothing that was not rendered")
            yield from _apply(work, action, rendered, health_timeout(work, policy) + 30.0, providers)
        case "restart":
            yield from _restart(work, action, providers)
        case "stop":
            ids = _ids(work, action.services)
            yield from ask(fx.Stop(work.name, ids))
            # Stopped by us: whoever starts it again does so for the first time.
            work.record = replace(forget_ends(work.record), started_at=None)
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
    copied = (yield from _copies(work)) if action.kind == "rollback" else {}
    required = {
        b.source
        for s in services
        for b in s.binds
        if b.source not in copied and _must_exist(b.source, b.target, b.read_only, folder)
    }
    missing = yield from ask(fx.FindMissingPaths(tuple(sorted(required))))
    if missing:
        raise InputInvalid(
            "Incomplete",
            f"{', '.join(missing)}: mounted by a service but not there; add it "
            "(the engine would put an empty folder, owned by root, in its place)",
        )
    began = yield from ask(fx.ReadClock())
    try:
        yield from _preflight_ports(work, services)
        yield from _preflight_names(work, services)
        if action.services or action.kind == "rollback":
            return  # its images were here before, and were kept
        absent = yield from ask(fx.FindMissingImages(rendered))
        if absent and isinstance(work.desired, Present):
            images = sorted({s.image for s in rendered.services if s.name in absent})
            yield from _begin(work, f"pull {', '.join(images)}: not on this machine yet")
            yield from ask(fx.BeginStep(work.name, f"pull {', '.join(images)}"))
            yield from ask(fx.Pull(work.desired, rendered, absent))
    except AppError as error:
        ended = yield from ask(fx.ReadClock())
        raise ActionFailed(action, error, ended.monotonic - began.monotonic) from error


def _preflight_ports(work: Work, services: Sequence[Service]) -> Run[None]:
    services = [s for s in services if s.scale > 0]  # of a service that is not wanted now nothing is started
    ports = tuple(sorted({port for service in services for port in service.ports}))
    twice = sorted(
        {
            f"host port {port[1]} is published by service {one.name} and by service {other.name}"
            for one, other in combinations([s for s in services if not s.is_job], 2)
            for port, its in product(one.ports, other.ports)
            if clash(port, its)
        }
    )
    if twice:
        raise AppError("PreflightFailed", f"{'; '.join(twice)}; nothing was touched")
    busy = (yield from ask(fx.FindBusyPorts(work.name, ports))) if ports else {}
    if busy:
        held = "; ".join(f"host port {port} is held by {holder}" for port, holder in sorted(busy.items()))
        raise AppError("PreflightFailed", f"{held}; nothing was touched")


def _preflight_names(work: Work, services: Sequence[Service]) -> Run[None]:
    names = tuple(sorted(s.container_name for s in services if s.container_name))
    busy = (yield from ask(fx.FindBusyNames(work.name, names))) if names else {}
    if busy:
        held = "; ".join(
            f"container name {name} is held by {holder}" for name, holder in sorted(busy.items())
        )
        raise AppError("PreflightFailed", f"{held}; nothing was touched")


def _pull(work: Work, rendered: Rendered | None) -> Run[None]:
    """All images, because a person asks; what moved is applied by the next run.

    Tried once, and the person told: while it is due nothing else is done, and an app must be healed without
    its registry.
    """
    if rendered is not None and isinstance(work.desired, Present):
        try:
            yield from ask(fx.Pull(work.desired, rendered, tuple(s.name for s in rendered.services)))
        except AppError:
            yield from ask(fx.WriteFact(UPDATE + work.name))
            raise
    yield from ask(fx.WriteFact(UPDATE + work.name, PULLED))


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

    Said before it is done, so that a crash in between does not make a person's edit of it either. Unless a person
    has edited the app since this run read it (a hook may take minutes): then the next run finds a new generation.
    """
    found = yield from ask(fx.Load(work.name))
    edited = not isinstance(found, Present | Invalid) or found.revision != work.record.revision
    work.record = replace(work.record, own_write=not edited)
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
        if not edited:
            work.record = replace(work.record, revision=desired.revision, inputs=desired.inputs)
    yield from work.save()
    return keys


# -- hooks --------------------------------------------------------------------------------------------


def _merged_hook(work: Work, action: Action, provider: Provider, timeout: float) -> Run[str]:
    """Ledger "started", run, merge, ledger "done": cut off in between, the hook runs once more."""
    if not isinstance(work.desired, Present):
        raise AssertionError("only an app that is there has hooks")
    who = who_runs(action)
    script = yield from ask(fx.ReadScript(action.provider, action.script))
    version = work.desired.manifest.version
    entry = LedgerEntry(
        "started", action.script, hooks.digest(script), provider.volumes, (), work.moment.now, version
    )
    yield from _note(work, action, entry)
    output = hooks.parse_output((yield from _run(work, action, provider, script, timeout)), who)
    required = {r.app for r in work.desired.manifest.requires} - {action.provider}
    hooks.check_owners(output, who, {p: e for p, e in work.record.on_install.items() if p in required})
    changed = yield from _own_write(work, fx.MergeEnv(work.desired, output.values))
    keys = tuple(sorted(key for key, value in output.values.items() if value))
    yield from _note(work, action, replace(entry, phase="done", keys=keys))
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
    env = hooks.environment(work.name, work.desired.manifest.version, work.desired.env)
    return (yield from run_hook(action, provider, script, env, timeout))


def run_hook(
    action: Action, provider: Provider, script: bytes, env: Mapping[str, str], timeout: float
) -> Run[ExecResult]:
    """A script in the provider's container, with this environment. Raises `AppError` when it failed in any way."""
    who = who_runs(action)
    if not provider.container:
        raise AppError("HookFailed", f"{who} has nowhere to run: {provider.no_container}")
    result = yield from ask(fx.RunHook(provider.container, script, env, timeout, action.event))
    hooks.check_ended(result, who, timeout)
    return result


def _note(work: Work, action: Action, entry: LedgerEntry) -> Run[None]:
    if action.event == "on_update":
        work.record = replace(work.record, on_update={**work.record.on_update, action.provider: entry})
    else:
        work.record = replace(work.record, on_install={**work.record.on_install, action.provider: entry})
    yield from work.save()


def who_runs(action: Action) -> str:
    """A hook as messages name it."""
    return f"{action.event} hook of {action.provider} ({action.script})"


# -- the start itself -----------------------------------------------------------------------------------


def _apply(
    work: Work, action: Action, rendered: Rendered, deadline: float, providers: Mapping[str, Provider]
) -> Run[None]:
    """Make the rendered model run, then remember what it gave.

    The model is kept before, the target saved after: cut off in between, the next run plans the same apply
    again, and Compose finds nothing to change. The other order would call a revision applied that never ran.
    """
    whole, old = action.starts_all, work.record.target
    back_to = work.record.quarantine.to if action.kind == "rollback" and work.record.quarantine else None
    if whole and back_to is None and not action.mends:
        yield from keep_inputs(work, rendered)
    applying = rendered.revision if whole else work.record.applying
    work.record = replace(work.record, started_at=work.moment.now, applying=applying)
    yield from work.save()
    work.before_start = work.observed
    pinned = images_of(back_to) if back_to else _pins(work, rendered, action)
    detached = back_to is not None or (old is not None and old.detached and (action.mends or not whole))
    sources = (yield from _copies(work)) if detached else {}
    apply = fx.Apply(
        work.name, work.record.folder, rendered, action.services, action.force, deadline, pinned, sources,
        work.folders(),
    )  # fmt: skip
    for volume in (yield from _start(work, action, apply)):
        yield from work.tell(
            "app.warning",
            f"volume {volume} exists with another definition than the compose file's and is kept as it is, data and all. "
            f"For a new one: save its data, take the app out of the tree, `homeport purge {work.name} {volume}`, put it back",
            "warning",
        )
    yield from work.observe()
    work.moment = yield from ask(fx.ReadClock())
    now = work.moment.now
    mounted = yield from mounted_now(work, rendered)
    applied = _applied(rendered, work.observed, mounted, old)
    work.record = note_starts(work.record, work.before_start, work.observed, now)
    if not whole and old is not None:
        renewed = {s: a for s, a in applied.items() if s in action.services}
        target = replace(old, services={**old.services, **renewed})
        work.record = replace(work.record, target=target, started_at=now)
    elif action.mends and old is not None:
        work.record = replace(work.record, target=replace(old, services=applied), started_at=now, applying="")
    else:
        target = _new_target(work, rendered, applied, back_to)
        work.record = replace(forget_ends(remember(work.record, target)), started_at=now, applying="")
        if back_to is None:
            work.record = replace(work.record, desired_services=desired_services(rendered, applied))
        _note_providers(work, providers)
    yield from work.save()


def _start(work: Work, action: Action, apply: fx.Apply) -> Run[tuple[str, ...]]:
    """Compose, or the engine alone where Compose would have it start what is there and has ended: that is a tenth of the
    time. What the engine cannot start by itself (another's namespaces are gone, a port is taken) is Compose's again."""
    left_over = any(is_leftover(c) for service in action.services for c in work.observed.of(service))
    if action.revives and not left_over:
        try:
            yield from ask(fx.Restart(work.name, action.revives))
        except AppError:
            yield from work.observe()
        else:
            return ()
    return (yield from ask(apply))


def _pins(work: Work, rendered: Rendered, action: Action) -> dict[str, str]:
    """Service to the image that it goes on running, whatever its tag stands for by now: of those that are mended,
    and of those that an edit of the app leaves as they were."""
    target = work.record.target
    if target is None:
        return {}
    images = images_of(target)
    if not action.starts_all or action.mends:
        return images
    unchanged = {
        service.name
        for service in rendered.services
        if (old := target.services.get(service.name)) is not None
        and old.image == service.image
        and service.name not in work.differences
        and not service.is_built
        and service.name not in work.wishes.moved
    }
    return {name: image for name, image in images.items() if name in unchanged}


def _new_target(
    work: Work, rendered: Rendered, applied: Mapping[str, AppliedService], back_to: Target | None
) -> Target:
    if back_to is not None:
        return replace(
            back_to, services=applied, applied_at=work.moment.now, folder=work.record.folder, detached=True
        )
    return Target(
        rendered.revision,
        work.record.generation,
        applied,
        work.moment.now,
        work.record.requires,
        folder=work.record.folder,
        version=work.record.version,
    )


def keep_inputs(work: Work, rendered: Rendered) -> Run[None]:
    """Keep what it takes to go back to this revision later: its model, and copies of the files that it mounts."""
    record = work.record
    # What is on record now counts, too: cut off before the next save, it is what is gone on with.
    targets = [*record.applied, *work.before.applied]
    targets += [record.quarantine.to] if record.quarantine else []
    keep = tuple(dict.fromkeys(target.revision for target in targets))
    yield from ask(fx.KeepModel(work.name, rendered, keep))
    mounted = work.desired.mounted if isinstance(work.desired, Present) else {}
    kept = frozenset(digest for target in targets for digest in target.mounted_files.values())
    if mounted or kept:
        yield from ask(fx.KeepMounted(work.name, mounted, kept))


def _copies(work: Work) -> Run[dict[str, str]]:
    """Mounted path to the copy that takes its place: of each file that is not on disk as it was then."""
    to = work.record.quarantine.to if work.record.quarantine else work.record.target
    if to is None:
        return {}
    now = work.desired.mounted if isinstance(work.desired, Present) else {}
    gone = {path: was for path, was in to.mounted_files.items() if now.get(path) != was}
    copies = (yield from ask(fx.FindCopies(work.name, frozenset(gone.values())))) if gone else {}
    return {path: copies[was] for path, was in gone.items() if was in copies}


def _applied(
    rendered: Rendered, observed: Observed, mounted: Mapping[str, str], before: Target | None
) -> dict[str, AppliedService]:
    """What each service looks like right after the apply; later looks are compared with this.

    Of a service whose containers go on running it is still what they were started with that counts.
    """
    applied: dict[str, AppliedService] = {}
    for service in rendered.services:
        containers = [c for c in observed.of(service.name) if not is_leftover(c)]
        first = containers[0] if containers else None
        old = before.services.get(service.name) if before else None
        running = started(service.name, observed)
        kept = old if old is not None and running and old.started == running else None
        same_containers = old is not None and running and _containers(old.started) == _containers(running)
        applied[service.name] = AppliedService(
            first.config_hash if first else old.config_hash if old else "",
            service.image,
            tuple(sorted({c.image_id for c in containers})),
            first.networks if first else (),
            owner_of(first, observed) if first else "",
            kept.mounts
            if kept
            else {b.source: mounted[b.source] for b in service.binds if b.source in mounted},
            running,
            old.contents if old and same_containers else service.contents,
        )
    return applied


def _containers(incarnations: str) -> list[str]:
    return [one.partition("@")[0] for one in incarnations.split(",")]


# -- restarts -------------------------------------------------------------------------------------------


def _restart(work: Work, action: Action, providers: Mapping[str, Provider]) -> Run[None]:
    """Stop and start, in the order of the owners of namespaces first; then note what was mounted."""
    work.record = replace(work.record, started_at=work.moment.now)
    before = work.observed
    yield from ask(fx.Restart(work.name, _ids(work, action.services)))
    yield from work.observe()
    work.moment = yield from ask(fx.ReadClock())
    # It begins nothing anew, unless a person asked for it: it may follow from the very end of another.
    work.record = note_starts(work.record, before, work.observed, work.moment.now)
    target = work.record.target
    if target is not None:
        target = note_started(target, work.observed, work.mounts, files_changed(work))
    work.record = replace(work.record, target=target, started_at=work.moment.now)
    _note_providers(work, providers)
    yield from work.save()


def _ids(work: Work, services: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(c.id for service in services for c in work.observed.of(service) if not is_leftover(c))


def _note_providers(work: Work, providers: Mapping[str, Provider]) -> None:
    """After which containers of its providers this app was started: for `restart: true`."""
    if isinstance(work.desired, Present):
        follows = {r.app for r in work.desired.manifest.requires if r.restart}
        seen = {p.name: p.incarnation for p in providers.values() if p.name in follows}
        work.record = replace(work.record, started_with=seen)
