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
from dataclasses import dataclass
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
    Stamp,
    Trust,
    Unreadable,
)
from controller.model.errors import AppError, WriteFailed
from controller.model.names import APP_NAME, NO_APP_NAME
from controller.model.observed import MountedFile
from controller.model.ports import Clock
from controller.model.values import replace
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
from controller.source.signing import Signed, Signer, owned

FRESH = 0.05
"""Seconds."""

REMOVED = ".removed"
"""The folder, beside the apps, of those that were taken out."""


@dataclass(frozen=True)
class _Kept:
    """The last answer for one app, and when it holds."""

    signer: Signer
    signed: Signed
    """Before it was read: while it looks the same, a reading would give the same."""
    desired: Present | Invalid
    reach: rights.Reach
    """What has to be nobody else's, as it is acted on as root."""
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
    def stamp(self) -> Stamp | None:
        """The look to be kept; None where it does not hold: see `fresh`, and the folder that a setting of the type
        `path` names is no part of it."""
        desired = self.desired
        if (
            self.fresh
            or isinstance(desired, Invalid)
            or any(s.type == "path" for s in desired.manifest.settings)
        ):
            return None
        return Stamp(
            self.signed.digest,
            desired.revision,
            tuple(sorted(self.inputs)),
            tuple(sorted(self.signer.looked_at - _usual(self.signer.folder))),
            self.signer.places,
        )

    @cached_property
    def on_the_way(self) -> frozenset[str]:
        """All paths that lead to an input or a place, inputs included: asked for at each event, however many."""
        looked_at, places = self.signer.looked_at, self.signer.places
        return looked_at | files.leading_to((*looked_at, *places))

    @cached_property
    def places(self) -> Mapping[str, files.Place | None]:
        """What stood at each mounted path that is a folder or data."""
        return dict(zip(self.signer.places, self.signed.places, strict=True))


