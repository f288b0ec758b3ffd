"""An app that goes: its folder is gone, or a person removes it. What holds that, down, hooks, forget.

Volumes are never removed here, nor anywhere else but by a command that names them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from datetime import timedelta

from controller.model import effects as fx
from controller.model.desired import Absent, Desired, Invalid, Present
from controller.model.effects import Moment, Run, ask
from controller.model.errors import AppError
from controller.model.facts import APPROVED, LEFT, REMOVE, SUSPENDED
from controller.model.plan import Action, Result
from controller.model.record import Record, Verdict
from controller.model.values import replace
from controller.planner import hooks
from controller.planner.gates import Provider, find_cycle
from controller.planner.removal import BRAKE_WINDOW, brake_holds, was_there
from controller.reconciler.failing import note_failure
from controller.reconciler.looking import look_at_provider
from controller.reconciler.memory import Memory, Missing, Removals, Retries
from controller.reconciler.steps import run_hook, who_runs
from controller.reconciler.work import Blocked, Policy, Work
from controller.status.summary import last_word
from controller.status.transition import transition, with_missing

HOOK_TRIES = 3
"""How often an on_remove hook is tried before the removal goes on without it."""
AWAY_TRIES = 10
"""The same while its provider is not available: with growing waits, some minutes."""
_ASKED = "a person removes it"
_LEFT_ALONE = "nothing of it was ever started here; whatever runs under its name is left alone"


def reconcile_absent(
    name: str,
    known: Record | None,
    desired: Desired,
    moment: Moment,
    policy: Policy,
    memory: Memory,
    dry_run: bool,
) -> Run[Result | Blocked | None]:
    """Remove the app if it is to go; or say what holds the removal: then what runs is kept running. None: it stays."""
    by_command = (yield from ask(fx.ReadFact(REMOVE + name))) is not None
    if isinstance(desired, Absent):
        # What comes back is a new edit: it has not been changing since before it went.
        memory.settling.forget(name)
    elif not by_command:
        return None
    if known is None and isinstance(desired, Absent):
        return (yield from _find_orphan(name, moment, memory, dry_run))
    folder = desired.folder if isinstance(desired, Present | Invalid) else ""
    gone = replace(known, rest=None) if known else Record(name, folder=folder)
    work = Work(name, moment, gone, gone, desired)
    return (yield from _remove_or_hold(work, by_command, policy, memory, dry_run))


def _remove_or_hold(
    work: Work, by_command: bool, policy: Policy, memory: Memory, dry_run: bool
) -> Run[Result | Blocked]:
    """A folder that is gone is waited for, and many at once are held. A person's command needs neither."""
    name, record, desired = work.name, work.record, work.desired
    records = yield from ask(fx.ReadRecords())
    if by_command:
        held = _required(work, records, ())
        if held is not None and not dry_run and not isinstance(desired, Absent):
            # A consumer came after the person had asked: nothing may wait for a removal that nobody can have.
            return (yield from _withdraw(work, AppError("RemovalBlocked", held.message)))
        cause = _ASKED
    else:
        if _is_orphan(record):
            return (yield from _leave_orphan(work, memory, dry_run))
        waits = yield from _wait_for_its_folder(work, records, policy, memory.missing, dry_run)
        if isinstance(waits, Result):
            return waits
        held = yield from _find_hold(work, records, waits, policy, memory.removals)
        cause = "its folder is gone"
    if held is not None:
        return held
    due = by_command or _was_started(record)
    down = (Action("compose_down", name, cause=cause, app=name),) if due else ()
    if dry_run:
        return Result(last_word(record), (*down, *_hooks_due(record)))
    return (yield from _remove(work, cause, down, records, policy, memory))


def _wait_for_its_folder(
    work: Work, records: tuple[Record, ...], policy: Policy, missing: Missing, dry_run: bool
) -> Run[Result | Mapping[str, float]]:
    """All apps whose folders are gone and since when, once this one's has been for the quiet period; or when to look again."""
    name, record = work.name, work.record
    census = yield from ask(fx.TakeCensus())
    if census.lost:
        # The root went between two looks: nothing is known for sure, and every quiet period starts anew.
        missing.begin_anew()
        return Result(last_word(record))
    if name in census.names:
        return Result(last_word(record), after=policy.settle, pending=True)
    # Since when a folder is gone is not counted from the run's start: on a slow disk that was before it went.
    work.moment = moment = yield from ask(fx.ReadClock())
    gone = (r.name for r in _with_folders(records) if r.name not in census.names)
    since = missing.note(gone, moment.monotonic)
    left = policy.removal_settle - (moment.monotonic - since.get(name, moment.monotonic))
    if left > 0 and not dry_run:
        if missing.tell(name):
            message = f"its folder is gone; if it stays so for {policy.removal_settle:g} s it is removed, unless something holds it"
            work.record = with_missing(work.record, message, moment.now)
            yield from work.tell("app.missing", message, "warning")
            yield from work.save()
        return Result(last_word(record), after=left + 0.005, pending=True)
    return since


