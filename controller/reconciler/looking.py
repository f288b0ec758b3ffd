"""Looking: what a run finds out before it decides. Providers, mounts, and what only the containers can tell.

Changes the record of the run at most, never the world. What follows from what is seen is decided in `converging`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from controller.model import effects as fx
from controller.model.desired import Absent, Present
from controller.model.effects import Run, ask
from controller.model.observed import Container, Observed, Rendered
from controller.model.record import AppliedService, End, LedgerEntry, Record, Target, is_file
from controller.model.values import replace
from controller.planner.gates import Provider, choose_container
from controller.planner.health import Fault, find_faults, incarnation_of, is_leftover, job_done, started
from controller.planner.judge import (
    count_end,
    is_counted,
    is_milestone,
    is_unproven,
    recent_ends,
    unexpected_ends,
    vanished,
    with_crash_loops,
)
from controller.reconciler.work import Work, folders_of
from controller.status.summary import last_word

Providers = Mapping[str, Provider]
_HELD_UP = ("Stopped", "Invalid", "NeedsConfiguration", "Failed", "Degraded", "Waiting")
"""Words of a provider that is not made available by what is due now."""
_MOST_QUOTED = 2
"""Containers whose last words are part of a message."""


# -- providers ----------------------------------------------------------------------------------------


def look_at_providers(work: Work, stable_after: float, dry_run: bool) -> Run[dict[str, Provider]]:
    """All that the app needs, one way or the other."""
    providers = {}
    for name in sorted(work.record.needs - {work.name}):
        provider = yield from look_at_provider(name, work.moment.now, stable_after)
        # A dry run shows what will happen once the provider is up, unless that waits for a person or for another try.
        assumed = dry_run and provider.known and not (yield from _is_held_up(name))
        providers[name] = replace(provider, available=provider.available or assumed)
    return providers


def _is_held_up(provider: str) -> Run[bool]:
    record = yield from ask(fx.ReadRecord(provider))
    return record is not None and last_word(record) in _HELD_UP


def look_at_differences(work: Work, rendered: Rendered | None) -> Run[None]:
    """What the edit of an app changes; where the model that was applied is not known any more, that may be anything."""
    target = work.record.target
    if rendered is None or target is None or target.revision == rendered.revision:
        return
    before = yield from ask(fx.ReadModel(work.name, target.revision))
    if before is None:
        work.differences = dict.fromkeys((service.name for service in rendered.services), "")
    else:
        work.differences = yield from ask(fx.FindDifferences(rendered, before))


def look_at_provider(name: str, now: datetime, stable_after: float) -> Run[Provider]:
    """Looked at afresh, never taken from its record: after a restart of the engine the record is old."""
    record = yield from ask(fx.ReadRecord(name))
    if record is None or record.target is None:
        desired = yield from ask(fx.Load(name))
        why = why_not_ready(record) if record else "it is not installed yet"
        return Provider(name, known=not isinstance(desired, Absent), why=why)
    rendered = yield from ask(fx.ReadModel(name, record.target.revision))
    if rendered is None:
        return Provider(
            name, known=True, why="its applied revision is not on record; it is applied again first"
        )
    observed = yield from ask(fx.Observe(name, folders_of(record), record.volumes))
    faults = find_faults(rendered, record.target, observed, record.completed)
    container, no_container = choose_container(name, record.exec_service, observed)
    why = "; ".join(fault.cause for fault in faults)
    unproven = is_unproven(record, observed, now, stable_after)
    if unproven or any(f.again for f in with_crash_loops(faults, record, observed, now, stable_after)):
        # It runs between two ends: what would start or run in it then fails with it. One sentence for all its tries.
        why = "its containers end again and again; it has to be stable first"
    return Provider(
        name,
        known=True,
        available=not faults and not unproven,
        why="it was stopped by `homeport stop`" if faults and record.stopped else why,
        revision=record.revision,
        incarnation=incarnation_of(observed),
        volumes=",".join(f"{volume}@{created}" for volume, created in sorted(observed.volumes.items())),
        container=container,
        no_container=no_container,
        noticed=noticed_of(record),
    )


def why_not_ready(record: Record) -> str:
    """Why an app cannot be waited for yet, down to the root: of a chain only its last link has a reason to tell.

    Not the message: it changes with every try, and all that wait would have news each time.
    """
    ready, word = record.condition("Ready"), last_word(record)
    if ready is None or ready.reason == word:
        return f"it is {word}"
    if word == "Waiting":
        return f"it {ready.message}"
    return f"it is {word} ({ready.reason})"


def noticed_of(record: Record) -> str:
    """A digest of `seen_by_consumers`."""
    return hashlib.blake2b(repr(seen_by_consumers(record)).encode(), digest_size=16).hexdigest()


def seen_by_consumers(record: Record) -> tuple[object, ...]:
    """What of an app's record those that require it look at: they look again when it changes."""
    seen = record.available, record.incarnation, record.requires, record.revision, record.stopped
    unstable = record.unstable_since is not None
    return *seen, unstable, why_not_ready(record)


