"""What `why` tells, as a person reads it: one text for each word and each reason, and the way down a chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import CliRunner, Result

from controller.cli.main import cli
from controller.clock import SystemClock
from controller.control.remedies import REMEDIES, WENT_BACK
from controller.control.why import LONGEST, Why, explain, to_document, to_text
from controller.model.record import Quarantine, Record, Verdict
from controller.status.store import SqliteStore
from controller.status.summary import WORDS, last_word
from controller.status.transition import transition
from fakes.build import at, record, target

NOW = at(720)
SERVICE = {"running": True, "engine": {"reachable": True}, "appsRoot": "/apps", "held": []}
RUNS = {
    "web": {"state": "running", "health": "", "restarts": 0, "image": "image:1", "containers": ["web-web-1"]}
}
OLD = replace(target(revision="sha256:0123456789abcdef"), requires=("db",))


def app(word: str, reason: str = "", message: str = "", name: str = "web", **fields: Any) -> Record:
    """An app that came to this verdict at noon; it runs what is newest unless told otherwise."""
    known = record(name, **{"target": target(), "observed_services": RUNS} | fields)
    told = transition(known, Verdict(word, reason or word, message), at(0))
    assert last_word(told) == word
    return told


def new(word: str, reason: str = "", message: str = "", name: str = "web", **fields: Any) -> Record:
    """An app that was never started."""
    return app(word, reason, message, name, **{"target": None, "observed_services": {}} | fields)


def failed(reason: str, message: str, name: str = "web", tries: int = 4, **fields: Any) -> Record:
    """An app of which the last try failed; the next is in 38 s."""
    return new("Failed", reason, message, name, **{"retries": tries, "next_try": at(758)} | fields)


def why(*records: Record, service: dict[str, Any] | None = None, stale_after: float | None = None) -> Why:
    """Of the first of these apps."""
    named = {known.name: known for known in records}
    return explain(named, records[0].name, NOW, SERVICE | (service or {}), stale_after)


def text_of(block: str) -> str:
    return dedent(block).strip()


FAILED = "generation 4 failed (CrashLooping: service web: container exited (1)); generation 3 runs again"
QUARANTINE = Quarantine(4, replace(OLD, generation=3), "CrashLooping", FAILED)
BY_PERSON = "a person went back to generation 3; that holds until an input changes"
CASES: dict[str, tuple[Record, str]] = {
    "Incomplete": (
        new("Invalid", "Incomplete", "/apps/web/web.conf: mounted by a service but not there; add it"),
        """
        web is Invalid: /apps/web/web.conf: mounted by a service but not there; add it [Incomplete]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  goes on as soon as it is there
        To do: put what is named above in its place, or, if only the compose file names it, take it out there: /apps/web
        """,
    ),
    "PolicyDenied": (
        app(
            "Invalid",
            "PolicyDenied",
            "compose.yaml: services.x.provider: runs a program on the host",
            revision="r",
            generation=2,
            folder="/apps/web",
        ),
        """
        web is Invalid: compose.yaml: services.x.provider: runs a program on the host [PolicyDenied]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), while the files are at generation 2: web running
        Next:  looks again as soon as a file in /apps/web changes
        To do: take what is named above out of the compose file
               or, if you trust whoever writes it with root on this machine, allow it in the settings of the service
        """,
    ),
    "UntrustedPath": (
        app(
            "Invalid",
            "UntrustedPath",
            "/apps/web: everyone can write to it; say: chmod o-w /apps/web",
            revision="r",
            generation=2,
            folder="/apps/web",
        ),
        """
        web is Invalid: /apps/web: everyone can write to it; say: chmod o-w /apps/web [UntrustedPath]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), while the files are at generation 2: web running
        Next:  goes on as soon as only people you trust can write there
        To do: say the command above, after a look at whether what is in /apps/web is still what you put there
               then `homeport reconcile web`; without it the next scan of the tree finds it
               where modes mean nothing (a disk without them, a share): run the service with --no-check-rights
        """,
    ),
    "SourceInvalid": (
        app(
            "Invalid",
            "SourceInvalid",
            "manifest.json: line 3: ports: must be a list\nbad",
            revision="r",
            generation=2,
            folder="/my apps/web",
        ),
        """
        web is Invalid: manifest.json: line 3: ports: must be a list; bad [SourceInvalid]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), while the files are at generation 2: web running
        Next:  looks again as soon as a file in /my apps/web changes
        To do: mend what is named above; `homeport validate '/my apps/web'` checks it and touches nothing
        """,
    ),
    "DependencyCycle": (
        new(
            "Invalid",
            "DependencyCycle",
            "requires itself: web -> db -> web; take one of these out of `requires`",
        ),
        """
        web is Invalid: requires itself: web -> db -> web; take one of these out of `requires` [DependencyCycle]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  looks again as soon as a manifest.json changes
        To do: take one of these apps out of `requires` in the manifest.json of the one before it
        """,
    ),
    "NameConflict": (
        new(
            "Invalid",
            "NameConflict",
            "a compose project named web already runs from /home/me/web; it is left alone",
        ),
        """
        web is Invalid: a compose project named web already runs from /home/me/web; it is left alone [NameConflict]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  leaves that project alone
        To do: if that project is this app: `homeport adopt web` takes it over
               if not: stop it, or rename this app (its folder, and `name` in /apps/web/manifest.json)
        """,
    ),
    "OwnProject": (
        new("Invalid", "OwnProject", "Homeport itself runs in the compose project of this name"),
        """
        web is Invalid: Homeport itself runs in the compose project of this name [OwnProject]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  leaves it alone: it would end itself
        To do: take the folder of Homeport's own compose file out of /apps; `docker compose up -d` in it is how it is changed
               or, if this is another app, rename it (its folder, and `name` in /apps/web/manifest.json)
        """,
    ),
    "NeedsConfiguration": (
        new("NeedsConfiguration", "", ".env: PASSWORD: is required and empty. Edit /apps/web/.env"),
        """
        web is NeedsConfiguration: .env: PASSWORD: is required and empty. Edit /apps/web/.env
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  goes on as soon as /apps/web/.env is complete
        To do: edit /apps/web/.env, or `homeport set web KEY` (it asks for the value)
        """,
    ),
    "HookFailed": (
        failed("HookFailed", "on_install hook of db (scripts/user.sh) ended with exit status 3"),
        """
        web is Failed: on_install hook of db (scripts/user.sh) ended with exit status 3; tried 4 times [HookFailed]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  tries again in 38 s, at once when its files change
        To do: put the script in its place, or mend it, in the folder of that provider: an edit is tried at once
               what a script prints is told nowhere, as it may hold secrets: let it write its troubles to a file in there
               `homeport reconcile web` tries again now
        """,
    ),
    "HookTimeout": (
        failed(
            "HookTimeout",
            "on_start hook of db (scripts/user.sh) did not end within 30 s",
        ),
        """
        web is Failed: on_start hook of db (scripts/user.sh) did not end within 30 s; tried 4 times [HookTimeout]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  tries again in 38 s, at once when its files change
        To do: make the script end sooner, in the folder of that provider: an edit is tried at once
               or give it more time: `homeport run --help` lists the time-outs
               `homeport reconcile web` tries again now
        """,
    ),
    "HookOutputInvalid": (
        failed(
            "HookOutputInvalid",
            "on_install hook of db (scripts/user.sh): output refused, it is not UTF-8",
        ),
        """
        web is Failed: on_install hook of db (scripts/user.sh): output refused, it is not UTF-8; tried 4 times [HookOutputInvalid]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  tries again in 38 s, at once when its files change
        To do: let the script print lines like MQTT_USER=web, or one FURTKA_JSON line: an edit is tried at once
               `homeport reconcile web` tries again now
        """,
    ),
    "PullFailed": (
        failed("PullFailed", "pulling the images of web: manifest for web:2 not found", tries=1),
        """
        web is Failed: pulling the images of web: manifest for web:2 not found; tried once [PullFailed]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  tries again in 38 s, at once when its files change
        To do: check the image's name and tag in /apps/web, and that this machine reaches the registry
               for a private image: `docker login`, as the user that Homeport runs as
               `homeport reconcile web` tries again now
        """,
    ),
    "PreflightFailed": (
        failed("PreflightFailed", "host port 80 is held by proxy; nothing was touched"),
        """
        web is Failed: host port 80 is held by proxy; nothing was touched; tried 4 times [PreflightFailed]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  tries again in 38 s, at once when its files change
        To do: free what is named above, or choose another in the compose file in /apps/web
               `homeport reconcile web` tries again now
        """,
    ),
    "ApplyFailed": (
        failed(
            "ApplyFailed", "starting web: invalid mount", target=OLD, observed_services=RUNS, generation=2
        ),
        """
        web is Failed: starting web: invalid mount; tried 4 times [ApplyFailed]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (0123456789ab), while the files are at generation 2: web running
        Next:  tries again in 38 s, at once when its files change
        To do: mend what is named above in /apps/web; `homeport logs web` shows what its containers said
               `homeport reconcile web` tries again now
        """,
    ),
    "BuildFailed": (
        failed("BuildFailed", "compose up web: exit code 3; the build said last: no such file"),
        """
        web is Failed: compose up web: exit code 3; the build said last: no such file; tried 4 times [BuildFailed]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  tries again in 38 s, at once when its files change
        To do: mend its Dockerfile in /apps/web, or what that copies and runs (an edit of the latter is seen at the next try)
               `docker compose build` in /apps/web shows all that the build prints
               `homeport reconcile web` tries again now
        """,
    ),
    "RollbackFailed": (
        failed(
            "RollbackFailed", "generation 3 did not start either: image is gone", target=target(good=False)
        ),
        """
        web is Failed: generation 3 did not start either: image is gone; tried 4 times [RollbackFailed]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web; last applied was generation 1 (rev2)
        Next:  tries again in 38 s, at once when its files change
        To do: mend it in /apps/web: an edit is tried at once
               or go back to another revision: `homeport history web`, `homeport rollback web REVISION`
               `homeport reconcile web` tries again now
        """,
    ),
    "NoAddressPool": (
        failed("NoAddressPool", "starting web: all predefined address pools have been fully subnetted"),
        """
        web is Failed: starting web: all predefined address pools have been fully subnetted; tried 4 times [NoAddressPool]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  tries again in 38 s, at once when its files change
        To do: remove networks that nothing uses: `docker network ls`, `docker network rm NAME`
               or widen `default-address-pools` in /etc/docker/daemon.json, and restart the engine
               `homeport reconcile web` tries again now
        """,
    ),
    "DiskFull": (
        failed("DiskFull", "pulling the images of web: no space left on device", next_try=at(700)),
        """
        web is Failed: pulling the images of web: no space left on device; tried 4 times [DiskFull]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  tries again now
        To do: see what fills the disk: `df -h`, `docker system df`
               make room: `docker builder prune`, `docker image prune`; never `docker volume prune`, it deletes data
               `homeport reconcile web` tries again now
        """,
    ),
    "ContainerExited": (
        failed(
            "ContainerExited",
            "service web: container exited (1)",
            tries=1,
            observed_services={"web": {"state": "exited", "restarts": 0}},
        ),
        """
        web is Failed: service web: container exited (1); tried once [ContainerExited]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  web exited
        Next:  tries again in 38 s, at once when its files change
        To do: `homeport logs web` shows why it ended
               mend it in /apps/web: an edit is tried at once
               `homeport reconcile web` tries again now
        """,
    ),
    "CrashLooping": (
        failed(
            "CrashLooping",
            "service web: container exited (1)",
            target=target(good=False),
            history=(OLD,),
            observed_services={"web": {"state": "exited", "restarts": 0}},
        ),
        """
        web is Failed: service web: container exited (1); tried 4 times [CrashLooping]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web; last applied was generation 1 (rev2): web exited
        Next:  tries again in 38 s, at once when its files change
        To do: `homeport logs web` shows why it ends
               mend it in /apps/web: an edit is tried at once
               `homeport rollback web` goes back to the last good revision
               `homeport reconcile web` tries again now
        """,
    ),
    "CrashLooping, by the engine": (
        app(
            "Degraded",
            "CrashLooping",
            "service web: restarts again and again (exit 1, 4 times or more)",
            observed_services={"db": RUNS["web"], "web": {"state": "restarting", "restarts": 7}},
        ),
        """
        web is Degraded: service web: restarts again and again (exit 1, 4 times or more); restarted 7 times by the engine [CrashLooping]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: db running, web restarting (7 restarts)
        Next:  waits to see whether it stays up, for longer after each end; then Ready comes back
        To do: `homeport logs web` shows why it ends
               mend it in /apps/web: an edit is tried at once
        """,
    ),
    "HealthCheckFailed": (
        app(
            "Degraded",
            "HealthCheckFailed",
            "service web: health check fails",
            observed_services={
                "web": {"state": "running", "health": "unhealthy", "restarts": 1, "containers": ["web-web-1"]}
            },
        ),
        """
        web is Degraded: service web: health check fails [HealthCheckFailed]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: web running (unhealthy, 1 restart)
        Next:  nothing: what is unhealthy runs on; Ready comes back once the check passes
        To do: `homeport logs web` shows what it says
               `docker inspect -f '{{json .State.Health}}' web-web-1` shows what the check says
               `homeport restart web` stops and starts it
        """,
    ),
    "Paused": (
        app(
            "Degraded",
            "Paused",
            "service web: container is paused",
            observed_services={"web": {"state": "paused", "restarts": 0, "containers": ["web-web-1"]}},
        ),
        """
        web is Degraded: service web: container is paused [Paused]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web; last applied was generation 1 (rev2): web paused
        Next:  leaves it paused: whoever did that has a reason, a backup perhaps; Ready comes back once it runs on
        To do: `docker unpause web-web-1` lets it run on
        """,
    ),
    "StaleContainer": (
        failed("StaleContainer", "starting web: the engine lists container 0123456789ab of service web"),
        """
        web is Failed: starting web: the engine lists container 0123456789ab of service web; tried 4 times [StaleContainer]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  tries again in 38 s, at once when its files change
        To do: `docker rm -f` of the container that is named above, if the engine lets you
               else restart the engine (`systemctl restart docker`): apps that it stops are started again by Homeport
               `homeport reconcile web` tries again now
        """,
    ),
    "ComposeUnusable": (
        app("Failed", "ComposeUnusable", "no Compose was found"),
        """
        web is Failed: no Compose was found [ComposeUnusable]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: web running
        Next:  waits for your choice, or for an edit
        To do: install what is named above; `homeport doctor` checks it
               if it cannot be started: see `free -h`, `ulimit -a`, and what else runs on this machine
               `homeport reconcile web` tries again now
        """,
    ),
    "AwaitingHooks": (
        app("Progressing", "AwaitingHooks", "on_start hooks have not run yet"),
        """
        web is Progressing: on_start hooks have not run yet [AwaitingHooks]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: web running
        Next:  runs them now
        To do: wait; `homeport events web -f` tells what happens
        """,
    ),
    "Progressing": (
        app(
            "Progressing",
            "",
            "service web: health check is starting",
            observed_services={"web": {"state": "running", "health": "starting"}},
        ),
        """
        web is Progressing: service web: health check is starting
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: web running (starting)
        Next:  goes on, and says so when it takes too long
        To do: wait; `homeport events web -f` tells what happens
        """,
    ),
    "Suspended": (
        app("Suspended", "", "left exactly as it is, by `homeport suspend`", suspended=True),
        """
        web is Suspended: left exactly as it is, by `homeport suspend`
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: web running
        Next:  leaves it exactly as it is
        To do: `homeport resume web` takes it up again
        """,
    ),
    "Suspended, by the manifest": (
        app(
            "Suspended",
            "",
            "left exactly as it is, by its manifest (suspend: true)",
            suspended_by_manifest=True,
        ),
        """
        web is Suspended: left exactly as it is, by its manifest (suspend: true)
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: web running
        Next:  leaves it exactly as it is
        To do: take `suspend` out of /apps/web/manifest.json
        """,
    ),
    "RolledBack": (
        app("RolledBack", "", FAILED, target=OLD, generation=4, quarantine=QUARANTINE),
        """
        web is RolledBack: generation 4 failed (CrashLooping: service web: container exited (1)); generation 3 runs again
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 3 (0123456789ab), while the files are at generation 4: web running
        Next:  does not try generation 4 again until a file in /apps/web changes
        To do: mend it in /apps/web: an edit is tried at once
               `homeport reconcile web` tries generation 4 once more
        """,
    ),
    "RolledBack, by a person": (
        app(
            "RolledBack",
            "",
            BY_PERSON,
            target=OLD,
            generation=4,
            quarantine=replace(QUARANTINE, by_person=True),
        ),
        """
        web is RolledBack: a person went back to generation 3; that holds until an input changes
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 3 (0123456789ab), while the files are at generation 4: web running
        Next:  stays there until a file in /apps/web changes
        To do: nothing; `homeport reconcile web` goes forward to generation 4 again
        """,
    ),
    "Failed, and a person has to choose": (
        failed(
            "HealthCheckFailed",
            "service web: health check fails; rollback is off",
            tries=0,
            next_try=None,
            target=target(good=False),
            history=(OLD,),
            observed_services=RUNS,
        ),
        """
        web is Failed: service web: health check fails; rollback is off [HealthCheckFailed]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: web running
        Next:  waits for your choice, or for an edit
        To do: `homeport logs web` shows what it says
               `docker inspect -f '{{json .State.Health}}' CONTAINER` shows what the check says
               `homeport restart web` stops and starts it
               `homeport rollback web` goes back to the last good revision
               `homeport reconcile web` tries again now
        """,
    ),
    "RemovalHeld": (
        app("Held", "RemovalHeld", "all 2 apps are gone from the apps tree; nothing is removed"),
        """
        web is Held: all 2 apps are gone from the apps tree; nothing is removed [RemovalHeld]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: web running
        Next:  removes nothing; what runs is kept running
        To do: put /apps/web back, and it goes on as before
               or let go all that is held (web), volumes stay: `homeport prune --approve`
        """,
    ),
    "RemovalBlocked": (
        app("RemovalBlocked", "", "required by mail, wiki; it runs on"),
        """
        web is RemovalBlocked: required by mail, wiki; it runs on
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: web running
        Next:  keeps it running, and removes it when nothing requires it any more
        To do: put /apps/web back, and it goes on as before
               or remove first what requires it: the apps named above
        """,
    ),
    "Removing": (
        app(
            "Removing",
            "",
            "ApplyFailed: network web_default has active endpoints",
            retries=2,
            next_try=at(725),
        ),
        """
        web is Removing: ApplyFailed: network web_default has active endpoints; tried 2 times
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: web running
        Next:  tries again in 5 s
        To do: wait; to keep the app, put /apps/web back
        """,
    ),
    "Orphaned": (
        new("Orphaned", "", "its containers run, but it has neither a folder nor a record here"),
        """
        web is Orphaned: its containers run, but it has neither a folder nor a record here
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  its containers, which are not on record
        Next:  leaves it alone; it is never removed by itself
        To do: put its folder back: /apps/web
               or `homeport remove web` takes its containers and networks away; volumes stay
        """,
    ),
    "SourceUnavailable": (
        app("Unknown", "SourceUnavailable", "apps tree /apps is empty; it may not be mounted"),
        """
        web is Unknown: apps tree /apps is empty; it may not be mounted [SourceUnavailable]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: web running
        Next:  stops and removes nothing; goes on as soon as it can be read
        To do: mount or put back what is named above, or make it readable; `homeport doctor` checks it
        """,
    ),
    "Another": (
        failed("VolumeInUse", "volume furtka_web_data is in use", tries=1),
        """
        web is Failed: volume furtka_web_data is in use; tried once [VolumeInUse]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  tries again in 38 s, at once when its files change
        To do: `homeport events web` tells what happened
               `homeport reconcile web` tries again now
        """,
    ),
    "Ready": (
        app("Ready", "ReconciliationSucceeded", "runs generation 1"),
        """
        web is Ready since 2026-01-01 12:00 UTC (12 min): generation 1 (rev2), the newest: web running
        """,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_word_and_reason_has_its_text(case: str) -> None:
    known, text = CASES[case]
    assert to_text(why(known)) == text_of(text)


def test_no_word_and_no_reason_is_without_a_text() -> None:
    told = [why(known).chain[-1] for known, _ in CASES.values()]
    elsewhere = {
        "DependencyMissing",
        "DependencyNotReady",
        "EngineUnreachable",
        "StateUnavailable",
        "ServiceNotRunning",
        "NotReconciled",
        "NoAppName",
        "Stopped",
        WENT_BACK,
    }
    assert {link.reason for link in told} | elsewhere >= set(REMEDIES)
    assert {link.summary for link in told} | {"Waiting", "Stopped"} >= set(WORDS)


def test_stopped_says_how_to_start_it() -> None:
    stopped = app(
        "Stopped",
        "",
        "stopped by `homeport stop`",
        observed_services={"web": {"state": "exited"}},
        stopped=True,
    )
    assert to_text(why(stopped)) == text_of(
        """
        web is Stopped: stopped by `homeport stop`
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web; last applied was generation 1 (rev2): web exited
        Next:  leaves it stopped, whatever is edited
        To do: `homeport start web` starts it again
        """
    )


# -- down the providers -------------------------------------------------------------------------------------


def waiting(name: str, *providers: str, reason: str = "DependencyNotReady", **fields: Any) -> Record:
    message = f"waits for {providers[0]}: it is not available"
    return new("Waiting", reason, message, name, requires=providers, **fields)


def test_a_chain_ends_at_the_root_and_says_what_helps_there() -> None:
    broken = failed("PullFailed", "pulling the images of disk: manifest for disk:2 not found", "disk")
    assert to_text(why(waiting("web", "db"), waiting("db", "disk"), broken)) == text_of(
        """
        web is Waiting: it needs db
          because db is Waiting: it needs disk
          because disk is Failed: pulling the images of disk: manifest for disk:2 not found; tried 4 times [PullFailed]
        Since: 2026-01-01 12:00 UTC (12 min); disk since 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  disk: tries again in 38 s, at once when its files change; web goes on by itself once db is available
        To do: check the image's name and tag in /apps/disk, and that this machine reaches the registry
               for a private image: `docker login`, as the user that Homeport runs as
               `homeport reconcile disk` tries again now
        """
    )


def test_an_edit_that_waits_leaves_the_earlier_revision_running() -> None:
    edited = waiting("web", "db", target=OLD, observed_services=RUNS, generation=2)
    assert to_text(
        why(edited, new("NeedsConfiguration", "", ".env: PASSWORD: is required and empty", "db"))
    ) == text_of(
        """
        web is Waiting: it needs db
          because db is NeedsConfiguration: .env: PASSWORD: is required and empty
        Since: 2026-01-01 12:00 UTC (12 min); db since 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (0123456789ab), while the files are at generation 2: web running
        Next:  db: goes on as soon as /apps/db/.env is complete; web goes on by itself once db is available
        To do: edit /apps/db/.env, or `homeport set db KEY` (it asks for the value)
        """
    )


def test_a_running_app_follows_the_providers_of_what_runs() -> None:
    degraded = app(
        "Degraded", "DependencyNotReady", "waits for db: …", target=target(requires=("db",)), requires=()
    )
    stopped = app("Suspended", "", "left exactly as it is, by `homeport suspend`", "db", suspended=True)
    assert to_text(why(degraded, stopped)) == text_of(
        """
        web is Degraded: it needs db
          because db is Suspended: left exactly as it is, by `homeport suspend`
        Since: 2026-01-01 12:00 UTC (12 min); db since 2026-01-01 12:00 UTC (12 min)
        Runs:  generation 1 (rev2), the newest: web running
        Next:  db: leaves it exactly as it is; web goes on by itself once db is available
        To do: `homeport resume db` takes it up again
        """
    )


def test_a_provider_that_is_not_there_is_the_root() -> None:
    assert to_text(why(waiting("web", "db", reason="DependencyMissing"))) == text_of(
        """
        web is Waiting: it needs db
          because db is Missing: no app of that name is in the apps tree [DependencyMissing]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  db: waits for its folder; web goes on by itself once db is available
        To do: put the folder of db into /apps, or `homeport install db`
               or take it out of `requires` in /apps/web/manifest.json
        """
    )


def test_a_provider_of_which_only_the_folder_is_there_was_not_looked_at() -> None:
    assert to_text(why(waiting("web", "db"))) == text_of(
        """
        web is Waiting: it needs db
          because db is Unknown: its folder is there; it was never looked at [NotReconciled]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  db: looks at it in its turn; web goes on by itself once db is available
        To do: wait a moment; `homeport doctor` checks the service
        """
    )


def test_a_missing_provider_comes_first_then_the_first_by_name_and_never_one_that_is_available() -> None:
    up = app("Invalid", "SourceInvalid", "a typo", "a", available=True)
    down = [failed("ApplyFailed", "no", name) for name in ("c", "b")]
    assert [link.app for link in why(waiting("web", "a", "c", "b"), up, *down).chain] == ["web", "b"]
    assert [link.app for link in why(waiting("web", "a", "c", "b", "z"), up, *down).chain] == ["web", "z"]


@pytest.mark.parametrize("reason", ["DependencyNotReady", "DependencyMissing"])
def test_an_app_whose_providers_are_all_there_by_now_is_looked_at_in_a_moment(reason: str) -> None:
    ready = app("Ready", "ReconciliationSucceeded", "", "db", available=True)
    assert to_text(why(waiting("web", "db", reason=reason), ready)) == text_of(
        f"""
        web is Waiting: waits for db: it is not available [{reason}]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  looks again as soon as anything changes there
        To do: wait a moment
        """
    )


def test_a_circle_ends_the_walk_and_is_shown() -> None:
    assert to_text(why(waiting("web", "a"), waiting("a", "b"), waiting("b", "a"))) == text_of(
        """
        web is Waiting: it needs a
          because a is Waiting: it needs b
          because b is Waiting: requires itself: a -> b -> a [DependencyCycle]
        Since: 2026-01-01 12:00 UTC (12 min); b since 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  b: looks again as soon as a manifest.json changes; web goes on by itself once a is available
        To do: take one of these apps out of `requires` in the manifest.json of the one before it
        """
    )


@pytest.mark.parametrize("length", [LONGEST, LONGEST + 1])
def test_a_chain_is_cut_and_says_where_it_goes_on(length: int) -> None:
    told = why(*(waiting(f"a{n}", f"a{n + 1}", reason="DependencyMissing") for n in range(length)))
    assert [link.app for link in told.chain] == [f"a{n}" for n in range(LONGEST)]
    assert told.advice == (f"the chain is longer than this; `homeport why a{LONGEST - 1}` goes on",)


def test_what_blocks_a_removal_is_to_be_removed_first() -> None:
    blocked = app("RemovalBlocked", "", "required by mail, wiki; it runs on", "db")
    told = why(
        blocked, app("Ready", name="wiki", requires=("db",)), app("Ready", name="mail", requires=("db",))
    )
    assert (
        told.advice[-1] == "or remove first what requires it: `homeport remove mail`, `homeport remove wiki`"
    )


def test_letting_one_held_removal_go_names_all_that_go_with_it() -> None:
    held = app("Held", "RemovalHeld", "all 2 apps are gone")
    told = why(held, service={"held": ["db", "web"]})
    assert told.advice[-1] == "or let go all that is held (db, web), volumes stay: `homeport prune --approve`"


# -- Ready, and nothing known -------------------------------------------------------------------------------


def test_ready_tells_restarts_and_drift_in_one_line() -> None:
    drifted = app(
        "Ready",
        "ReconciliationSucceeded",
        desired_services={"web": {"image": "image:2"}},
        observed_services={
            "web": {"state": "running", "health": "healthy", "restarts": 2, "image": "image:1"}
        },
    )
    told = "web is Ready since 2026-01-01 12:00 UTC (12 min): generation 1 (rev2), the newest: web running (2 restarts)"
    told += "; web runs image image:1, its files say image:2"
    assert to_text(why(drifted)) == told
    late = ". As last recorded: the service is not running"
    assert to_text(why(drifted, service={"running": False})) == told + late


def test_an_app_of_jobs_that_are_done_is_ready_with_nothing_running() -> None:
    done = app("Ready", "ReconciliationSucceeded", observed_services={"job": {"state": "exited"}})
    assert to_text(why(done)).endswith("generation 1 (rev2), the newest: job exited")


def test_while_nothing_can_be_remembered_nothing_is_known_but_what_was_noted_last() -> None:
    state = {"writable": False, "message": "state /s/homeport.db: database or disk is full"}
    told = to_text(why(app("Ready", "ReconciliationSucceeded", "runs"), service={"state": state}))
    assert "is Unknown: nothing can be remembered: state /s/homeport.db: database or disk is full" in told
    assert "was Ready" in told
    assert "make room on the disk of the state folder" in told


def test_without_an_engine_nothing_is_known_but_what_was_seen_last() -> None:
    told = why(waiting("web", "db"), service={"engine": {"reachable": False}})
    assert to_text(told) == text_of(
        """
        web is Unknown: the container engine does not answer [EngineUnreachable]
        Runs:  as last seen, when it was Waiting: nothing of web, it was never started
        Next:  looks at everything as soon as the engine answers
        To do: `homeport doctor` names the cause; `systemctl status docker` shows the engine
        """
    )


def test_without_the_service_nothing_happens_by_itself() -> None:
    down = {"running": False, "engine": {"reachable": None}}
    assert to_text(why(failed("DiskFull", "no space left on device"), service=down)) == text_of(
        """
        web is Failed: no space left on device; tried 4 times [DiskFull]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  nothing of web, it was never started
        Next:  nothing: the service is not running
        To do: start the service: `systemctl start homeport`, or `homeport run`
               see what fills the disk: `df -h`, `docker system df`
               make room: `docker builder prune`, `docker image prune`; never `docker volume prune`, it deletes data
               `homeport reconcile web` tries again now
        """
    )
    assert to_text(why(app("Ready"), service=down, stale_after=600)) == text_of(
        """
        web is Unknown: the service is not running; the last look at it was 12 min ago [ServiceNotRunning]
        Since: 2026-01-01 12:00 UTC (12 min)
        Runs:  as last seen, when it was Ready: generation 1 (rev2), the newest: web running
        Next:  nothing: the service is not running
        To do: start the service: `systemctl start homeport`, or `homeport run`
        """
    )


def test_an_app_is_as_fresh_as_the_last_look_at_everything() -> None:
    assert why(app("Ready"), stale_after=600).chain[-1].reason == "NotReconciled"
    resync = {"lastResync": at(200).isoformat()}
    assert why(app("Ready"), service=resync, stale_after=600).summary == "Ready"


@pytest.mark.parametrize("records", [{}, {"web": Record("web")}])
def test_an_app_that_was_never_looked_at_says_so(records: dict[str, Record]) -> None:
    assert to_text(explain(records, "web", NOW, SERVICE, 600)) == text_of(
        """
        web is Unknown: it was never looked at [NotReconciled]
        Runs:  nothing of web, it was never started
        Next:  looks at it in its turn
        To do: wait a moment; `homeport doctor` checks the service
        """
    )


def test_a_folder_that_is_never_looked_at_for_its_name_is_told_to_be_renamed() -> None:
    assert to_text(explain({}, "MyApp", NOW, SERVICE, 600)) == text_of(
        """
        MyApp is Unknown: it is never looked at: MyApp is not an app name (^[a-z][a-z0-9_-]*$, at most 63 characters) [NoAppName]
        Runs:  nothing of MyApp, it was never started
        Next:  passes it over
        To do: rename /apps/MyApp, and `name` in its manifest.json: the two must be the same
        """
    )


def test_the_document_has_the_same_for_programs() -> None:
    told = why(waiting("web", "db"), failed("ApplyFailed", "no", "db", target=OLD, generation=2))
    assert json.loads(json.dumps(to_document(told))) == {
        "app": "web",
        "summary": "Waiting",
        "time": "2026-01-01T12:12:00Z",
        "serviceRunning": True,
        "chain": [
            {
                "app": "web",
                "summary": "Waiting",
                "reason": "DependencyNotReady",
                "message": "it needs db",
                "since": "2026-01-01T12:00:00Z",
            },
            {
                "app": "db",
                "summary": "Failed",
                "reason": "ApplyFailed",
                "message": "no; tried 4 times",
                "since": "2026-01-01T12:00:00Z",
            },
        ],
        "running": {"generation": None, "revision": None, "newest": False, "services": {}, "drift": []},
        "next": told.next,
        "nextTryTime": "2026-01-01T12:12:38Z",
        "advice": list(told.advice),
    }
    unknown = to_document(why(app("Ready"), service={"engine": {"reachable": False}}))
    assert (unknown["summary"], unknown["lastSummary"]) == ("Unknown", "Ready")
    assert unknown["running"] == {
        "generation": 1,
        "revision": "rev2",
        "newest": True,
        "services": {"web": "running"},
        "drift": [],
    }


# -- the command --------------------------------------------------------------------------------------------


@pytest.fixture
def homeport_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`homeport why` on a tree with the folder `fresh` and a state with web, which waits for db."""
    (tmp_path / "apps" / "fresh").mkdir(parents=True)
    monkeypatch.setenv("HOMEPORT_APPS", str(tmp_path / "apps"))
    monkeypatch.setenv("HOMEPORT_STATE", str(tmp_path / "state"))
    now = SystemClock().now()
    store = SqliteStore(tmp_path / "state")
    broken = failed("ApplyFailed", "starting db: \x1b[31mred", "db")
    for known in (waiting("web", "db"), broken, app("Held", "RemovalHeld", "all apps are gone", "old")):
        store.save(replace(known, last_reconcile=now))
    store.close()
    return lambda *arguments: CliRunner().invoke(cli, ["why", *arguments], prog_name="homeport")