def _with_folders(records: tuple[Record, ...]) -> tuple[Record, ...]:
    """Those that had a folder when they were last seen: an orphan never did, and is no accident of today."""
    return tuple(r for r in records if not _is_orphan(r))


def _there_before(
    work: Work, records: tuple[Record, ...], missing: Mapping[str, float], settle: float
) -> list[str]:
    """The apps that there were before the first of the missing ones went, these among them.

    What came within `settle` seconds before it came with the same stroke: which of the two is seen first is chance.
    """
    ago = work.moment.monotonic - min(missing.values(), default=work.moment.monotonic)
    first = work.moment.now - timedelta(seconds=ago + settle)
    return [r.name for r in _with_folders(records) if r.name in missing or was_there(r, first)]


def _required(work: Work, records: tuple[Record, ...], missing: Collection[str]) -> Blocked | None:
    """Consumers hold a removal; those that are being removed themselves do so until their hooks have run."""
    name = work.name
    consumers = sorted(r.name for r in records if name in r.holds and r.name != name)
    staying = [consumer for consumer in consumers if consumer not in missing]
    if staying:
        message = f"required by {', '.join(staying)}; it runs on. Put its folder back, or remove them first"
        return Blocked("RemovalBlocked", "RemovalBlocked", message)
    if consumers and not find_cycle(name, {r.name: tuple(sorted(r.holds)) for r in records}):
        message = f"{', '.join(consumers)} requires it and is removed first"
        return Blocked("RemovalBlocked", "RemovalBlocked", message, pending=True, after=1.0)
    return None


def _find_hold(
    work: Work, records: tuple[Record, ...], missing: Mapping[str, float], policy: Policy, removals: Removals
) -> Run[Blocked | None]:
    """Why a removal that is due does not happen."""
    name, record = work.name, work.record
    if last_word(record) == "Removing":
        return None
    required = _required(work, records, missing)
    if required is not None and not required.pending:
        return required
    if (yield from ask(fx.ReadFact(APPROVED + name))) is not None:
        return required
    suspended = yield from ask(fx.ReadFact(SUSPENDED + name))
    if suspended is not None or record.suspended_by_manifest:
        return Blocked("Held", "RemovalHeld", "it is suspended; `homeport prune --approve` removes it")
    if not policy.prune:
        message = "the service runs with --no-prune; `homeport prune --approve` removes it"
        return Blocked("Held", "RemovalHeld", message)
    lately = removals.lately(work.moment.monotonic, BRAKE_WINDOW)
    before = _there_before(work, records, missing, policy.settle_new)
    why = brake_holds(len(missing), lately, len(before))
    if not why and record.held:
        # Putting one folder of many back mends an accident half; it is no yes to the other half.
        why = "it went together with many others"
    if why:
        message = (
            f"{why}; nothing is removed. Put the folders back, or let them go: `homeport prune --approve`"
        )
        return Blocked("Held", "RemovalHeld", message, by_brake=True)
    return required


# -- the removal itself -----------------------------------------------------------------------------------


def _was_started(record: Record) -> bool:
    """Whether anything of it was ever started, or tried to be, by us; else what runs under its name is a person's."""
    return bool(record.applied or record.applying or record.started_at)