# -- mounts -------------------------------------------------------------------------------------------


def look_at_mounts(work: Work, rendered: Rendered | None) -> Run[None]:
    """What is at the mounted paths now, and with what each service's containers were started.

    A service that anybody started again has mounted what is there: that is noted. The files on disk count only
    while they are what is converged to; of an app that was taken back, its copies do.
    """
    target = work.record.target
    if rendered is None or target is None:
        return
    now = yield from mounted_now(work, rendered)
    on_disk = isinstance(work.desired, Present) and work.desired.revision == rendered.revision
    work.mounts = now if on_disk else {p: i for p, i in now.items() if not is_file(i)}
    if target.revision == rendered.revision:
        # What an apply that was cut off has started mounts the files of another revision.
        changed = files_changed(work)
        work.record = replace(work.record, target=note_started(target, work.observed, work.mounts, changed))


def mounted_now(work: Work, rendered: Rendered) -> Run[dict[str, str]]:
    """Digest or identity of what stands at each path that the model mounts; those that nobody knows are left out."""
    paths = {bind.source for service in rendered.services for bind in service.binds}
    if not paths:
        return {}
    # A folder outside of the app's is a disk of the host's: what comes and goes there is not an edit.
    inside = tuple(
        sorted(path for path in paths if PurePosixPath(path).is_relative_to(work.record.folder or "/-"))
    )
    now = dict((yield from ask(fx.FindIdentities(inside)))) if inside else {}
    quarantine = work.record.quarantine
    if quarantine is not None:
        files = quarantine.to.mounted_files
    else:
        files = dict(work.desired.mounted) if isinstance(work.desired, Present) else {}
    return now | {path: digest for path, digest in files.items() if path in paths}


def files_changed(work: Work) -> str:
    """When an input on disk last changed, as the engine writes times."""
    quiet = work.desired.quiet if isinstance(work.desired, Present) else 0.0
    return f"{work.began - timedelta(seconds=quiet):%Y-%m-%dT%H:%M:%S.%f}000Z"


def note_started(target: Target, observed: Observed, now: Mapping[str, str], changed: str) -> Target:
    """The target with what the containers mounted that were started since it was last noted.

    `changed`: when the files of now were last changed. A container that was started before has mounted older ones.
    """
    services = dict(target.services)
    for name, applied in target.services.items():
        running = started(name, observed)
        if not running or running == applied.started:
            continue
        late = any(c.started_at <= changed for c in observed.of(name))
        mounts = {
            path: was if late and is_file(was) else now.get(path, was) for path, was in applied.mounts.items()
        }
        services[name] = replace(applied, started=running, mounts=mounts)
    return target if services == target.services else replace(target, services=services)


# -- what the containers tell ---------------------------------------------------------------------------


def take_over(work: Work, providers: Providers) -> None:
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


def remember_completed(work: Work, rendered: Rendered | None) -> None:
    """One-shot services that were seen to end by themselves stay done when the engine forgets its events."""
    if rendered is None:
        return
    ended = {c.incarnation for c in work.observed.containers if c.state == "exited" and c.exit_code == 0}
    seen = {c.incarnation for c in work.observed.containers if c.ended_by_itself}
    jobs = {s.name for s in rendered.services if s.is_job}
    done = {
        job_done(c.service, c.config_hash)
        for c in work.observed.containers
        if c.service in jobs and c.state == "exited" and c.exit_code == 0
    }
    kept = {known for known in work.record.completed if known in ended or known.startswith("job ")}
    # One entry for each job: what it did with an older configuration is of no use.
    kept -= {known for known in kept for one in done if known.rpartition(" ")[0] == one.rpartition(" ")[0]}
    completed = tuple(sorted(kept | seen | done))
    if completed != work.record.completed:
        work.record = replace(work.record, completed=completed)


