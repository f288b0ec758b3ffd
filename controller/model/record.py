"""Record: what is known and remembered of one app. Conditions, generation, target, the ledger of hooks.

A value that the status room moves from run to run and the store keeps. The one word that people read is
computed from it (`controller.status.summary`), never stored. No secrets in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from controller.model.desired import Stamp
from controller.model.observed import Observed

ConditionStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Condition:
    """One observation, after the Kubernetes API conventions."""

    type: str
    status: ConditionStatus
    reason: str
    message: str
    last_transition_time: datetime
    observed_generation: int


@dataclass(frozen=True)
class AppliedService:
    """What one service looked like right after it was applied; compared with what is observed later."""

    config_hash: str
    image: str
    image_ids: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    owner: str = ""
    """Incarnation of the container whose namespaces it shares, or ""."""
    mounts: Mapping[str, str] = field(default_factory=dict)
    """Mounted path to the digest (file) or identity (directory) that its containers were started with."""
    started: str = ""
    """Incarnations of its containers for which `mounts` was noted: whoever started them again, they mount afresh."""
    contents: str = ""
    """Digest of the configs and secrets that were copied into its containers."""


def is_file(identity: str) -> bool:
    """Whether what is mounted is known by its content: a file. A directory is known by device and inode."""
    return identity.startswith("sha256:")


@dataclass(frozen=True)
class Target:
    """What the controller converges to: the last applied revision, with what it gave."""

    revision: str
    generation: int
    services: Mapping[str, AppliedService]
    applied_at: datetime
    requires: tuple[str, ...] = ()
    """Providers that this revision needed; a repair of it needs them again."""
    good: bool = False
    """Was Ready for `stable_after` at this revision."""
    folder: str = ""
    """Where the app's folder was: paths in what was applied lead there."""
    version: str = ""
    """Of the manifest that was applied."""
    detached: bool = False
    """It was gone back to and runs from copies, not from what is in the folder now."""

    @property
    def mounts(self) -> dict[str, str]:
        """What all its services mounted: path to digest or identity."""
        return {path: was for service in self.services.values() for path, was in service.mounts.items()}

    @property
    def mounted_files(self) -> dict[str, str]:
        """Of these the files: path to digest."""
        return {path: was for path, was in self.mounts.items() if is_file(was)}


@dataclass(frozen=True)
class Quarantine:
    """A generation that is not tried again: an earlier revision runs instead, until the inputs change."""

    generation: int
    to: Target
    """What runs instead."""
    reason: str
    message: str
    """What was the matter with it; of a person's going back that whole sentence."""
    by_person: bool = False


@dataclass(frozen=True)
class LedgerEntry:
    """A hook that was run once for (consumer installation, provider): when, with what, for which volumes."""

    phase: Literal["started", "done"]
    script: str
    digest: str
    volumes: str
    keys: tuple[str, ...]
    """That it gave a value."""
    at: datetime
    version: str = ""
    """Of the consumer, for on_update."""


@dataclass(frozen=True)
class Rest:
    """What a look stood on that found an app Ready and nothing to wait for: while all of it is the same, another look
    finds the same."""

    stamp: Stamp
    observed: Observed
    providers: Mapping[str, str]
    """Provider to what counted of its record."""
    rules: str
    """Digest of the settings by which it was judged."""
    at: datetime
    """Observed then, or a moment later."""


@dataclass(frozen=True)
class End:
    """The last end of a container, and how many of those that nobody wanted there were since it was calm for long."""

    count: int
    """0: it was looked into, and somebody had stopped it, or it went with the engine."""
    at: datetime
    """When it was seen to be over, or to run again: since then it is calm."""
    finished: str
    """When it ended by the engine's clock: what is seen at two looks is one end."""
    code: int | None = None
    """The exit code that is told of it; None when the engine does not know it any more."""


