"""The apps tree as the `Tree` port: which apps there are, and each app's desired state.

Every load looks at the folder afresh; only when nothing has changed by its stats is the last answer given
again. No event is trusted and no engine is asked.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from controller.model.desired import Absent, Census, Desired, Invalid, Present, Problem, Unreadable
from controller.model.errors import AppError, WriteFailed
from controller.model.manifest import APP_NAME, Manifest
from controller.model.ports import Clock
from controller.source import dotenv, environment, files, manifest, references
from controller.source.droppings import is_dropping
from controller.source.root import RootGuard

BASES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
"""Base files in Compose's own order of preference."""
OVERRIDES = (
    "compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml",
)  # fmt: skip
SCRIPTS = "scripts"
EXAMPLE = ".env.example"
FIXED = (manifest.FILE, *BASES, *OVERRIDES, environment.FILE, EXAMPLE)
"""Names in an app's folder that count whenever they appear."""

Signature = tuple[object, ...]


@dataclass
class _Reading:
    """One app being read: its inputs so far, and what is wrong."""

    folder: Path
    inputs: dict[str, bytes] = field(default_factory=dict)
    """Relative path (absolute for files outside the folder) to bytes: what the revision is made of."""
    looked_at: set[Path] = field(default_factory=set)
    """Every path that was looked for, there or not: the signature is over these."""
    problems: list[Problem] = field(default_factory=list)
    missing: list[Problem] = field(default_factory=list)
    """Files that are named but not there (yet): the app is incomplete rather than wrong."""

    def take(self, path: Path, name: str) -> bytes | None:
        """Read an input; None when it is not there or cannot be used (which is then a problem)."""
        self.looked_at.add(path)
        try:
            data = files.read(path)
        except files.Unfit as error:
            self.problems.append(Problem(name, "", str(error)))
            return None
        if data is not None:
            self.inputs[name] = data
        return data

    def revision(self) -> str:
        digest = hashlib.sha256()
        for name, data in sorted(self.inputs.items()):
            digest.update(f"{len(name.encode('utf-8', 'surrogateescape'))}:{len(data)}:".encode())
            digest.update(name.encode("utf-8", "surrogateescape"))
            digest.update(data)
        return "sha256:" + digest.hexdigest()


@dataclass(frozen=True)
class _Kept:
    """The last answer for one app, and when it holds."""

    signature: Signature
    desired: Present | Invalid
    looked_at: frozenset[Path]
    inputs: frozenset[str]
    first_seen: float


