"""Installing: whole copies of app folders, renamed into the tree one by one, providers first.

`prepare` says what would be done and refuses what cannot be, before anything is written; `install` does it.
Asking a person does not belong here, nor does starting anything: the controller sees the new folders.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controller.catalog.contents import Contents, copy, survey
from controller.catalog.errors import Refused, WrongUse
from controller.catalog.order import Order, order
from controller.model.desired import LEAST_TRUST, Invalid, Present, Problem, Trust
from controller.model.manifest import steers_tools
from controller.source import dotenv, environment, files, uses
from controller.source.reading import EXAMPLE, load_folder

STAGING: Final = ".homeport-install-"
"""What the name of a folder begins with in which copies are made; the tree takes no notice of dot names."""
STALE: Final = 3600.0
"""Seconds after which such a folder is what a crash left."""

_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class Step:
    """One app that is to be copied into the tree."""

    app: Present
    contents: Contents
    filled: tuple[str, ...]
    """Keys that were given."""
    unset: tuple[Problem, ...]
    """What a person has to fill in before it starts: keys and rules, never values."""
    env: str | None = field(default=None, repr=False)
    """The text of `.env` to write; None: the copy's own, if it has one. Secret-bearing."""

    @property
    def name(self) -> str:
        """The app's name."""
        return self.app.name


@dataclass(frozen=True)
class Installation:
    """What `install` will do, in this order."""

    root: Path
    steps: tuple[Step, ...]
    there: tuple[str, ...]
    """Providers that are in the tree."""
    notes: tuple[str, ...]
    trust: Trust = LEAST_TRUST


def parse_values(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Values by app and key, from `KEY=VALUE` and `APP.KEY=VALUE`; app "" is the one that is asked for.

    Raises `WrongUse`; no message holds a value.
    """
    values: dict[str, dict[str, str]] = {}
    for number, text in enumerate(texts, 1):
        left, equals, value = text.partition("=")
        app, _, key = left.rpartition(".")
        if not equals or not _KEY.fullmatch(key):
            raise WrongUse(f"--set number {number}: write it as KEY=VALUE, or APP.KEY=VALUE for a provider")
        if steers_tools(key):
            raise WrongUse(f"--set {left}: this key steers the tools that run the app, not the app")
        values.setdefault(app, {})[key] = value
    return values


def prepare(
    wanted: str,
    root: Path,
    catalogs: Sequence[Path] = (),
    values: Mapping[str, Mapping[str, str]] | None = None,
    *,
    state: Path,
    trust: Trust = LEAST_TRUST,
) -> Installation:
    """What installing an app, by name or by path, would do. Writes nothing.

    `values` as `parse_values` gives them; `state` is the service's folder, which no `path` setting may name;
    `trust`: what compose files may ask for.
    Raises `WrongUse`, `Refused` with all that speaks against it, `OSError` for a folder that cannot be read.
    """
    found = order(wanted, root, catalogs, trust)
    given = _given(found, values or {})
    notes, refused = list(found.notes), list[str]()
    steps: list[Step] = []
    places = (root, *(Path(app.folder).parent for app in found.apps))
    for app in found.apps:
        contents = survey(Path(app.folder))
        refused += [f"{app.name}: {line}" for line in contents.refused]
        notes += [f"{app.name}: {path} is no file and is left out" for path in contents.left_out]
        if not contents.refused:
            step = _step(app, contents, given.get(app.name, {}), state)
            steps.append(step)
            notes += [f"{step.name}: {told}" for told in uses.unnamed(app, step.filled, places)]
    if refused:
        raise Refused(refused)
    _check_room(root, steps)
    return Installation(root, tuple(steps), found.there, tuple(notes), trust)


def _given(found: Order, values: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The values by the name of an app that is to be installed."""
    given: dict[str, dict[str, str]] = {}
    names = [app.name for app in found.apps]
    for app, pairs in values.items():
        name = app or names[-1]
        if name in found.there:
            raise WrongUse(f"{name} is in the tree already; use `homeport set {name} KEY=VALUE`")
        if name not in names:
            raise WrongUse(f"--set {name}.…: {name} is not being installed; these are: {', '.join(names)}")
        given.setdefault(name, {}).update(pairs)
    return given


def _step(app: Present, contents: Contents, values: Mapping[str, str], state: Path) -> Step:
    text = _env_with(app, values) if values else None
    env = dotenv.parse(text) if text is not None else app.env
    unset = environment.unset(app.manifest, env, state)
    wrong = [problem for problem in unset if problem.field in values]
    if wrong:
        raise WrongUse("\n".join(f"--set {app.name}.{problem.field}: {problem.rule}" for problem in wrong))
    return Step(app, contents, tuple(values), unset, text)


def _env_with(app: Present, values: Mapping[str, str]) -> str:
    """The app's `.env` as it would be seeded, with these values in it."""
    try:
        env, example = (_text(Path(app.folder) / name) for name in (environment.FILE, EXAMPLE))
        seeded = environment.seeded(app.manifest, env, example or "")
        return dotenv.merge(seeded if seeded is not None else env or "", values)
    except (files.Unfit, dotenv.DotenvError, ValueError) as error:
        raise Refused([f"{app.name}: {environment.FILE}: {error}"]) from error


def _text(path: Path) -> str | None:
    data = files.read(path)
    return files.text(data) if data is not None else None


def _check_room(root: Path, steps: Sequence[Step]) -> None:
    disk = os.statvfs(root)
    needed, free = sum(step.contents.room(disk.f_frsize) for step in steps), disk.f_bavail * disk.f_frsize
    if needed > free:
        names = " and ".join(step.name for step in steps)
        line = f"{root} has {free // 2**20} MiB free, and {names} would take {needed // 2**20} MiB; make room there"
        raise Refused([line])


def install(installation: Installation) -> None:
    """Copy every app, then rename each into the tree, providers first.

    Until the first rename the tree is as it was; a folder that came in the way meanwhile ends it, and what was
    renamed before stays. Raises `Refused` or `OSError`.
    """
    _sweep(installation.root)
    with _staging(installation.root) as staging:
        for step in installation.steps:
            _copy(step, staging / step.name, installation.trust)
        for step in installation.steps:
            _place(staging / step.name, installation.root / step.name)


def _copy(step: Step, target: Path, trust: Trust) -> None:
    copy(step.contents, target)
    if step.env is not None:
        path = target / environment.FILE
        files.replace_private(path, step.env.encode(), files.signature(path, follow=False))
    # Somebody may have been editing it in the catalog: half an edit must not get into the tree.
    copied = load_folder(target, trust)
    if isinstance(copied, Invalid):
        raise Refused([f"{step.name}: it changed while it was copied: {copied.message}; try again"])


def _place(copied: Path, target: Path) -> None:
    try:
        # An empty folder that is in the way would be replaced, and nothing lost; anything else is an error.
        copied.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise Refused([f"{target} came into the tree meanwhile; look at it, then try again"]) from error
        raise
    files.sync_folder(target.parent)


@contextlib.contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A folder for copies on the tree's own file system, locked while it is in use."""
    folder = Path(tempfile.mkdtemp(prefix=STAGING, dir=root))
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Take away what a crash left; a folder that another install still copies into is locked and stays."""
    for folder in root.glob(f"{STAGING}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > STALE:
                with _locked(folder):
                    shutil.rmtree(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises `OSError` when another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