@dataclass(frozen=True)
class Record:
    """All that is remembered of one app. Lose it and the app goes on running and is found again."""

    name: str
    folder: str = ""
    identity: str = ""
    """Of the folder: a renamed one keeps it."""
    folders: tuple[str, ...] = ()
    """Where the app was before its tree was moved: containers started from there are its own."""
    display_name: str = ""
    version: str = ""
    generation: int = 0
    observed_generation: int = -1
    revision: str = ""
    """The newest revision seen on disk."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What that is made of: path to the first digits of its digest, to name what changes next. None of too many."""
    own_write: bool = False
    """We are writing into the folder: a revision that differs after a crash is ours, not a person's edit."""
    desired_services: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    observed_services: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    target: Target | None = None
    history: tuple[Target, ...] = ()
    """What was applied before the target, newest first."""
    quarantine: Quarantine | None = None
    stopped: bool = False
    """By command."""
    conditions: tuple[Condition, ...] = ()
    word_since: datetime | None = None
    """Since when the one word is what it is; None: not known, by a record that an earlier Homeport wrote."""
    failing_since: datetime | None = None
    """The first of the failures that `retries` counts."""
    requires: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    """Full names of the volumes of the last valid manifest."""
    own_volumes: tuple[str, ...] = ()
    """Full names of the volumes that its models made so far."""
    exec_service: str | None = None
    suspended: bool = False
    """By command; the manifest's field is the manifest's."""
    suspended_by_manifest: bool = False
    on_install: Mapping[str, LedgerEntry] = field(default_factory=dict)
    on_update: Mapping[str, LedgerEntry] = field(default_factory=dict)
    on_start: Mapping[str, str] = field(default_factory=dict)
    """Provider to the incarnation of it for which on_start last succeeded."""
    on_remove: Mapping[str, str] = field(default_factory=dict)
    """Provider to the script to run in it when this app was removed, by the last valid manifest."""
    removed_from: tuple[str, ...] = ()
    """Providers in which on_remove was done, or was given up."""
    hook_tries: Mapping[str, int] = field(default_factory=dict)
    """Provider to how often on_remove failed there."""
    moved_to: str = ""
    """Where a removal by command has put the folder."""
    started_with: Mapping[str, str] = field(default_factory=dict)
    """Provider to the incarnation of it that this app's containers were started after, for `restart: true`."""
    incarnation: str = ""
    """Of this app's own containers, when it was last available; consumers follow it."""
    available: bool = False
    completed: tuple[str, ...] = ()
    """Incarnations of containers that were seen to end by themselves with 0, and jobs that are done."""
    applying: str = ""
    """The revision of an apply of the whole app that has begun and not ended well: what it left is mended by
    another whole one."""
    held: bool = False
    """The brake holds its removal; only a person's yes or its folder releases it, never another look."""
    started_at: datetime | None = None
    """When we last started containers of it."""
    unstable_since: datetime | None = None
    """When a container last ended unexpectedly; None once it was calm after that, and Ready came back."""
    ends: Mapping[str, End] = field(default_factory=dict)
    """Container name to its ends of late, whoever starts it again. They outlast the calm between two of them."""
    retries: int = 0
    next_try: datetime | None = None
    deadline: datetime | None = None
    """When what it is on its way to (health, having been stable) is counted as reached, or as failed; None: nothing is
    waited for by the clock."""
    last_error: str | None = None
    last_reconcile: datetime | None = None
    last_change: datetime | None = None
    rest: Rest | None = None
    """Since its last look there was nothing to do and nothing to wait for; None while there is."""

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, or None (which means Unknown)."""
        return next((c for c in self.conditions if c.type == kind), None)

    @property
    def reason(self) -> str:
        """Of the Ready condition, or ""."""
        ready = self.condition("Ready")
        return ready.reason if ready is not None else ""

    @property
    def holds(self) -> frozenset[str]:
        """Providers that may not be taken away: those of the app on disk, and of what runs instead of it."""
        return frozenset((*self.requires, *(self.quarantine.to.requires if self.quarantine else ())))

    @property
    def needs(self) -> frozenset[str]:
        """Providers whose state counts: those that it holds, and those of what was applied last, if it is repaired."""
        return self.holds | frozenset(self.target.requires if self.target else ())

    @property
    def applied(self) -> tuple[Target, ...]:
        """All that was applied and is still known, the present target first."""
        return (self.target, *self.history) if self.target is not None else self.history


@dataclass(frozen=True)
class Verdict:
    """How a run judged the app: the word, and the reason and message that the conditions will carry."""

    word: str
    reason: str
    message: str
    healthy: bool | None = None
    """Of the target, as observed; None when that is not known."""
    health_reason: str = ""
    """Why it is not healthy, where it is not."""
    health_message: str = ""
    dependencies: str | None = None
    """None: there are none; "": all are available; else what is missing."""


@dataclass(frozen=True)
class Event:
    """Something that changed, told once. `name` is the log's constant event name."""

    time: datetime
    app: str
    name: str
    level: str
    message: str
    fields: Mapping[str, object] = field(default_factory=dict)