class AppsTree:
    """Implements the `Tree` port on a real folder.

    `known` names the apps on record: the guard asks for it, and an app that is known is waited for more
    briefly after an edit. `remember_root_id` None: look only, write no marker.
    `_lock` guards `_kept`; files are read outside of it.
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
    ) -> None:
        self.root = root
        self._clock, self._state, self._known = clock, state, known
        self._guard = RootGuard(root, known, root_id, remember_root_id)
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

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
                    if entry.name.startswith((".", "_")) or not entry.is_dir():
                        continue
                    if APP_NAME.fullmatch(entry.name):
                        names.add(entry.name)
                    else:
                        ignored[entry.name] = "is not an app name (^[a-z][a-z0-9_-]*$, at most 63 characters)"
        except OSError as error:
            return Census(lost=f"cannot be read: {os.strerror(error.errno or 0)}")
        return Census(frozenset(names), ignored=ignored)

    def load(self, app: str) -> Desired:
        """One app's desired state. Absent only when the folder is surely gone from a root that is surely ours."""
        lost = self._guard.lost()
        if lost:
            return Unreadable(app, f"apps tree {self.root} {lost}")
        folder = self.root / app
        try:
            os.scandir(folder).close()
        except OSError as error:
            if error.errno == errno.ENOENT:
                with self._lock:
                    self._kept.pop(app, None)
                return Absent(app)
            if error.errno == errno.ENOTDIR:
                return Invalid(
                    app, str(folder), "sha256:", (Problem(app, "", "is a file; an app is a folder"),)
                )
            return Unreadable(app, f"{folder} cannot be read: {os.strerror(error.errno or 0)}")
        kept = self._current(app, folder)
        return replace(kept.desired, quiet=self._quiet(app, folder, kept))

    def signatures(self) -> Mapping[str, object]:
        """For each app folder what changes whenever an input of it may have changed; costs stats only."""
        return {
            name: self._signature(self.root / name, self._looked_at(name)) for name in self.census().names
        }

    def folders(self) -> Iterable[tuple[Path, str]]:
        """The folders to watch, with the app each belongs to ("" for the root): never people's data."""
        yield self.root, ""
        for name in sorted(self.census().names):
            folder = self.root / name
            yield folder, name
            parents = {path.parent for path in self._looked_at(name)} | {folder / SCRIPTS}
            for parent in sorted(parents):
                if parent != folder and parent.is_relative_to(folder) and parent.is_dir():
                    yield parent, name

    def is_input(self, app: str, path: str) -> bool:
        """Whether a change of this path (relative to the app's folder) may change the app."""
        if path in FIXED or path.split("/", 1)[0] == SCRIPTS:
            return not is_dropping(path.rsplit("/", 1)[-1])
        with self._lock:
            kept = self._kept.get(app)
        # A folder not read yet may be any kind of app.
        return kept is None or self.root / app / path in kept.looked_at

    def missing_paths(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Those of these host paths that do not exist."""
        return tuple(path for path in paths if not os.path.lexists(path))

    def read_script(self, provider: str, path: str) -> bytes:
        """A hook script from the provider's folder, links resolved; raises `AppError("HookFailed", …)`."""
        folder = (self.root / provider).resolve()
        script = (folder / path).resolve()
        if not script.is_relative_to(folder):
            raise AppError("HookFailed", f"hook script {path} leads out of the folder of {provider}")
        try:
            data = files.read(script)
        except files.Unfit as error:
            raise AppError("HookFailed", f"hook script {path} of {provider} {error}") from error
        if data is None:
            raise AppError(
                "HookFailed", f"{provider} has no hook script {path}; add it, or take it out of `requires`"
            )
        return data

    # -- writing `.env` -------------------------------------------------------------------------------

    def seed_env(self, app: Present) -> tuple[str, ...]:
        """Make or complete `.env`; answers with the keys written. Raises `WriteFailed`."""
        before: dict[str, str] = {}

        def seed(text: str | None) -> str | None:
            before.clear()
            before.update(dotenv.parse(text or ""))
            example = files.read(Path(app.folder) / EXAMPLE)
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
            if path.is_symlink():
                raise WriteFailed(f"{path} is a link; put a plain file in its place")
            seen = files.signature(path)
            try:
                data = files.read(path)
                text = edit(files.text(data) if data is not None else None)
            except (files.Unfit, dotenv.DotenvError) as error:
                raise WriteFailed(f"{path}: {error}") from error
            if text is None:
                return None
            if files.replace_private(path, text.encode(), seen):
                return text
        raise WriteFailed(f"{path} is being written by someone else all the time")

    # -- reading one app ------------------------------------------------------------------------------

    def _current(self, app: str, folder: Path) -> _Kept:
        with self._lock:
            kept = self._kept.get(app)
        if kept is not None and kept.signature == self._signature(folder, kept.looked_at):
            return kept
        # Signed before it is read: a change in between leaves an old signature, and the next load reads again.
        # Which paths are to be signed is known from reading, hence the second look when they are others.
        looked_at = self._looked_at(app)
        signature = self._signature(folder, looked_at)
        reading, desired = read_app(folder, app, self._state)
        if looked_at != reading.looked_at:
            looked_at = frozenset(reading.looked_at)
            signature = self._signature(folder, looked_at)
            reading, desired = read_app(folder, app, self._state)
        kept = _Kept(signature, desired, looked_at, frozenset(reading.inputs), self._clock.monotonic())
        with self._lock:
            self._kept[app] = kept
        return kept

    def _looked_at(self, app: str) -> frozenset[Path]:
        with self._lock:
            kept = self._kept.get(app)
        return kept.looked_at if kept else frozenset(self.root / app / name for name in FIXED)

    @staticmethod
    def _signature(folder: Path, looked_at: Collection[Path]) -> Signature:
        scripts = files.signature(folder / SCRIPTS)
        return (scripts, *(files.signature(path) for path in sorted(looked_at)))

    def _quiet(self, app: str, folder: Path, kept: _Kept) -> float:
        """Seconds since the newest change of an input.

        For an app that is not known yet, since anything in the top two levels changed. The folder's own
        change counts by its modification, not its inode change: a rename in whole is quiet at once.
        """
        times = [self._changed(path) for path in kept.looked_at if path.is_relative_to(folder)]
        gone = any(not path.exists() for path in kept.looked_at if _relative(path, folder) in kept.inputs)
        if gone or app not in self._known():
            times += self._top_levels(folder)
        age = self._clock.now().timestamp() - max([*times, 0.0])
        # A file from the future: what counts is how long it has been looking the same to us.
        return age if age >= 0 else self._clock.monotonic() - kept.first_seen

    @staticmethod
    def _changed(path: Path) -> float:
        try:
            return path.stat().st_ctime
        except OSError:
            return 0.0

    @staticmethod
    def _top_levels(folder: Path) -> list[float]:
        times: list[float] = []
        try:
            times.append(folder.stat().st_mtime)
            for entry in os.scandir(folder):
                status = entry.stat(follow_symlinks=False)
                if not entry.is_dir(follow_symlinks=False):
                    times.append(status.st_ctime)
                    continue
                times.append(status.st_mtime)
                times.extend(inner.stat(follow_symlinks=False).st_ctime for inner in os.scandir(entry.path))
        except OSError:
            pass
        return times


def load_folder(path: Path) -> Present | Invalid:
    """One app folder anywhere, as the tree would load it: for checking a folder before it is dropped in."""
    folder = path.absolute()
    _, desired = read_app(folder, folder.name, Path("/nonexistent"))
    return desired


def read_app(folder: Path, name: str, state: Path) -> tuple[_Reading, Present | Invalid]:
    """Read all inputs of one app and say what they ask for."""
    reading = _Reading(folder)
    described, warnings = _read_manifest(reading, name)
    env = _read_env(reading)
    compose = _read_compose(reading, env or {})
    _read_scripts(reading)
    reading.looked_at.add(folder / EXAMPLE)
    reading.looked_at.update(folder / fixed for fixed in FIXED)
    revision = reading.revision()
    if reading.problems:
        return reading, Invalid(name, str(folder), revision, tuple(reading.problems + reading.missing))
    if reading.missing or described is None or not compose:
        return reading, Invalid(name, str(folder), revision, tuple(reading.missing), "Incomplete")
    try:
        text = files.text(reading.inputs[environment.FILE]) if environment.FILE in reading.inputs else None
        example = files.read(folder / EXAMPLE)
        after = environment.seeded(described, text, files.text(example) if example else "")
    except (files.Unfit, dotenv.DotenvError) as error:
        return reading, Invalid(name, str(folder), revision, (Problem(EXAMPLE, "", str(error)),))
    effective = dotenv.parse(after) if after is not None else env or {}
    present = Present(
        name,
        str(folder),
        described,
        revision,
        tuple(str(path) for path in compose),
        effective,
        _seeds(described, env, after),
        environment.unset(described, effective, state),
        tuple(warnings + _env_warnings(folder)),
    )
    return reading, present


def _read_manifest(reading: _Reading, name: str) -> tuple[Manifest | None, list[str]]:
    data = reading.take(reading.folder / manifest.FILE, manifest.FILE)
    if data is None:
        if not reading.problems:
            reading.missing.append(Problem(manifest.FILE, "", "is not there"))
        return None, []
    if not data.strip():
        # The first moment of a copy: the file is made before it is filled.
        reading.missing.append(Problem(manifest.FILE, "", "is empty"))
        return None, []
    described, problems, warnings = manifest.parse(data, name)
    reading.problems += problems
    return described, warnings


def _read_env(reading: _Reading) -> dict[str, str] | None:
    data = reading.take(reading.folder / environment.FILE, environment.FILE)
    if data is None:
        return None
    try:
        return dotenv.parse(files.text(data))
    except (files.Unfit, dotenv.DotenvError) as error:
        reading.problems.append(Problem(environment.FILE, "", str(error)))
        return None


def _read_compose(reading: _Reading, env: Mapping[str, str]) -> list[Path]:
    """The `-f` list: one base file and the override beside it; and all that they name."""
    folder = reading.folder
    there = [name for name in BASES if reading.take(folder / name, name) is not None]
    if not there:
        if not reading.problems:
            reading.missing.append(Problem("docker-compose.yaml", "", "there is no compose file"))
        return []
    if len(there) > 1:
        reading.problems.append(Problem(there[0], "", f"there is also {there[1]}; keep one of them"))
        return []
    overrides = [name for name in OVERRIDES if reading.take(folder / name, name) is not None][:1]
    chosen = [folder / name for name in (*there, *overrides)]
    waiting, seen = [*chosen], set(chosen)
    while waiting:
        path = waiting.pop(0)
        for named in _follow(reading, path, env):
            if named not in seen:
                seen.add(named)
                waiting.append(named)
    return chosen


def _follow(reading: _Reading, path: Path, env: Mapping[str, str]) -> list[Path]:
    """Take in what one compose file names; answers with the compose files among it."""
    name = _relative(path, reading.folder)
    data = reading.inputs.get(name)
    if data is None:
        return []
    if not data.strip():
        reading.missing.append(Problem(name, "", "is empty"))
        return []
    try:
        text = files.text(data)
    except files.Unfit as error:
        reading.problems.append(Problem(name, "", str(error)))
        return []
    document, problems = references.parse(name, text)
    reading.problems += problems
    if document is None:
        return []
    found = references.scan(document, env)
    reading.problems += [Problem(name, where, rule) for where, rule in found.refused]
    for where, named in found.needed:
        target = _absolute(path.parent, named)
        there = reading.take(target, _relative(target, reading.folder)) is not None
        # `.env` may still be made by seeding or by a hook; Compose says so if it is not there in the end.
        if not there and target != reading.folder / environment.FILE and not os.path.lexists(target):
            reading.missing.append(Problem(name, where, f"names {named}, which is not there"))
    for named in found.optional:
        target = _absolute(path.parent, named)
        reading.take(target, _relative(target, reading.folder))
    return [_absolute(path.parent, named) for named in found.compose]


def _read_scripts(reading: _Reading) -> None:
    folder = reading.folder / SCRIPTS
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError:
        return
    for name in names:
        if not is_dropping(name):
            reading.take(folder / name, f"{SCRIPTS}/{name}")


def _seeds(described: Manifest, env: Mapping[str, str] | None, after: str | None) -> tuple[str, ...]:
    if after is None:
        return ()
    if env is None:
        return (environment.FILE,)
    return tuple(setting.name for setting in environment.missing_settings(described, env))


def _env_warnings(folder: Path) -> list[str]:
    try:
        status = (folder / environment.FILE).stat()
    except OSError:
        return []
    if status.st_uid not in (0, os.geteuid(), folder.stat().st_uid):
        return [f"{environment.FILE} belongs to user {status.st_uid}; its secrets are that user's, too"]
    return []


def _absolute(folder: Path, named: str) -> Path:
    return Path(os.path.normpath(folder / named))


def _relative(path: Path, folder: Path) -> str:
    """The name under which an input counts: a moved tree keeps its revisions."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
