"""Desired: what a folder of the apps tree asks for. Present, Absent, Invalid, or not readable at all.

Four answers and not two, because each leads to another act: Absent may remove an app, Invalid never
changes what runs, and Unreadable says nothing about any app. How a folder is read is the source room's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if (
    TYPE_CHECKING
):  # a command that only asks needs no manifests: what checks them costs it a quarter of its time
    from controller.model.manifest import Manifest


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input: which file, which field, which rule, and what to do."""

    file: str
    field: str
    rule: str
    line: int | None = None

    def __str__(self) -> str:
        parts = [self.file, f"line {self.line}" if self.line else "", self.field, self.rule]
        return ": ".join(part for part in parts if part)


@dataclass(frozen=True)
class Trust:
    """What the apps tree is trusted with beyond containers; the person who runs the service decides it for all apps."""

    providers: bool = False
    """Compose files may name a `provider:`, a program that Compose runs on the host."""
    remote_include: bool = False
    """Compose files may include files that Compose fetches from elsewhere."""
    any_writer: bool = False
    """It does not matter who else can write an app's files."""


LEAST_TRUST = Trust()
"""Unless somebody says otherwise."""


@dataclass(frozen=True)
class Stamp:
    """How an app's inputs looked, by stats alone, when they were read. While they look the same, a reading would give
    the same; what stats do not show (a write through a memory map), reading the inputs again does."""

    digest: str
    revision: str
    inputs: tuple[str, ...]
    """Names of what was read: what the revision is made of."""
    paths: tuple[str, ...] = ()
    """Absolute paths that count although not every app has them: it is over these, too."""
    places: tuple[str, ...] = ()
    """Absolute paths of folders and data that are mounted."""


@dataclass(frozen=True)
class Present:
    """An app that is there, whole and valid as far as its files alone can tell."""

    name: str
    folder: str
    """Absolute path of the app folder."""
    manifest: Manifest
    revision: str
    """`sha256:` over relative paths and bytes of all inputs."""
    compose_files: tuple[str, ...]
    """Absolute paths, base file first; the list given to Compose, never its own discovery."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The app's `.env` as Compose reads it. Secret-bearing."""
    seeds: tuple[str, ...] = ()
    """Keys (or `.env` itself, as `.env`) that seeding would write; empty when nothing is to be seeded."""
    unset: tuple[Problem, ...] = ()
    """What a person has to configure first: names of keys and rules, never values."""
    warnings: tuple[str, ...] = ()
    quiet: float = 1e9
    """Seconds since the newest input changed."""
    newest: str = ""
    """What changed then: a path in the folder, for people."""
    mounted: Mapping[str, str] = field(default_factory=dict)
    """Absolute path to `sha256:` digest of each regular file in the app's folder that a service mounts
    read-only (`configs` and `secrets` made of files among them). They are inputs; no config hash covers them."""
    identity: str = ""
    """Of the folder itself (device and inode): a renamed folder keeps it."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What the revision is made of: path in the folder (absolute outside of it) to the first digits of its digest."""
    reaches: tuple[str, ...] = ()
    """What of the host its containers or Compose reach, as far as the files tell: nothing is wrong with it."""
    tunable: bool = False
    """Nothing that Compose reads names GOGC or GOMEMLIMIT, so that they can be set for it and get nowhere else."""
    stamp: Stamp | None = None
    """None when the files alone do not decide, or were written so shortly ago that their stats do not tell."""


@dataclass(frozen=True)
class Invalid:
    """A folder whose inputs do not make an app. What runs of it goes on untouched."""

    name: str
    folder: str
    revision: str
    problems: tuple[Problem, ...]
    reason: str = "SourceInvalid"
    """`SourceInvalid`; `Incomplete` when a named file is not there (yet); `PolicyDenied` when it asks for what no app
    may; `UntrustedPath` when others can write what is acted on as root."""
    quiet: float = 1e9
    newest: str = ""
    identity: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """As of a `Present`."""

    @property
    def message(self) -> str:
        """All problems in one line."""
        return "; ".join(str(problem) for problem in self.problems)


@dataclass(frozen=True)
class Absent:
    """There is surely no such folder under a root that is surely ours."""

    name: str


@dataclass(frozen=True)
class Unreadable:
    """Nothing can be said: the root is lost, or the folder cannot be read. Never a removal."""

    name: str
    message: str
    kept_by_other: bool = False
    """Another Homeport keeps the tree that is there now: what runs is its business, and nothing is repaired either."""


Desired = Present | Invalid | Absent | Unreadable


@dataclass(frozen=True)
class Census:
    """The names of all app folders of the tree, or why they cannot be known."""

    names: frozenset[str] = frozenset()
    lost: str = ""
    """Why the root cannot be trusted; empty when it can."""
    root: str = ""
    ignored: Mapping[str, str] = field(default_factory=dict)
    """Entries of the root that are not apps, with the rule that says so (dot names are not listed)."""
