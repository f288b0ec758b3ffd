"""Remedies: for each reason what Homeport does by itself next, and what a person can do about it. A table.

Words only, with the names of the app at hand put in. Which reason is the root of the trouble is found in `why`;
what a failed app does next is said there, too.
"""

from __future__ import annotations

from typing import NamedTuple


class Remedy(NamedTuple):
    """`next`: what happens without a person; "" where that is the next try. `advice`: one line a way out."""

    next: str
    advice: tuple[str, ...] = ()


WENT_BACK = "WentBack"
"""RolledBack, and not because anything failed: a person wants it so."""

REMEDIES = {
    # The files of the app.
    "Incomplete": Remedy(
        "goes on as soon as it is there",
        (
            "put what is named above in its place, or, if only the compose file names it, take it out there: {folder}",
        ),
    ),
    "SourceInvalid": Remedy(
        "looks again as soon as a file in {folder} changes",
        ("mend what is named above; `homeport validate {quoted}` checks it and touches nothing",),
    ),
    "PolicyDenied": Remedy(
        "looks again as soon as a file in {folder} changes",
        (
            "take what is named above out of the compose file",
            "or, if you trust whoever writes it with root on this machine, allow it in the settings of the service",
        ),
    ),
    "UntrustedPath": Remedy(
        "goes on as soon as only people you trust can write there",
        (
            "say the command above, after a look at whether what is in {folder} is still what you put there",
            "then `homeport reconcile {app}`; without it the next scan of the tree finds it",
            "where modes mean nothing (a disk without them, a share): run the service with --no-check-rights",
        ),
    ),
    "DependencyCycle": Remedy(
        "looks again as soon as a manifest.json changes",
        ("take one of these apps out of `requires` in the manifest.json of the one before it",),
    ),
    "NameConflict": Remedy(
        "leaves that project alone",
        (
            "if that project is this app: `homeport adopt {app}` takes it over",
            "if not: stop it, or rename this app (its folder, and `name` in {folder}/manifest.json)",
        ),
    ),
    "OwnProject": Remedy(
        "leaves it alone: it would end itself",
        (
            "take the folder of Homeport's own compose file out of {tree}; `docker compose up -d` in it is how it is changed",
            "or, if this is another app, rename it (its folder, and `name` in {folder}/manifest.json)",
        ),
    ),
    "NeedsConfiguration": Remedy(
        "goes on as soon as {folder}/.env is complete",
        ("edit {folder}/.env, or `homeport set {app} KEY` (it asks for the value)",),
    ),
    # Steps that failed.
    "HookFailed": Remedy(
        "",
        (
            "put the script in its place, or mend it, in the folder of that provider: an edit is tried at once",
            "what a script prints is told nowhere, as it may hold secrets: let it write its troubles to a file in there",
        ),
    ),
    "HookTimeout": Remedy(
        "",
        (
            "make the script end sooner, in the folder of that provider: an edit is tried at once",
            "or give it more time: `homeport run --help` lists the time-outs",
        ),
    ),
    "HookOutputInvalid": Remedy(
        "",
        ("let the script print lines like MQTT_USER=web, or one FURTKA_JSON line: an edit is tried at once",),
    ),
    "PullFailed": Remedy(
        "",
        (
            "check the image's name and tag in {folder}, and that this machine reaches the registry",
            "for a private image: `docker login`, as the user that Homeport runs as",
        ),
    ),
    "PreflightFailed": Remedy(
        "", ("free what is named above, or choose another in the compose file in {folder}",)
    ),
    "ApplyFailed": Remedy(
        "", ("mend what is named above in {folder}; `homeport logs {app}` shows what its containers said",)
    ),
    "BuildFailed": Remedy(
        "",
        (
            "mend its Dockerfile in {folder}, or what that copies and runs (an edit of the latter is seen at the next try)",
            "`docker compose build` in {folder} shows all that the build prints",
        ),
    ),
    "RollbackFailed": Remedy(
        "",
        (
            "mend it in {folder}: an edit is tried at once",
            "or go back to another revision: `homeport history {app}`, `homeport rollback {app} REVISION`",
        ),
    ),
    "NoAddressPool": Remedy(
        "",
        (
            "remove networks that nothing uses: `docker network ls`, `docker network rm NAME`",
            "or widen `default-address-pools` in /etc/docker/daemon.json, and restart the engine",
        ),
    ),
    "StaleContainer": Remedy(
        "",
        (
            "`docker rm -f` of the container that is named above, if the engine lets you",
            "else restart the engine (`systemctl restart docker`): apps that it stops are started again by Homeport",
        ),
    ),
    "ComposeUnusable": Remedy(
        "",
        (
            "install what is named above; `homeport doctor` checks it",
            "if it cannot be started: see `free -h`, `ulimit -a`, and what else runs on this machine",
        ),
    ),
    "DiskFull": Remedy(
        "",
        (
            "see what fills the disk: `df -h`, `docker system df`",
            "make room: `docker builder prune`, `docker image prune`; never `docker volume prune`, it deletes data",
        ),
    ),
    # What runs is not well.
    "ContainerExited": Remedy(
        "leaves the restart to the engine; Ready comes back once it stays up",
        ("`homeport logs {app}` shows why it ended", "mend it in {folder}: an edit is tried at once"),
    ),
    "CrashLooping": Remedy(
        "waits to see whether it stays up, for longer after each end; then Ready comes back",
        (
            "`homeport logs {app}` shows why it ends",
            "mend it in {folder}: an edit is tried at once",
        ),
    ),
    "HealthCheckFailed": Remedy(
        "nothing: what is unhealthy runs on; Ready comes back once the check passes",
        (
            "`homeport logs {app}` shows what it says",
            "`docker inspect -f '{{{{json .State.Health}}}}' {containers}` shows what the check says",
            "`homeport restart {app}` stops and starts it",
        ),
    ),
    "Paused": Remedy(
        "leaves it paused: whoever did that has a reason, a backup perhaps; Ready comes back once it runs on",
        ("`docker unpause {containers}` lets it run on",),
    ),
    # Providers.
    "DependencyMissing": Remedy(
        "waits for its folder",
        (
            "put the folder of {app} into {tree}, or `homeport install {app}`",
            "or take it out of `requires` in {consumer_folder}/manifest.json",
        ),
    ),
    "DependencyNotReady": Remedy("looks again as soon as anything changes there", ("wait a moment",)),
    "AwaitingHooks": Remedy("runs them now", ("wait; `homeport events {app} -f` tells what happens",)),
    # On the way.
    "Progressing": Remedy(
        "goes on, and says so when it takes too long",
        ("wait; `homeport events {app} -f` tells what happens",),
    ),
    # By a person's word.
    "Suspended": Remedy("leaves it exactly as it is"),
    "Stopped": Remedy("leaves it stopped, whatever is edited", ("`homeport start {app}` starts it again",)),
    "RolledBack": Remedy(
        "does not try generation {quarantined} again until a file in {folder} changes",
        (
            "mend it in {folder}: an edit is tried at once",
            "`homeport reconcile {app}` tries generation {quarantined} once more",
        ),
    ),
    WENT_BACK: Remedy(
        "stays there until a file in {folder} changes",
        ("nothing; `homeport reconcile {app}` goes forward to generation {quarantined} again",),
    ),
    # The folder is gone.
    "RemovalHeld": Remedy(
        "removes nothing; what runs is kept running",
        (
            "put {folder} back, and it goes on as before",
            "or let go all that is held ({held}), volumes stay: `homeport prune --approve`",
        ),
    ),
    "RemovalBlocked": Remedy(
        "keeps it running, and removes it when nothing requires it any more",
        ("put {folder} back, and it goes on as before", "or remove first what requires it: {consumers}"),
    ),
    "Removing": Remedy(
        "removes its containers and networks; volumes stay", ("wait; to keep the app, put {folder} back",)
    ),
    "Orphaned": Remedy(
        "leaves it alone; it is never removed by itself",
        (
            "put its folder back: {folder}",
            "or `homeport remove {app}` takes its containers and networks away; volumes stay",
        ),
    ),
    # Nothing is known.
    "EngineUnreachable": Remedy(
        "looks at everything as soon as the engine answers",
        ("`homeport doctor` names the cause; `systemctl status docker` shows the engine",),
    ),
    "StateUnavailable": Remedy(
        "begins nothing until it can be written, and then goes on by itself; what runs goes on running",
        ("make room on the disk of the state folder; `homeport doctor` checks it",),
    ),
    "SourceUnavailable": Remedy(
        "stops and removes nothing; goes on as soon as it can be read",
        ("mount or put back what is named above, or make it readable; `homeport doctor` checks it",),
    ),
    "ServiceNotRunning": Remedy(""),
    "NotReconciled": Remedy(
        "looks at it in its turn", ("wait a moment; `homeport doctor` checks the service",)
    ),
    "NoAppName": Remedy(
        "passes it over", ("rename {folder}, and `name` in its manifest.json: the two must be the same",)
    ),
    "ReconciliationSucceeded": Remedy(""),
}
"""By the reason of the Ready condition, and those that `why` itself gives (the last group)."""

START = "start the service: `systemctl start homeport`, or `homeport run`"
"""The first thing to do while nothing does anything by itself."""
OTHER = Remedy("", ("`homeport events {app}` tells what happened",))
"""For a reason that is not in the table."""