def test_the_command_tells_from_the_store_while_no_service_runs(homeport_why: Callable[..., Result]) -> None:
    result = homeport_why("web")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        "web is Waiting: it needs db",
        "  because db is Failed: starting db:  [31mred; tried 4 times [ApplyFailed]",
    ]
    assert "Next:  nothing: the service is not running" in lines
    assert "all that is held (old)" in homeport_why("old").stdout


def test_the_command_gives_json_alone(homeport_why: Callable[..., Result]) -> None:
    document = json.loads(homeport_why("web", "-o", "json").stdout)
    assert [link["app"] for link in document["chain"]] == ["web", "db"]
    assert document["serviceRunning"] is False


def test_a_folder_that_is_not_on_record_is_no_unknown_app(homeport_why: Callable[..., Result]) -> None:
    result = homeport_why("fresh")
    assert (result.exit_code, "it was never looked at" in result.stdout) == (0, True)


def test_an_unknown_app_is_wrong_use_and_the_likely_one_is_named(homeport_why: Callable[..., Result]) -> None:
    result = homeport_why("wev")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Did you mean web?" in result.stderr


def test_in_the_middle_of_a_try_the_last_error_is_still_told() -> None:
    told = to_text(
        why(
            new(
                "Progressing",
                "Progressing",
                "pull image:2",
                retries=2,
                last_error="PullFailed: image:2 not found",
            )
        )
    ).splitlines()
    assert told[0] == (
        "web is Progressing: pull image:2; tried 2 times before, the last time: PullFailed: image:2 not found"
    )
    assert "tried" not in to_text(why(new("Progressing", "Progressing", "pull image:2")))


def test_what_time_decides_is_told_with_the_time_that_is_left() -> None:
    starting = app("Progressing", "Progressing", "health check is starting", deadline=at(720 + 45))
    assert "Next:  goes on, and decides in 45 s at the latest" in to_text(why(starting))
    assert "at the latest" not in to_text(why(replace(starting, deadline=at(719))))


def test_times_are_told_as_whoever_shows_them_wants() -> None:
    told = to_text(
        why(failed("DiskFull", "no space left")), lambda moment, now: f"{(now - moment).seconds} seconds ago"
    )
    assert "Since: 720 seconds ago" in told
