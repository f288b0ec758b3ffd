"""The apps tree as the `Tree` port: which apps there are, and each app's desired state.

Every load looks at the folder afresh; only when nothing has changed by its stats is the last answer given
again. No event is trusted and no engine is asked.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
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
MOST_SCRIPTS = 1000
MOST_COMPOSE_FILES = 200
FRESH = 0.05
"""Seconds."""
FIXED = (manifest.FILE, *BASES, *OVERRIDES, environment.FILE, EXAMPLE)
"""Names in an app's folder that count whenever they appear."""

Signature = tuple[object, ...]


@dataclass
class _Reading:
    """One app being read: its inputs so far, and what is wrong."""

    folder: Path
    inputs: dict[str, bytes] = field(default_factory=dict)
    """Relative path (absolute for files outside the folder) to SHA-256: what the revision is made of."""
    looked_at: set[Path] = field(default_factory=set)
    """Every path that was looked for, there or not: the signature is over these."""
    problems: list[Problem] = field(default_factory=list)
    missing: list[Problem] = field(default_factory=list)
    """Files that are named but not there (yet): the app is incomplete rather than wrong."""
    warnings: list[str] = field(default_factory=list)

    def take(self, path: Path) -> bytes | None:
        """Read an input; None when it is not there or cannot be used (which is then a problem).

        Raises `files.Unreadable`.
        """
        self.looked_at.add(path)
        name = _relative(path, self.folder)
        try:
            data = files.read(path)
        except files.Unreadable as error:
            raise files.Unreadable(f"{path} {error}") from error
        except files.Unfit as error:
            self.problems.append(Problem(name, "", str(error)))
            return None
        if data is not None:
            self.inputs[name] = hashlib.sha256(data).digest()
        return data

    def take_digest(self, path: Path, *, folder_is_fine: bool = False) -> bool:
        """Take in an input of which only the digest counts; answers whether something is there."""
        self.looked_at.add(path)
        name = _relative(path, self.folder)
        try:
            digest = files.digest(path)
        except files.Irregular as error:
            # `env_file: /dev/null` is a known way to say "none"; outside the folder it is the host's business.
            if path.is_relative_to(self.folder) and not (folder_is_fine and stat.S_ISDIR(error.mode)):
                self.problems.append(Problem(name, "", str(error)))
            return True
        except files.Unreadable as error:
            raise files.Unreadable(f"{path} {error}") from error
        except files.Unfit as error:
            self.problems.append(Problem(name, "", str(error)))
            return True
        if digest is None:
            return False
        self.inputs[name] = digest
        return True

    def revision(self) -> str:
        return _revision(self.inputs)


@dataclass(frozen=True)
class _Kept:
    """The last answer for one app, and when it holds."""

    signature: Signature
    desired: Present | Invalid
    looked_at: frozenset[Path]
    inputs: frozenset[str]
    first_seen: float
    """Monotonic time of the first look at this signature."""
    untimed: bool
    """It differs from the answer before, but no file's time tells since when: `first_seen` does. An input is gone;
    or a file is being truncated, which shows in its size before it shows in its times (a half-saved `.env` was once applied)."""
    looked_at_time: float
    """Wall time at the start of the look."""
    fresh: bool
    """Written so shortly before it was read that the next write may leave the same times."""


