"""The apps tree as the `Tree` port: which apps there are, and each app's desired state.

Every load looks at the folder afresh; only when nothing has changed by its stats is the last answer given
again. No event is trusted and no engine is asked.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from controller.model.desired import (
    LEAST_TRUST,
    Absent,
    Census,
    Desired,
    Invalid,
    Present,
    Problem,
    Trust,
    Unreadable,
)
from controller.model.errors import AppError, WriteFailed
from controller.model.manifest import APP_NAME
from controller.model.observed import MountedFile
from controller.model.ports import Clock
from controller.source import dotenv, environment, files, rights
from controller.source.droppings import is_dropping
from controller.source.lock import TreeLock
from controller.source.reading import (
    EXAMPLE,
    FIXED,
    SCRIPTS,
    app_identity,
    identity_of,
    read_app,
    revision_of,
)
from controller.source.root import RootGuard

FRESH = 0.05
"""Seconds."""

REMOVED = ".removed"
"""The folder, beside the apps, of those that were taken out."""

Signature = tuple[object, ...]
Places = Mapping[Path, files.Place | None]


@dataclass(frozen=True)
class _Kept:
    """The last answer for one app, and when it holds."""

    signature: Signature
    places: Places
    """What stood at each mounted path that is a folder or data."""
    desired: Present | Invalid
    looked_at: frozenset[Path]
    acted_on: frozenset[Path]
    inputs: frozenset[str]
    first_seen: float
    """Monotonic time of the first look at this signature."""
    untimed: bool
    """It differs from the answer before, but no file's time tells since when: `first_seen` does. An input is gone;
    or a file is being truncated, which shows in its size before it shows in its times (a half-saved `.env` was once applied)."""
    looked_at_time: float
    """Wall time at the start of the look."""
    fresh: bool
    """Not to be given again: written so shortly before it was read that the next write may leave the same times, or
    doubted."""

    @cached_property
    def on_the_way(self) -> frozenset[Path]:
        """All paths that lead to an input or a place, inputs included: asked for at each event, however many."""
        return self.looked_at.union(*(path.parents for path in (*self.looked_at, *self.places)))


class AppsTree:
    """Implements the `Tree` port on a real folder.

    `known` names the apps on record: the guard asks for it, and an app that is known is waited for more
    briefly after an edit. `remember_root_id` None: look only, write no marker. `lock`: the one that keeps other
    services off this tree, held on whatever folder is the root now; None for a look.
    `_lock` guards `_kept` and `_recorded`; files are read outside of it.
    """

    def __init__(
        self,
        root: Path,
        clock: Clock,
        state: Path,
        *,
        known: Callable[[], Collection[str]],
        root_id: Callable[[], str | None],
        remember_root_id: Callable[[str], None] | None,
        trust: Trust = LEAST_TRUST,
        lock: TreeLock | None = None,
    ) -> None:
        self.root = root
        self._trust = trust
        self._clock, self._state, self._known = clock, state, known
        self._guard = RootGuard(root, known, root_id, remember_root_id, lock)
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._recorded: Collection[str] = ()
        self.on_other_paths: Callable[[str], None] = lambda _app: None
        """Called with an app of which other paths count than at its last reading."""

    # -- looking --------------------------------------------------------------------------------------

    def census(self) -> Census:
        """All app folders, or why they cannot be known. Never raises."""
        lost = self._guard.lost()
        if lost:
            return Census(lost=lost)
        names, ignored = set(), {}
        try:
            with os.scandir(self.root) as entries:
                for entry in entries:
                    if entry.name.startswith((".", "_")) or not _may_be_app(entry):
                        continue
                    if APP_NAME.fullmatch(entry.name):
                        names.add(entry.name)
                    else:
                        ignored[files.printable(entry.name)] = (
                            "is not an app name (^[a-z][a-z0-9_-]*$, at most 63 characters)"
                        )
        except OSError as error:
            return Census(lost=f"cannot be read: {files.reason(error)}")
        return Census(frozenset(names), ignored=ignored)

    def load(self, app: str) -> Desired:
        """One app's desired state. Absent only when the folder is surely gone from a root that is surely ours."""
        if not APP_NAME.fullmatch(app):
            return Absent(app)
        lost, kept_by_other = self._guard.look()
        if lost:
            return Unreadable(app, f"apps tree {self.root} {lost}", kept_by_other)
        folder = self.root / app
        try:
            os.scandir(folder).close()
        except OSError as error:
            return self._not_a_folder(app, folder, error)
        try:
            kept = self._current(app, folder)
        except files.Unreadable as error:
            return Unreadable(app, str(error))
        quiet, newest = self._quiet(app, folder, kept)
        desired: Present | Invalid = replace(
            kept.desired, quiet=quiet, newest=newest, identity=app_identity(folder)
        )
        if isinstance(desired, Present):
            # Not kept: whether the folder that a `path` setting names exists is no part of the inputs.
            desired = replace(desired, unset=environment.unset(desired.manifest, desired.env, self._state))
            # Not kept either: modes and owners are no part of the inputs.
            if strangers := self._strangers(folder, kept.acted_on):
                return Invalid(
                    app,
                    str(folder),
                    desired.revision,
                    strangers,
                    "UntrustedPath",
                    desired.quiet,
                    desired.newest,
                    desired.identity,
                )
        return desired

    def _strangers(self, folder: Path, paths: Collection[Path]) -> tuple[Problem, ...]:
        return () if self._trust.any_writer else rights.strangers(folder, paths, self.root)

    def _not_a_folder(self, app: str, folder: Path, error: OSError) -> Desired:
        if error.errno == errno.ENOTDIR:
            if app not in self._known():
                return Absent(app)
            problem = Problem(app, "", "is a file; an app is a folder")
            return Invalid(app, str(folder), revision_of({}), (problem,))
        if error.errno != errno.ENOENT:
            return Unreadable(app, f"{folder} cannot be read: {files.reason(error)}")
        if folder.is_symlink():
            return Unreadable(
                app,
                f"{folder} is a link to {files.printable(str(folder.readlink()))}, which is not there; "
                "is its disk mounted?",
            )
        lost, kept_by_other = self._guard.look()
        if lost:  # it went after the first look
            return Unreadable(app, f"apps tree {self.root} {lost}", kept_by_other)
        with self._lock:
            self._kept.pop(app, None)
            self._recorded = frozenset(self._recorded) - {app}
        return Absent(app)

    def doubt(self) -> None:
        """Have every file read again at the next load of its app: what is written through a memory map may show in
        no stat."""
        with self._lock:
            self._kept = {app: replace(kept, fresh=True) for app, kept in self._kept.items()}

    def signatures(self) -> Mapping[str, object]:
        """For each app folder what changes whenever an input of it may have changed, or another folder stands
        where one is mounted; costs stats only."""
        return {name: self._sign(self.root / name, *self._last(name)) for name in self.census().names}

    def folders(self, app: str = "") -> Iterable[tuple[Path, str]]:
        """The folders to watch of one app, or with "" of all and the root itself, with the app each belongs to ("" for
        the root): never people's data.

        An input that lies in a mounted folder is left to the scan: whatever else is in there may change all the time.
        """
        if app:
            yield from self._folders(app)
            return
        yield self.root, ""
        for name in sorted(self.census().names):
            yield from self._folders(name)

    def _folders(self, app: str) -> Iterable[tuple[Path, str]]:
        folder = self.root / app
        if not APP_NAME.fullmatch(app) or not _is_folder(folder):
            return
        yield folder, app
        looked_at, places = self._last(app)
        data = set(places) - {folder / SCRIPTS}
        scripts = {path for path in looked_at if path.is_relative_to(folder / SCRIPTS)}
        for parent in sorted({path.parent for path in looked_at} | scripts):
            if folder in parent.parents and not data & {parent, *parent.parents} and _is_folder(parent):
                yield parent, app

    def is_input(self, app: str, path: str) -> bool:
        """Whether a change of this path (relative to the app's folder) may change the app."""
        if path in FIXED:
            return True
        folder = self.root / app
        changed = folder / path
        with self._lock:
            kept = self._kept.get(app)
        places = kept.places if kept else {}
        if changed.is_relative_to(folder / SCRIPTS) and not any(
            changed.is_relative_to(place) for place in places if place != folder / SCRIPTS
        ):
            return not is_dropping(changed.name)
        if kept is None:  # a folder not read yet may be any kind of app
            return True
        return changed in kept.on_the_way or (changed in places and _may_be_new(changed, places[changed]))

    def missing_paths(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Those of these host paths that do not exist."""
        return tuple(path for path in paths if _is_missing(path))

    def identities(self, paths: Sequence[str]) -> Mapping[str, str]:
        """Of those of these host paths that are directories: device and inode, whatever is in them."""
        return {path: identity for path in paths if (identity := identity_of(Path(path)))}

    def read_mounted(self, path: str) -> MountedFile | None:
        """A mounted file with its mode and owner; None when it is not there, or is none that can be kept."""
        try:
            return files.read_mounted(Path(path))
        except files.Unfit:
            return None

    def read_script(self, provider: str, path: str) -> bytes:
        """A hook script from the provider's folder, links resolved; raises `AppError("HookFailed", …)`."""
        folder = self.root / provider
        if strangers := self._strangers(folder, [folder / path]):
            raise AppError("HookFailed", f"hook script {path} of {provider} is not run: {strangers[0]}")
        try:
            data = files.read_inside(folder, path)
        except files.Unfit as error:
            raise AppError("HookFailed", f"hook script {path} of {provider} {error}") from error
        if data is None:
            raise AppError(
                "HookFailed", f"{provider} has no hook script {path}; add it, or take it out of `requires`"
            )
        return data

    # -- taking an app out ----------------------------------------------------------------------------

    def move_out(self, app: str) -> str:
        """Rename the app's folder (a link itself) into `.removed/`; answers with its new place.

        Raises `WriteFailed`; the folder is where it was then.
        """
        folder, removed = self.root / app, self.root / REMOVED
        lost = self._guard.lost()
        if lost or not APP_NAME.fullmatch(app):
            raise WriteFailed(f"{folder} was not moved: apps tree {lost or 'has no app of that name'}")
        try:
            removed.mkdir(mode=0o700, exist_ok=True)
            if removed.is_symlink():
                raise WriteFailed(f"{removed} is a link; put a plain folder in its place")
            number, new = 1, removed / app
            while not files.move(folder, new):
                number += 1
                new = removed / f"{app}-{number}"
        except OSError as error:
            raise WriteFailed(f"{folder} could not be moved to {removed}: {files.reason(error)}") from error
        return str(new)

    # -- writing `.env` -------------------------------------------------------------------------------

    def tidy(self) -> None:
        """Take away what a killed process left beside an `.env`. Nobody else may be writing."""
        for app in self.census().names:
            files.forget_unfinished(self.root / app / ".env")

    def seed_env(self, app: Present) -> tuple[str, ...]:
        """Make or complete `.env`; answers with the keys written. Raises `WriteFailed`."""
        before: dict[str, str] = {}

        def seed(text: str | None) -> str | None:
            before.clear()
            before.update(dotenv.parse(text or ""))
            example = files.read(Path(app.folder) / EXAMPLE, environment.LIMIT)
            return environment.seeded(app.manifest, text, files.text(example) if example else "")

        after = self._edit_env(app, seed)
        return tuple(key for key in dotenv.parse(after) if key not in before) if after is not None else ()

    def merge_env(self, app: Present, values: Mapping[str, str]) -> tuple[str, ...]:
        """Merge pairs into `.env`; answers with the keys that changed. Raises `WriteFailed`."""
        before: dict[str, str] = {}

        def merge(text: str | None) -> str | None:
            before.clear()
            before.update(dotenv.parse(text or ""))
            merged = dotenv.merge(text or "", values)
            return None if merged == text else merged

        self._edit_env(app, merge)
        return tuple(key for key, value in values.items() if before.get(key) != value)

    @staticmethod
    def _edit_env(app: Present, edit: Callable[[str | None], str | None]) -> str | None:
        """Read, edit, replace; when a person saved the file meanwhile, start over from theirs."""
        path = Path(app.folder) / environment.FILE
        for _ in range(10):
            seen = files.signature(path, follow=False)
            try:
                data = files.read(path, environment.LIMIT, follow=False)
                text = edit(files.text(data) if data is not None else None)
                encoded = text.encode() if text is not None else b""
            except (files.Unfit, dotenv.DotenvError, ValueError) as error:
                raise WriteFailed(f"{path} {error}") from error
            if text is None:
                return None
            if len(encoded) > environment.LIMIT:
                # It could be written, and never be read again.
                raise WriteFailed(
                    f"{path} would have {len(encoded)} bytes; at most {environment.LIMIT} are read"
                )
            if files.replace_private(path, encoded, seen):
                return text
        raise WriteFailed(f"{path} is being written by someone else all the time")

    # -- reading one app ------------------------------------------------------------------------------

    def _current(self, app: str, folder: Path) -> _Kept:
        """The kept answer while its signature holds, else a new one. Raises `files.Unreadable`."""
        with self._lock:
            before = self._kept.get(app)
        began = self._clock.now().timestamp()
        signature, places = self._sign(folder, *self._last(app))
        same = before is not None and before.signature == signature
        if before is not None and same and before.places == places and not before.fresh:
            return before
        # Signed before it is read: a change in between leaves an old signature, and the next load reads again.
        # Which paths are to be signed is known from reading, hence the second look when they are others.
        reading, desired = read_app(folder, app, self._trust)
        looked_at = frozenset(reading.looked_at)
        if before is None or (looked_at, reading.places) != (before.looked_at, set(before.places)):
            signature, places = self._sign(folder, looked_at, reading.places)
            reading, desired = read_app(folder, app, self._trust)
        now, inputs = self._clock.monotonic(), frozenset(reading.inputs)
        if before is not None and same and before.desired.revision == desired.revision:
            first_seen, untimed = before.first_seen, before.untimed
        else:
            first_seen, untimed = now, before is not None and _is_untimed(before, inputs, looked_at)
        fresh = self._is_fresh(looked_at)
        kept = _Kept(
            signature,
            places,
            desired,
            looked_at,
            frozenset(reading.acted_on),
            inputs,
            first_seen,
            untimed,
            began,
            fresh,
        )
        with self._lock:
            self._kept[app] = kept
        if before is None or (looked_at, set(places)) != (before.looked_at, set(before.places)):
            self.on_other_paths(app)
        return kept

    def _is_fresh(self, looked_at: Collection[Path]) -> bool:
        # File times move in ticks of up to 10 ms: a write in the same tick and of the same size shows in no stat.
        now = self._clock.now().timestamp()
        return any(0 <= now - _changed(path) < FRESH for path in looked_at)

    def _last(self, app: str) -> tuple[Collection[Path], Collection[Path]]:
        """The paths that the last reading looked at, and its places."""
        with self._lock:
            kept = self._kept.get(app)
        return (kept.looked_at, kept.places) if kept else ([self.root / app / name for name in FIXED], ())

    @staticmethod
    def _sign(
        folder: Path, looked_at: Collection[Path], places: Collection[Path]
    ) -> tuple[Signature, Places]:
        marks = (rights.mark(folder.parent), rights.mark(folder))
        signature = (files.place(folder), marks, *(files.signature(path) for path in sorted(looked_at)))
        return signature, {path: files.place(path) for path in places}

    def _quiet(self, app: str, folder: Path, kept: _Kept) -> tuple[float, str]:
        """Seconds since the newest change of an input, and which one that is.

        For an app that is not known yet, since anything in the top two levels changed. The folder's own
        change counts by its modification, not its inode change: a rename in whole is quiet at once.
        """
        times = [(_changed(path), path) for path in kept.looked_at if path.is_relative_to(folder)]
        if not self._is_known(app):
            times += self._top_levels(folder)
        changed, path = max(times, default=(0.0, folder))
        age = self._clock.now().timestamp() - changed
        seen = self._clock.monotonic() - kept.first_seen
        newest = "" if path == folder else files.printable(str(path.relative_to(folder)))
        # A file from the future: what counts is how long it has been looking the same to us.
        return (seen if age < 0 else min(age, seen) if kept.untimed else age), newest

    def _is_known(self, app: str) -> bool:
        """Whether the app is on record. The records are read again only for an app that was not."""
        with self._lock:
            if app in self._recorded:
                return True
        recorded = frozenset(self._known())
        with self._lock:
            self._recorded = recorded
        return app in recorded

    @staticmethod
    def _top_levels(folder: Path) -> list[tuple[float, Path]]:
        times: list[tuple[float, Path]] = []
        with suppress(OSError), os.scandir(folder) as entries:
            times.append((folder.stat().st_mtime, folder))
            for entry in entries:
                # One that is gone by now is no reason to pass over the others.
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if not entry.is_dir(follow_symlinks=False):
                        times.append((status.st_ctime, Path(entry.path)))
                        continue
                    times.append((status.st_mtime, Path(entry.path)))
                    with os.scandir(entry.path) as inside:
                        times.extend(
                            (inner.stat(follow_symlinks=False).st_ctime, Path(inner.path)) for inner in inside
                        )
        return times


def _is_untimed(before: _Kept, inputs: Collection[str], looked_at: Collection[Path]) -> bool:
    """Whether the files' times do not explain why this look differs from the one before."""
    return (
        not before.inputs <= set(inputs)
        or max(map(_changed, looked_at), default=0.0) <= before.looked_at_time
    )


def _changed(path: Path) -> float:
    try:
        return path.stat().st_ctime
    except (OSError, ValueError):
        return 0.0


def _may_be_new(place: Path, was: files.Place | None) -> bool:
    """Whether something else may stand there now. That a file is still a file is all that is asked of one."""
    return was != () or files.place(place) != ()


def _may_be_app(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of the root is a folder, or a link that may lead to one when its disk is back."""
    try:
        return entry.is_dir() or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110 - never raises
    except OSError:
        return True  # `load` says what is the matter with it


def _is_folder(path: Path) -> bool:
    """Links are followed. What cannot be looked at is none: one app's disk that fails must not cost the others."""
    return bool(files.place(path))


def _is_missing(path: str) -> bool:
    try:
        Path(path).stat()
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
    except ValueError:
        return True
    return False