def _remove(
    work: Work,
    cause: str,
    down: tuple[Action, ...],
    records: tuple[Record, ...],
    policy: Policy,
    memory: Memory,
) -> Run[Result]:
    """The folder if it is still there, down, hooks, forget: cut off in between, the next run goes on.

    The folder goes first: where it cannot be moved nothing is taken down, and the wish is withdrawn.
    `down`: none where nothing of it was ever started.
    """
    name, record = work.name, work.record
    if last_word(record) != "Removing":
        try:
            yield from _move_out(work)
        except AppError as error:
            return (yield from _withdraw(work, error))
        # What failed before was another thing than this removal.
        memory.retries.now(name)
        yield from ask(fx.ResetBackoff(name))
        work.record = transition(work.record, Verdict("Removing", "Removing", cause), work.moment.now)
        work.record = replace(work.record, removed_from=(), hook_tries={}, retries=0)
        yield from work.save()
        what = "its containers are removed, its volumes stay" if down else _LEFT_ALONE
        yield from work.tell("app.removing", f"{cause}; {what}")
    if (left := memory.retries.left(name, work.moment.monotonic)) > 0:
        return Result("Removing", after=left + 0.005, failed=True)
    approved = yield from ask(fx.ReadFact(APPROVED + name))
    try:
        if down:
            yield from ask(fx.Remove(name, work.folders()))
            work.done += down
            yield from _note_down(work)
        yield from _run_hooks(work, policy)
        yield from ask(fx.KeepImages(name, frozenset()))
        yield from _forget(work, "containers and networks are gone" if down else _LEFT_ALONE)
    except AppError as error:
        return (yield from _retry(work, error, memory.retries))
    if approved is None and cause != _ASKED:
        memory.removals.note(name, work.moment.monotonic)
    memory.forget(name)
    yield from ask(fx.ResetBackoff(name))
    for other in records:
        # Its providers may have been held only for its sake; its consumers have lost it.
        if name in other.holds or other.name in record.holds:
            yield from ask(fx.Enqueue(other.name))
    if not isinstance(work.desired, Absent):
        yield from ask(fx.Enqueue(name))  # another folder of that name may be there by now
    return Result("", tuple(work.done))


def _move_out(work: Work) -> Run[None]:
    """A person's removal takes the folder out of the tree; its last `.env` is kept for the hooks."""
    if isinstance(work.desired, Absent):
        return
    place = yield from ask(fx.MoveOut(work.name))
    work.done.append(Action("remove", work.name, f"its folder is kept in {place}", _ASKED, work.name))
    work.record = replace(work.record, moved_to=place)


def _withdraw(work: Work, error: AppError) -> Run[Result]:
    message = f"it is not removed, and runs on: {error}"
    yield from ask(fx.WriteFact(REMOVE + work.name))
    yield from work.tell(
        "action.failed", message, "error", kind="remove", target=work.name, reason=error.reason
    )
    return Result(
        last_word(work.record), (Action("error", work.name, message, app=work.name, asked=True),), after=0.0
    )


class _HookFailed(AppError):
    """A hook that was told of in full."""

    def __init__(self, action: Action, error: AppError) -> None:
        super().__init__(error.reason, str(error))
        self.action = action


def _note_down(work: Work) -> Run[None]:
    """Hooks may take long: until they are done the status says what is awaited, and that nothing runs any more."""
    waits = ", ".join(f"{who_runs(action)} for {action.app}" for action in _hooks_due(work.record))
    if waits and not work.record.retries:
        message = f"its containers are gone; now runs: {waits}"
        record = replace(work.record, observed_services={}, available=False)
        work.record = transition(record, Verdict("Removing", "Removing", message), work.moment.now)
        yield from work.save()


def _forget(work: Work, what: str) -> Run[None]:
    name, record = work.name, work.record
    before = json.loads((yield from ask(fx.ReadFact(LEFT + name))) or "[]")
    known = (*record.volumes, *record.own_volumes, *before)
    volumes = sorted((yield from ask(fx.Observe(name, work.folders(), known))).volumes)
    if volumes:
        yield from ask(fx.WriteFact(LEFT + name, json.dumps(volumes)))
    yield from ask(fx.ForgetRecord(name))
    kept = f"; volumes kept: {', '.join(volumes)}" if volumes else ""
    kept += f"; its folder is in {record.moved_to}" if record.moved_to else ""
    yield from work.tell("app.removed", f"{what}{kept}", volumes=volumes)


def _hooks_due(record: Record) -> list[Action]:
    return [
        Action(
            "hook", f"{record.name}:{provider}:on_remove", script, "it is removed",
            app=record.name, provider=provider, event="on_remove", script=script,
        )
        for provider, script in sorted(record.on_remove.items())
        if provider not in record.removed_from
    ]  # fmt: skip