class AppsTree:
    """Implements the `Tree` port on a real folder.

    `known` names the apps on record: the guard asks for it, and an app that is known is waited for more
    briefly after an edit. `remember_root_id` None: look only, write no marker.
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
    ) -> None:
        self.root = root
        self._clock, self._state, self._known = clock, state, known
        self._guard = RootGuard(root, known, root_id, remember_root_id)
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._recorded: Collection[str] = ()

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
                        ignored[_printable(entry.name)] = (
                            "is not an app name (^[a-z][a-z0-9_-]*$, at most 63 characters)"
                        )
        except OSError as error:
            return Census(lost=f"cannot be read: {files.reason(error)}")
        return Census(frozenset(names), ignored=ignored)

    def load(self, app: str) -> Desired:
        """One app's desired state. Absent only when the folder is surely gone from a root that is surely ours."""
        if not APP_NAME.fullmatch(app):
            return Absent(app)
        lost = self._guard.lost()
        if lost:
            return Unreadable(app, f"apps tree {self.root} {lost}")
        folder = self.root / app
        try:
            os.scandir(folder).close()
        except OSError as error:
            return self._not_a_folder(app, folder, error)
        try:
            kept = self._current(app, folder)
        except files.Unreadable as error:
            return Unreadable(app, str(error))
        desired: Present | Invalid = replace(kept.desired, quiet=self._quiet(app, folder, kept))
        if isinstance(desired, Present):
            # Not kept: whether the folder that a `path` setting names exists is no part of the inputs.
            desired = replace(desired, unset=environment.unset(desired.manifest, desired.env, self._state))
        return desired

    def _not_a_folder(self, app: str, folder: Path, error: OSError) -> Desired:
        if error.errno == errno.ENOTDIR:
            if app not in self._known():
                return Absent(app)
            problem = Problem(app, "", "is a file; an app is a folder")
            return Invalid(app, str(folder), _revision({}), (problem,))
        if error.errno != errno.ENOENT:
            return Unreadable(app, f"{folder} cannot be read: {files.reason(error)}")
        if folder.is_symlink():
            return Unreadable(
                app, f"{folder} is a link to {folder.readlink()}, which is not there; is its disk mounted?"
            )
        lost = self._guard.lost()
        if lost:  # it went after the first look
            return Unreadable(app, f"apps tree {self.root} {lost}")
        with self._lock:
            self._kept.pop(app, None)
            self._recorded = frozenset(self._recorded) - {app}
        return Absent(app)

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
            looked_at = self._looked_at(name)
            for parent in sorted({path.parent for path in looked_at} | looked_at):
                if parent != folder and parent.is_relative_to(folder) and parent.is_dir():
                    yield parent, name

    def is_input(self, app: str, path: str) -> bool:
        """Whether a change of this path (relative to the app's folder) may change the app."""
        if path in FIXED or path.split("/", 1)[0] == SCRIPTS:
            return not is_dropping(path.rsplit("/", 1)[-1])
        with self._lock:
            kept = self._kept.get(app)
        # A folder not read yet may be any kind of app.
        changed = self.root / app / path
        return kept is None or any(
            looked == changed or changed in looked.parents for looked in kept.looked_at
        )

    def missing_paths(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Those of these host paths that do not exist."""
        return tuple(path for path in paths if _is_missing(path))

    def read_script(self, provider: str, path: str) -> bytes:
        """A hook script from the provider's folder, links resolved; raises `AppError("HookFailed", …)`."""
        try:
            folder = (self.root / provider).resolve()
            script = (folder / path).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise AppError("HookFailed", f"hook script {path!r} of {provider} cannot be found") from error
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
            seen = files.signature(path, follow=False)
            try:
                data = files.read(path)
                text = edit(files.text(data) if data is not None else None)
            except (files.Unfit, dotenv.DotenvError, ValueError) as error:
                raise WriteFailed(f"{path}: {error}") from error
            if text is None:
                return None
            if files.replace_private(path, text.encode(), seen):
                return text
        raise WriteFailed(f"{path} is being written by someone else all the time")

    # -- reading one app ------------------------------------------------------------------------------

    def _current(self, app: str, folder: Path) -> _Kept:
        """The kept answer while its signature holds, else a new one. Raises `files.Unreadable`."""
        with self._lock:
            before = self._kept.get(app)
        began = self._clock.now().timestamp()
        signature = self._signature(folder, before.looked_at if before else ())
        same = before is not None and before.signature == signature
        if before is not None and same and not before.fresh:
            return before
        # Signed before it is read: a change in between leaves an old signature, and the next load reads again.
        # Which paths are to be signed is known from reading, hence the second look when they are others.
        reading, desired = read_app(folder, app)
        looked_at = frozenset(reading.looked_at)
        if before is None or looked_at != before.looked_at:
            signature = self._signature(folder, looked_at)
            reading, desired = read_app(folder, app)
        now, inputs = self._clock.monotonic(), frozenset(reading.inputs)
        if before is not None and same and before.desired.revision == desired.revision:
            first_seen, untimed = before.first_seen, before.untimed
        else:
            first_seen, untimed = now, before is not None and _is_untimed(before, inputs, looked_at)
        fresh = self._is_fresh(looked_at)
        kept = _Kept(signature, desired, looked_at, inputs, first_seen, untimed, began, fresh)
        with self._lock:
            self._kept[app] = kept
        return kept

    def _is_fresh(self, looked_at: Collection[Path]) -> bool:
        # File times move in ticks of up to 10 ms: a write in the same tick and of the same size shows in no stat.
        now = self._clock.now().timestamp()
        return any(0 <= now - _changed(path) < FRESH for path in looked_at)

    def _looked_at(self, app: str) -> frozenset[Path]:
        with self._lock:
            kept = self._kept.get(app)
        return kept.looked_at if kept else frozenset(self.root / app / name for name in FIXED)

    @staticmethod
    def _signature(folder: Path, looked_at: Collection[Path]) -> Signature:
        identity = files.signature(folder)
        return ((identity or ())[:2], *(files.signature(path) for path in sorted(looked_at)))

    def _quiet(self, app: str, folder: Path, kept: _Kept) -> float:
        """Seconds since the newest change of an input.

        For an app that is not known yet, since anything in the top two levels changed. The folder's own
        change counts by its modification, not its inode change: a rename in whole is quiet at once.
        """
        times = [_changed(path) for path in kept.looked_at if path.is_relative_to(folder)]
        if not self._is_known(app):
            times += self._top_levels(folder)
        age = self._clock.now().timestamp() - max([*times, 0.0])
        seen = self._clock.monotonic() - kept.first_seen
        # A file from the future: what counts is how long it has been looking the same to us.
        return seen if age < 0 else min(age, seen) if kept.untimed else age

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
    folder = Path(os.path.abspath(path))  # noqa: PTH100 - `..` goes, links stay: the folder's name counts
    if not folder.is_dir():
        return Invalid(
            folder.name, str(folder), _revision({}), (Problem(str(path), "", "there is no such folder"),)
        )
    try:
        _, desired = read_app(folder, folder.name)
    except files.Unreadable as error:
        return Invalid(folder.name, str(folder), _revision({}), (Problem(folder.name, "", str(error)),))
    if isinstance(desired, Present):
        unset = environment.unset(desired.manifest, desired.env, Path("/nonexistent"))
        desired = replace(desired, unset=unset)
    return desired


def read_app(folder: Path, name: str) -> tuple[_Reading, Present | Invalid]:
    """Read all inputs of one app and say what they ask for, all but `quiet` and `unset`.

    Raises `files.Unreadable`.
    """
    reading = _Reading(folder)
    return reading, _read(reading, name)


def _read(reading: _Reading, name: str) -> Present | Invalid:
    folder = reading.folder
    reading.looked_at.update(folder / fixed for fixed in FIXED)
    described = _read_manifest(reading, name)
    env = _read_env(reading)
    after = _after_seeding(reading, described, env)
    effective = _parse_env(reading, after) if after is not None else env.values
    compose = _read_compose(reading, effective)
    _read_scripts(reading)
    revision = reading.revision()
    if reading.problems:
        return Invalid(name, str(folder), revision, tuple(reading.problems + reading.missing))
    if reading.missing or described is None or not compose:
        return Invalid(name, str(folder), revision, tuple(reading.missing), "Incomplete")
    return Present(
        name,
        str(folder),
        described,
        revision,
        tuple(str(path) for path in compose),
        effective,
        _seeds(described, env, after),
        warnings=tuple(reading.warnings + _env_warnings(folder)),
    )


def _read_manifest(reading: _Reading, name: str) -> Manifest | None:
    data = reading.take(reading.folder / manifest.FILE)
    if data is None:
        if not reading.problems:
            reading.missing.append(Problem(manifest.FILE, "", "is not there"))
        return None
    if not data.strip():
        # The first moment of a copy: the file is made before it is filled.
        reading.missing.append(Problem(manifest.FILE, "", "is empty"))
        return None
    described, problems, warnings = manifest.parse(data, name)
    reading.problems += problems
    reading.warnings += warnings
    return described


@dataclass(frozen=True)
class _Env:
    """`.env` as it is; `text` None: there is none, or it cannot be read (which is then a problem)."""

    text: str | None
    values: Mapping[str, str] = field(default_factory=dict)


def _read_env(reading: _Reading) -> _Env:
    text = _read_text(reading, environment.FILE)
    return _Env(text, _parse_env(reading, text) if text is not None else {})


def _read_text(reading: _Reading, name: str) -> str | None:
    data = reading.take(reading.folder / name)
    try:
        return files.text(data) if data is not None else None
    except files.Unfit as error:
        reading.problems.append(Problem(name, "", str(error)))
        return None


def _parse_env(reading: _Reading, text: str) -> Mapping[str, str]:
    try:
        return dotenv.parse(text)
    except dotenv.DotenvError as error:
        reading.problems.append(Problem(environment.FILE, "", str(error)))
        return {}


def _after_seeding(reading: _Reading, described: Manifest | None, env: _Env) -> str | None:
    """The text of `.env` that seeding would write, or None."""
    # The example is looked at, but it is no input: once `.env` is there a change of it changes nothing.
    example = _Reading(reading.folder)
    text = _read_text(example, EXAMPLE) if env.text is None else None
    if described is None or reading.problems:
        return None
    reading.problems += example.problems
    try:
        return environment.seeded(described, env.text, text or "")
    except (dotenv.DotenvError, ValueError) as error:
        reading.problems.append(Problem(EXAMPLE, "", str(error)))
        return None


def _read_compose(reading: _Reading, env: Mapping[str, str]) -> list[Path]:
    """The `-f` list: one base file and the override beside it; and all that they name."""
    folder = reading.folder
    texts: dict[Path, bytes] = {}
    for name in (*BASES, *OVERRIDES):
        data = reading.take(folder / name)
        if data is not None:
            texts[folder / name] = data
    bases = [name for name in BASES if folder / name in texts]
    overrides = [name for name in OVERRIDES if folder / name in texts]
    if not bases:
        if not any(problem.file in BASES for problem in reading.problems):
            reading.missing.append(Problem(BASES[-1], "", "there is no compose file"))
        return []
    if len(bases) > 1:
        reading.problems.append(
            Problem(bases[0], "", f"there is also {' and '.join(bases[1:])}; keep one of them")
        )
        return []
    if len(overrides) > 1:
        reading.warnings.append(
            f"{overrides[0]} is used; {', '.join(overrides[1:])} beside it is not, as Compose does"
        )
    chosen = [folder / name for name in (*bases, *overrides[:1])]
    waiting = [(path, folder) for path in chosen]
    seen = set(waiting)
    while waiting:
        path, project = waiting.pop(0)
        data = texts[path] if path in texts else reading.take(path)
        if data is None:
            continue
        for named in _follow(reading, path, data, project, env):
            if named not in seen and len(seen) < MOST_COMPOSE_FILES:
                seen.add(named)
                waiting.append(named)
    return chosen


def _follow(
    reading: _Reading, path: Path, data: bytes, project: Path, env: Mapping[str, str]
) -> list[tuple[Path, Path]]:
    """Take in what one compose file names; answers with the compose files among it and their project folders."""
    name = _relative(path, reading.folder)
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
    more = []
    for named in found.files:
        target = _absolute(project, named.path)
        if named.kind == "compose":
            # Read later, once, as YAML.
            there = os.path.exists(target)  # noqa: PTH110 - never raises
            reading.looked_at.add(target)
            more.append(
                (target, _absolute(project, named.project) if named.project is not None else target.parent)
            )
        else:
            there = reading.take_digest(target, folder_is_fine=named.kind == "content")
        inside = target.is_relative_to(reading.folder)
        # `.env` may still be made by seeding or by a hook; Compose says so if it is not there in the end.
        if not there and named.required and inside and target != reading.folder / environment.FILE:
            reading.missing.append(Problem(name, named.field, f"names {named.path}, which is not there"))
    return more


def _read_scripts(reading: _Reading) -> None:
    """Every regular file below `scripts/`. Links to folders are not followed: they may lead in circles."""
    waiting = [reading.folder / SCRIPTS]
    count = 0
    while waiting:
        folder = waiting.pop()
        reading.looked_at.add(folder)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise files.Unreadable(f"{folder} cannot be read: {files.reason(error)}") from error
        for entry in entries:
            if is_dropping(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif _is_file(entry):
                count += 1
                if count > MOST_SCRIPTS:
                    rule = f"holds more than {MOST_SCRIPTS} files; keep data elsewhere"
                    reading.problems.append(Problem(SCRIPTS, "", rule))
                    return
                reading.take_digest(Path(entry.path))


def _seeds(described: Manifest, env: _Env, after: str | None) -> tuple[str, ...]:
    if after is None:
        return ()
    if env.text is None:
        return (environment.FILE,)
    return tuple(setting.name for setting in environment.missing_settings(described, env.values))


def _env_warnings(folder: Path) -> list[str]:
    try:
        status, owner = (folder / environment.FILE).stat(), folder.stat().st_uid
    except OSError:
        return []
    if status.st_uid not in (0, os.geteuid(), owner):
        return [f"{environment.FILE} belongs to user {status.st_uid}; its secrets are that user's, too"]
    return []


def _revision(inputs: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(inputs.items()):
        encoded = os.fsencode(name)
        digest.update(len(encoded).to_bytes(8, "big") + encoded + content)
    return f"sha256:{digest.hexdigest()}"


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


def _may_be_app(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of the root is a folder, or a link that may lead to one when its disk is back."""
    try:
        return entry.is_dir() or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110 - never raises
    except OSError:
        return True  # `load` says what is the matter with it


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_missing(path: str) -> bool:
    try:
        Path(path).stat()
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
    except ValueError:
        return True
    return False


def _printable(name: str) -> str:
    """A file's name, of whatever bytes, as text that can be shown and stored."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return text if text.isprintable() else ascii(text)[1:-1]


def _absolute(folder: Path, named: str) -> Path:
    return Path(os.path.normpath(folder / named))


def _relative(path: Path, folder: Path) -> str:
    """The name under which an input counts: a moved tree keeps its revisions."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