def note_unexpected_ends(work: Work, rendered: Rendered | None, stable_after: float) -> Run[None]:
    """A container that ended by no action of ours: Ready comes back only after it has been stable again."""
    target = work.record.target
    if target is None or rendered is None or rendered.revision != target.revision:
        return
    ended = unexpected_ends(work.record, rendered, work.observed)
    gone = vanished(work.record, rendered, work.observed)
    if not ended and not gone:
        return
    now, known = work.moment.now, work.record
    ends = recent_ends(known, now, stable_after)
    told, said = [], ""
    for container in ended:
        before = ends.get(container.name)
        end = ends[container.name] = yield from _count(container, before, now)
        if is_counted(known, container):
            continue  # told when it was over
        again = before is not None and end.count > max(1, before.count)
        work.ended_again |= again and not _starts_by_itself(container)
        work.ended_first |= not again and _ran_for(container) >= stable_after
        if before is None and not _starts_by_itself(container):
            work.to_look_into.append(container)
        if again and not is_milestone(end.count):
            continue  # its exit code stays as it was told: each other one would be news
        code = yield from _exit_code(container)
        ends[container.name] = replace(end, code=code)
        if again or container.id[:12] not in known.incarnation:
            continue  # told as what is wrong: a crash loop, or one that was not seen to run before
        told.append(container.name + ("" if code is None else f" (exit {code})"))
        if code and len(told) <= _MOST_QUOTED:
            said += yield from _said(container.service, container.id, rendered, container.finished_at)
    incarnation = incarnation_of(work.observed)
    work.record = replace(known, unstable_since=now, incarnation=incarnation, ends=ends)
    told += [f"container {short} (gone)" for short in gone]
    if told:
        message = f"ended or restarted by no action of ours: {', '.join(told)}{said}"
        work.news.append(work.event("app.drift", message, "warning"))


def _count(container: Container, before: End | None, now: datetime) -> Run[End]:
    """This end, which counts if it was one by itself. What the engine does not start again may have been stopped, killed, or
    gone with the engine; that is asked at once from the second end on, and after a first one when it is repaired.
    """
    if before is None or _starts_by_itself(container):
        return count_end(before, container, now)
    if not (yield from _ended_by_itself(container)):
        return replace(before, at=now, finished=container.finished_at)
    return count_end(before, container, now)


def look_into_first_ends(work: Work) -> Run[None]:
    """What this run took for first ends, now that they are repaired and while the engine remembers them."""
    for container in work.to_look_into:
        end = work.record.ends.get(container.name)
        if end is not None and not (yield from _ended_by_itself(container)):
            ends = {**work.record.ends, container.name: replace(end, count=0)}
            work.record = replace(work.record, ends=ends)


def _ran_for(container: Container) -> float:
    """Seconds of its last run, by the engine's clock; 0 where that is not known."""
    try:
        ended, began = map(datetime.fromisoformat, (container.finished_at, container.started_at))
    except ValueError:
        return 0.0
    return max(0.0, (ended - began).total_seconds())


def _starts_by_itself(container: Container) -> bool:
    """Whether the engine starts it again, or has done so."""
    return container.restarts > 0 and container.state in ("running", "restarting")


def _ended_by_itself(container: Container) -> Run[bool]:
    return (yield from ask(fx.ReadExitCode(container.id, container.finished_at))) is not None


def _exit_code(container: Container) -> Run[int | None]:
    """Of its last end. One that runs again does not show it; that is asked for where it was no restart of the engine itself."""
    if container.state != "running":
        return container.exit_code
    if not (container.restarts and container.finished_at):
        return None
    return (yield from ask(fx.ReadExitCode(container.id, container.finished_at)))


def faults_of(work: Work, rendered: Rendered | None) -> tuple[Fault, ...]:
    """In what the app differs from its target; nothing when `rendered` is the model of something else."""
    target = work.record.target
    if target is None or rendered is None or rendered.revision != target.revision:
        return ()
    return find_faults(rendered, target, work.observed, work.record.completed, work.mounts)


def last_words(work: Work, faults: tuple[Fault, ...], message: str, rendered: Rendered) -> Run[str]:
    """The message with what the containers said last that ended or are unhealthy.

    Asked once for each trouble: what a crash loop prints differs each time, and would be news each time.
    """
    told = work.before.condition("Ready")
    if told is not None and any(
        told.message.startswith(f"{message}; {fault.service} said last: ") for fault in faults
    ):
        return told.message
    for fault in faults[:_MOST_QUOTED]:
        if fault.container and fault.kind in ("down", "failed", "restarting", "looping", "unhealthy"):
            message += yield from _said(fault.service, fault.container, rendered, fault.ended)
    return message


def _said(service: str, container: str, rendered: Rendered, until: str = "") -> Run[str]:
    """What a container said last, as the end of a message. `until`: see `ReadLastLines`."""
    lines = yield from ask(fx.ReadLastLines(container, rendered, until))
    return f"; {service} said last: {' | '.join(lines)}" if lines else ""


def desired_services(rendered: Rendered, applied: Mapping[str, AppliedService]) -> dict[str, dict[str, str]]:
    """For the status: each service of the model. `applied`: what an apply of it gave, the hashes among it."""
    return {
        s.name: {
            "configHash": applied[s.name].config_hash if s.name in applied else "",
            "image": s.image,
        }
        for s in rendered.services
    }


def observed_services(observed: Observed) -> dict[str, dict[str, object]]:
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