class AppsTree:
    """Implements the `Tree` port on a real folder.

    `known` names the apps on record: the guard asks for it, and an app that is known is waited for more
    briefly after an edit. `remember_root_id` None: look only, write no marker. `lock`: the one that keeps other
    services off this tree, held on whatever folder is the root now; None for a look. `recall`: how an app looked when it
    was read by an earlier process: what counts of it is known then before it is read again.
    `_lock` guards `_kept` and `_signers`; files are read outside of it.
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
        recall: Callable[[str], Stamp | None] = lambda _app: None,
    ) -> None:
        self.root = root
        self._trust = trust
        self._clock, self._state, self._known, self._recall = clock, state, known, recall
        self._guard = RootGuard(root, known, root_id, remember_root_id, lock)
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._signers: dict[str, Signer] = {}
        self.on_other_paths: Callable[[str], None] = lambda _app: None
        """Called with an app of which other paths count than at its last reading."""

    # -- looking --------------------------------------------------------------------------------------

    def is_lost(self) -> bool:
        """Whether the root cannot be trusted to be ours. Locks nothing and writes nothing."""
        return bool(self._guard.judge())

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
                        ignored[files.printable(entry.name)] = NO_APP_NAME
        except OSError as error:
            return Census(lost=f"cannot be read: {files.reason(error)}")
        return Census(frozenset(names), root=str(self.root), ignored=ignored)

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
            unset = environment.unset(desired.manifest, desired.env, self._state)
            desired = replace(desired, unset=unset, stamp=kept.stamp)
            # Not kept either: modes and owners are no part of the inputs.
            if strangers := self._strangers(kept.reach):
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

    def _strangers(self, reach: rights.Reach) -> tuple[Problem, ...]:
        return () if self._trust.any_writer else rights.strangers(reach)

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
            self._signers.pop(app, None)
        return Absent(app)

    def doubt(self, apps: Iterable[str]) -> None:
        """Have every file of these apps read again at their next load: what is written through a memory map may show in
        no stat."""
        with self._lock:
            for app in apps:
                if (kept := self._kept.get(app)) is not None:
                    self._kept[app] = replace(kept, fresh=True)

    def unchanged(self, stamps: Mapping[str, Stamp], *, reread: bool) -> frozenset[str]:
        """See `Tree.unchanged`."""
        if self._guard.look()[0]:
            return frozenset()
        now, root = self._clock.now().timestamp(), owned(self.root)
        return frozenset(
            app
            for app, stamp in stamps.items()
            if self._signer(app).sign(now, root, afresh=reread).digest == stamp.digest
            and (not reread or self._revision(app, stamp) == stamp.revision)
        )

    def _revision(self, app: str, stamp: Stamp) -> str:
        """Of the stamp's inputs as they are now."""
        folder, inputs = os.path.join(self.root, app), {}  # noqa: PTH118 - for thousands of apps in turn
        for name in stamp.inputs:
            try:
                digest = files.digest(os.path.join(folder, name))  # noqa: PTH118 - as above
            except files.Unfit:
                return ""
            if digest is None:
                return ""
            inputs[name] = digest
        return revision_of(inputs)

    def signatures(self) -> Mapping[str, str]:
        """For each app folder what changes whenever an input of it may have changed, or another folder stands
        where one is mounted; costs stats only."""
        now, root = self._clock.now().timestamp(), owned(self.root)
        # In one order: what lies side by side, for the kernel and for us, is asked for one after the other.
        return {name: self._signer(name).sign(now, root).digest for name in sorted(self.census().names)}

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
        for inner in self._signer(app).folders_between(str(folder / SCRIPTS)):
            if _is_folder(inner):
                yield Path(inner), app

    def is_input(self, app: str, path: str) -> bool:
        """Whether a change of this path (relative to the app's folder) may change the app."""
        if path in FIXED:
            return True
        changed = os.path.normpath(os.path.join(self.root, app, path))  # noqa: PTH118 - asked at each event
        with self._lock:
            kept = self._kept.get(app)
        places = kept.places if kept else {}
        scripts = os.path.join(self.root, app, SCRIPTS)  # noqa: PTH118 - as above
        if files.is_at(changed, scripts) and not any(
            files.is_at(changed, place) for place in places if place != scripts
        ):
            return not is_dropping(os.path.basename(changed))  # noqa: PTH119 - as above
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
        if strangers := self._strangers(rights.Reach.of(folder, [folder / path], self.root)):
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
        signer = self._signer(app)
        root = owned(self.root)
        signed = signer.sign(began, root, afresh=True)
        if before is not None and before.signed == signed and not before.fresh:
            return before
        # Another folder in a mounted place is no edit that has to settle.
        same = before is not None and before.signed.without_places == signed.without_places
        # Signed before it is read: a change in between leaves an old signature, and the next load reads again.
        # Which paths are to be signed is known from reading, hence the second look when they are others.
        reading, desired = read_app(folder, app, self._trust)
        if not signer.signs(reading.looked_at, reading.places):
            signer = Signer(str(folder), reading.looked_at, reading.places)
            signed = signer.sign(began, root)
            reading, desired = read_app(folder, app, self._trust)
        now, inputs = self._clock.monotonic(), frozenset(reading.inputs)
        times = [changed for changed, _ in signer.times(signed)]
        if before is not None and same and before.desired.revision == desired.revision:
            first_seen, untimed = before.first_seen, before.untimed
        else:
            # Whether the files' times do not explain why this look differs from the one before.
            untimed = before is not None and (
                not before.inputs <= inputs or max(times, default=0.0) <= before.looked_at_time
            )
            first_seen = now
        # File times move in ticks of up to 10 ms: a write in the same tick and of the same size shows in no stat.
        fresh = any(0 <= began - changed < FRESH for changed in times)
        kept = _Kept(
            signer,
            signed,
            desired,
            rights.Reach.of(folder, reading.acted_on, self.root),
            inputs,
            first_seen,
            untimed,
            began,
            fresh,
        )
        with self._lock:
            self._kept[app] = kept
            self._signers[app] = signer
        if before is None or before.signer is not signer:
            self.on_other_paths(app)
        return kept

    def _signer(self, app: str) -> Signer:
        """What signs the paths that the last reading looked at, and its places."""
        with self._lock:
            signer = self._signers.get(app)
        if signer is None:
            folder, stamp = str(self.root / app), self._recall(app)
            looked_at = _usual(folder).union(stamp.paths if stamp else ())
            signer = Signer(folder, looked_at, stamp.places if stamp else ())
            with self._lock:
                signer = self._signers.setdefault(app, signer)
        return signer

    def _quiet(self, app: str, folder: Path, kept: _Kept) -> tuple[float, str]:
        """Seconds since the newest change of an input, and which one that is.

        For an app that is not known yet, since anything in the top two levels changed. The folder's own
        change counts by its modification, not its inode change: a rename in whole is quiet at once.
        """
        times = kept.signer.times(kept.signed, inside=True)
        if app not in self._known():
            times += self._top_levels(folder)
        changed, path = max(times, default=(0.0, str(folder)))
        age = self._clock.now().timestamp() - changed
        seen = self._clock.monotonic() - kept.first_seen
        newest = files.printable(path.removeprefix(str(folder)).lstrip(os.sep))
        # A file from the future: what counts is how long it has been looking the same to us.
        return (seen if age < 0 else min(age, seen) if kept.untimed else age), newest

    @staticmethod
    def _top_levels(folder: Path) -> list[tuple[float, str]]:
        times: list[tuple[float, str]] = []
        with suppress(OSError), os.scandir(folder) as entries:
            times.append((folder.stat().st_mtime, str(folder)))
            for entry in entries:
                # One that is gone by now is no reason to pass over the others.
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if not entry.is_dir(follow_symlinks=False):
                        times.append((status.st_ctime, entry.path))
                        continue
                    times.append((status.st_mtime, entry.path))
                    with os.scandir(entry.path) as inside:
                        times.extend(
                            (inner.stat(follow_symlinks=False).st_ctime, inner.path) for inner in inside
                        )
        return times


def _usual(folder: str) -> frozenset[str]:
    """The paths that count in every app's folder."""
    return frozenset(f"{folder}{os.sep}{name}" for name in (*FIXED, SCRIPTS))


def _may_be_new(place: str, was: files.Place | None) -> bool:
    """Whether something else may stand there now. That a file is still a file is all that is asked of one."""
    return was != () or files.place(place) != ()


def _may_be_app(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of the root is a folder, or a link that may lead to one when its disk is back."""
    try:
        return entry.is_dir() or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110 - never raises
    except OSError:
        return True  # `load` says what is the matter with it


def _is_folder(path: Path | str) -> bool:
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