def _run_hooks(work: Work, policy: Policy) -> Run[None]:
    """Let each provider clean up after the app. A hook that fails again and again holds nothing up for ever."""
    for action in _hooks_due(work.record):
        if isinstance((yield from ask(fx.Load(action.provider))), Absent):
            message = f"{who_runs(action)} is not run: the folder of {action.provider} is gone, too"
            yield from work.tell("app.warning", message, "warning")
            yield from _note_hook(work, action)
            continue
        provider = yield from look_at_provider(action.provider, work.moment.now, policy.stable_after)
        began = yield from ask(fx.ReadClock())
        told = {"kind": "hook", "target": action.target}
        try:
            yield from _run_hook(work, action, provider, policy.remove_timeout)
        except AppError as error:
            ended = yield from ask(fx.ReadClock())
            seconds = round(ended.monotonic - began.monotonic, 3)
            yield from work.tell(
                "hook.failed", str(error), "error", **told, reason=error.reason, seconds=seconds
            )
            tries = work.record.hook_tries.get(action.provider, 0) + 1
            work.record = replace(work.record, hook_tries={**work.record.hook_tries, action.provider: tries})
            if tries < (HOOK_TRIES if provider.available else AWAY_TRIES):
                raise _HookFailed(action, error) from error
            message = f"{who_runs(action)} failed {tries} times; the removal goes on without it"
            yield from work.tell("app.warning", message, "warning")
        else:
            work.done.append(action)
            ended = yield from ask(fx.ReadClock())
            seconds = round(ended.monotonic - began.monotonic, 3)
            yield from work.tell("hook.done", who_runs(action), **told, seconds=seconds)
        yield from _note_hook(work, action)


def _note_hook(work: Work, action: Action) -> Run[None]:
    """What its other hooks made there is taken as gone: if the folder comes back, they run anew."""
    record, provider = work.record, action.provider
    work.record = replace(
        record,
        removed_from=(*record.removed_from, provider),
        on_install={name: entry for name, entry in record.on_install.items() if name != provider},
        on_start={name: seen for name, seen in record.on_start.items() if name != provider},
    )
    yield from work.save()


def _run_hook(work: Work, action: Action, provider: Provider, timeout: float) -> Run[None]:
    if not provider.available:
        message = f"{who_runs(action)} cannot run: {action.provider} is not available: {provider.why}"
        raise AppError("HookFailed", message)
    script = yield from ask(fx.ReadScript(action.provider, action.script))
    env = yield from _last_env(work)
    yield from run_hook(
        action, provider, script, hooks.environment(work.name, work.record.version, env), timeout
    )


def _last_env(work: Work) -> Run[dict[str, str]]:
    """The app's `.env`; of a folder that is gone the one that was last applied."""
    if isinstance(work.desired, Present):
        return dict(work.desired.env)
    target = work.record.target
    model = (yield from ask(fx.ReadModel(work.name, target.revision))) if target else None
    return dict(model.env) if model else {}


def _retry(work: Work, error: AppError, retries: Retries) -> Run[Result]:
    message = f"{error.reason}: {error}"
    delay = yield from note_failure(work, message, retries)
    work.record = transition(work.record, Verdict("Removing", "Removing", message), work.moment.now)
    yield from work.save()
    said = f"{who_runs(error.action)} failed" if isinstance(error, _HookFailed) else str(error)
    told = f"{said}; next try in {math.ceil(delay)} s"
    yield from work.tell("app.failed", told, "error", reason=error.reason, retry_in=round(delay, 2))
    return Result("Removing", (Action("error", work.name, message, app=work.name),), delay, failed=True)


# -- orphans ----------------------------------------------------------------------------------------------


def _find_orphan(name: str, moment: Moment, memory: Memory, dry_run: bool) -> Run[Result]:
    """Containers of the apps tree of which nothing is on record and no folder is there: said, and left alone."""
    if dry_run:
        return Result()
    yield from ask(fx.ForgetSaid(name))
    yield from ask(fx.ResetBackoff(name))
    yield from ask(fx.ForgetRendered(name))
    memory.forget(name)
    folder = memory.looks.take_orphan(name)
    if not folder:
        return Result()
    record = Record(name, folder=folder)
    return (yield from _leave_orphan(Work(name, moment, record, record, Absent(name)), memory, dry_run))


def _is_orphan(record: Record) -> bool:
    """Whether no folder of it was ever taken in. Its last word does not tell: a lost tree or engine is Unknown."""
    return record.generation == 0


def _leave_orphan(work: Work, memory: Memory, dry_run: bool) -> Run[Result]:
    """What runs of it is said once and left alone; when nothing runs any more it is forgotten."""
    name, was = work.name, last_word(work.before)
    yield from work.observe()
    if dry_run:
        return Result(was)
    if not work.observed.containers:
        if was == "Orphaned":
            yield from work.tell("app.removed", "its last container is gone")
        yield from ask(fx.ForgetRecord(name))
        memory.forget(name)
        return Result()
    if was == "Orphaned":
        return Result("Orphaned")
    message = (
        f"its containers run, but it has neither a folder nor a record here; they are left alone. Put the folder "
        f"back, or remove them: `homeport remove {name}`"
    )
    work.record = transition(work.record, Verdict("Orphaned", "Orphaned", message), work.moment.now)
    yield from work.save()
    yield from work.tell("app.orphaned", message, "warning")
    return Result("Orphaned", (Action("skip", name, message, app=name),))
