"""Reading one app folder: all its inputs, into a `Present` with a revision or an `Invalid` with what is wrong.

Reads everything afresh and keeps nothing. Which folders are apps, when one has to be read again, and writing
`.env` belong to the tree.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from controller.model.desired import LEAST_TRUST, Invalid, Present, Problem, Trust
from controller.model.manifest import Manifest
from controller.model.values import replace
from controller.source import dotenv, environment, files, manifest, references
from controller.source.droppings import is_dropping

BASES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
"""Base files in Compose's own order of preference."""
OVERRIDES = (
    "compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml",
)  # fmt: skip
SCRIPTS = "scripts"
EXAMPLE = ".env.example"
MOST_SCRIPTS = 1000
MOST_COMPOSE_FILES = 200
MOST_DIGESTED = 4 * files.LIMIT_DIGEST
"""Bytes of the files of which only digests count, all of them together."""
_TUNES = (b"GOGC", b"GOMEMLIMIT")
MOST_NAMED = 50
"""Inputs of an app of which it is remembered how each was, so that the one that changes can be named."""
DIGITS = 8
MOST_PROBLEMS = 2 * manifest.MOST
"""Of all files together; those of a manifest have been cut by then."""
MOST_OF_A_RULE = 500
"""Characters; names in it are foreign text."""
FIXED = (manifest.FILE, *BASES, *OVERRIDES, environment.FILE, EXAMPLE)
"""Names in an app's folder that count whenever they appear."""


@dataclass
class Reading:
    """One app being read: its inputs so far, and what is wrong.

    Paths are absolute and normal, and text: thousands of folders are read at once, and path objects were a third of it.
    """

    folder: str
    trust: Trust = LEAST_TRUST
    inputs: dict[str, bytes] = field(default_factory=dict)
    """Relative path (absolute for files outside the folder) to SHA-256: what the revision is made of."""
    looked_at: set[str] = field(default_factory=set)
    """Every path that was looked for, there or not: the signature is over these."""
    acted_on: set[str] = field(default_factory=set)
    """Those of them that say what is done as root: who can write them can do anything."""
    mounts: dict[str, bool] = field(default_factory=dict)
    """Mounted paths below the folder, and whether some service may write to them."""
    places: set[str] = field(default_factory=set)
    """Those of them that are folders or data: what stands there counts, and nothing that is in it."""
    mounted: dict[str, str] = field(default_factory=dict)
    """Absolute path to `sha256:` digest of each input that is mounted."""
    problems: list[Problem] = field(default_factory=list)
    denied: list[Problem] = field(default_factory=list)
    """What is asked for and no app may have."""
    missing: list[Problem] = field(default_factory=list)
    """Files that are named but not there (yet): the app is incomplete rather than wrong."""
    warnings: list[str] = field(default_factory=list)
    reaches: list[str] = field(default_factory=list)
    """What of the host is reached from the containers or by Compose."""
    tunable: bool = True
    """So far nothing that Compose reads can name what tunes the run time that it is written in."""
    manifest: bytes = field(default=b"", repr=False)
    described: Manifest | None = None
    """What the manifest says; None where it is not there, or wrong."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """`.env` as it will be after seeding, as far as it can be read."""
    compose: list[str] = field(default_factory=list)
    """The `-f` list."""
    budget: references.Budget = field(default_factory=references.Budget)
    digested: int = 0

    @cached_property
    def there(self) -> Collection[str]:
        """Those of the names that count in every folder that may be in this one."""
        return files.may_be_there(self.folder, FIXED)

    def path(self, name: str) -> str:
        """Of what has this name in the folder."""
        return f"{self.folder}{os.sep}{name}"

    def holds(self, path: str) -> bool:
        """Whether this path is the folder or lies in it."""
        return files.is_at(path, self.folder)

    def take_fixed(self, name: str, limit: int = files.LIMIT) -> bytes | None:
        """The same as `take`, for one of `FIXED`, most of which are not there."""
        if name not in self.there:
            return None
        return self.take(self.path(name), limit)

    def take(self, path: str, limit: int = files.LIMIT) -> bytes | None:
        """Read an input; None when it is not there or cannot be used (which is then a problem).

        Raises `files.Unreadable`.
        """
        self.looked_at.add(path)
        self.acted_on.add(path)
        name = _relative(path, self.folder)
        try:
            data = files.read(path, limit)
        except files.Unreadable as error:
            raise files.Unreadable(f"{path} {error}") from error
        except files.Unfit as error:
            self.problems.append(Problem(files.printable(name), "", str(error)))
            return None
        if data is not None:
            self.inputs[name] = hashlib.sha256(data).digest()
            self.tunable = self.tunable and not any(word in data for word in _TUNES)
        return data

    def take_digest(self, path: str) -> bool:
        """Take in an input of which only the digest counts; answers whether something is there.

        Raises `files.Unreadable`.
        """
        self.looked_at.add(path)
        name = _relative(path, self.folder)
        try:
            digest = self._digest(path)
        except files.Irregular as error:
            # `env_file: /dev/null` is a known way to say "none"; outside the folder it is the host's business.
            if self.holds(path):
                self.problems.append(Problem(files.printable(name), "", str(error)))
            return True
        except files.Unreadable:
            raise
        except files.Unfit as error:
            self.problems.append(Problem(files.printable(name), "", str(error)))
            return True
        if digest is None:
            return False
        self.inputs[name] = digest
        return True

    def take_mounted(self, path: str) -> None:
        """Take in what services may only read: a regular file is an input, all else is a place.

        What cannot be an input is no mistake: the engine mounts it all the same. Raises `files.Unreadable`.
        """
        # Not opened to find out: a folder of another user cannot be opened, and nobody asks for what is in it.
        if files.place(path):
            self.places.add(path)
            return
        try:
            digest = self._digest(path)
        except files.Unreadable:
            raise
        except files.Unfit as error:
            self.places.add(path)
            if not isinstance(error, files.Irregular):
                self.warnings.append(
                    f"{files.printable(_relative(path, self.folder))} {error}; a change of it is not seen"
                )
            return
        self.looked_at.add(path)
        if digest is not None:
            self.inputs[_relative(path, self.folder)] = digest
            self.mounted[path] = f"sha256:{digest.hex()}"

    def miss(self, path: str, problem: Problem) -> None:
        """Say that a named file is not there, if that is for the reading to say."""
        # `.env` may still be made by seeding or by a hook; Compose says so if it is not there in the end.
        if self.holds(path) and path != self.path(environment.FILE):
            self.missing.append(problem)

    def _digest(self, path: str) -> bytes | None:
        if self.digested >= MOST_DIGESTED:
            raise files.Unfit(
                f"is beyond the {MOST_DIGESTED >> 20} MiB that are read of all such files together"
            )
        try:
            digest = files.digest(path)
        except files.Unreadable as error:
            raise files.Unreadable(f"{files.printable(path)} {error}") from error
        if digest is not None:
            self.digested += (files.signature(path) or (0, 0, 0))[2]
        return digest

    def revision(self) -> str:
        return revision_of(self.inputs)

    def named(self) -> dict[str, str]:
        """The inputs with the first digits of their digests: enough to name the one that changes, and no more of a
        secret than that. None where they are too many to be remembered for that."""
        if len(self.inputs) > MOST_NAMED:
            return {}
        return {files.printable(name): digest.hex()[:DIGITS] for name, digest in sorted(self.inputs.items())}


def load_folder(path: Path, trust: Trust = LEAST_TRUST) -> Present | Invalid:
    """One app folder anywhere, as the tree would load it: for checking a folder before it is dropped in.

    Who else can write it does not matter: it may be another's, and its copy will not be.
    """
    return read_folder(path, trust)[1]


def read_folder(path: Path, trust: Trust = LEAST_TRUST) -> tuple[Reading | None, Present | Invalid]:
    """The same, with how it was read; None for a folder that is not there or cannot be read."""
    folder = Path(os.path.abspath(path))  # noqa: PTH100 - `..` goes, links stay: the folder's name counts
    if not folder.is_dir():
        problem = Problem(str(path), "", "there is no such folder")
        return None, Invalid(folder.name, str(folder), revision_of({}), (problem,))
    try:
        reading, desired = read_app(folder, folder.name, trust)
    except files.Unreadable as error:
        problem = Problem(folder.name, "", str(error))
        return None, Invalid(folder.name, str(folder), revision_of({}), (problem,))
    desired = replace(desired, identity=app_identity(folder))
    if isinstance(desired, Present):
        unset = environment.unset(desired.manifest, desired.env, Path("/nonexistent"))
        desired = replace(desired, unset=unset)
    return reading, desired


def read_app(folder: Path, name: str, trust: Trust = LEAST_TRUST) -> tuple[Reading, Present | Invalid]:
    """Read all inputs of one app and say what they ask for, all but `quiet`, `unset` and `identity`.

    Raises `files.Unreadable`.
    """
    reading = Reading(str(folder), trust)
    return reading, _read(reading, name)


def identity_of(folder: Path) -> str:
    """Device and inode of a folder, as text; "" when there is no folder."""
    return ":".join(map(str, files.place(folder) or ()))


def app_identity(folder: Path) -> str:
    """What an app's folder keeps when it is renamed, and no other folder ever has."""
    return ":".join(map(str, (*found, files.birth(folder)))) if (found := files.place(folder)) else ""


def _read(reading: Reading, name: str) -> Present | Invalid:
    folder = reading.folder
    reading.looked_at.update(map(reading.path, FIXED))
    described = _read_manifest(reading, name)
    env = _read_env(reading)
    after = _after_seeding(reading, described, env)
    effective = _parse_env(reading, after) if after is not None else env.values
    compose = _read_compose(reading, effective)
    reading.described, reading.env, reading.compose = described, effective, compose
    _read_scripts(reading)
    revision, inputs = reading.revision(), reading.named()
    if reading.problems or reading.denied:
        problems = _shortened(reading.denied + reading.problems + reading.missing)
        reason = "PolicyDenied" if reading.denied else "SourceInvalid"
        return Invalid(name, folder, revision, problems, reason, inputs=inputs)
    if reading.missing or described is None or not compose:
        missing = _shortened(reading.missing)
        return Invalid(name, folder, revision, missing, "Incomplete", inputs=inputs)
    return Present(
        name,
        folder,
        described,
        revision,
        tuple(compose),
        effective,
        _seeds(described, env, after),
        warnings=tuple(reading.warnings[:MOST_PROBLEMS] + _env_warnings(reading)),
        mounted=reading.mounted,
        inputs=inputs,
        tunable=reading.tunable and not reading.trust.remote_include,
        reaches=tuple(reading.reaches),
    )


def _read_manifest(reading: Reading, name: str) -> Manifest | None:
    data = reading.take_fixed(manifest.FILE)
    if data is None:
        if not reading.problems:
            quoted = shlex.quote(files.printable(reading.folder))
            rule = f"is not there; `homeport init {quoted}` writes a first one, from the compose file"
            reading.missing.append(Problem(manifest.FILE, "", rule))
        return None
    if not data.strip():
        # The first moment of a copy: the file is made before it is filled.
        reading.missing.append(Problem(manifest.FILE, "", "is empty"))
        return None
    reading.manifest = data
    described, problems, warnings = manifest.parse(data, name)
    reading.problems += problems
    reading.warnings += warnings
    return described


@dataclass(frozen=True)
class _Env:
    """`.env` as it is; `text` None: there is none, or it cannot be read (which is then a problem)."""

    text: str | None
    values: Mapping[str, str] = field(default_factory=dict)


def _read_env(reading: Reading) -> _Env:
    text = _read_text(reading, environment.FILE)
    return _Env(text, _parse_env(reading, text) if text is not None else {})


def _read_text(reading: Reading, name: str) -> str | None:
    data = reading.take_fixed(name, environment.LIMIT)
    try:
        return files.text(data) if data is not None else None
    except files.Unfit as error:
        reading.problems.append(Problem(name, "", str(error)))
        return None


def _parse_env(reading: Reading, text: str) -> Mapping[str, str]:
    try:
        return dotenv.parse(text)
    except dotenv.DotenvError as error:
        reading.problems.append(Problem(environment.FILE, "", str(error)))
        return {}


def _after_seeding(reading: Reading, described: Manifest | None, env: _Env) -> str | None:
    """The text of `.env` that seeding would write, or None."""
    # The example is looked at, but it is no input: once `.env` is there a change of it changes nothing.
    example = Reading(reading.folder)
    text = _read_text(example, EXAMPLE) if env.text is None and EXAMPLE in reading.there else None
    if described is None or reading.problems:
        return None
    reading.problems += example.problems
    try:
        return environment.seeded(described, env.text, text or "")
    except (dotenv.DotenvError, ValueError) as error:
        reading.problems.append(Problem(EXAMPLE, "", str(error)))
        return None


def _read_compose(reading: Reading, env: Mapping[str, str]) -> list[str]:
    """The `-f` list: one base file and the override beside it; and all that they name and mount."""
    found = {name: data for name in (*BASES, *OVERRIDES) if (data := reading.take_fixed(name)) is not None}
    bases = [name for name in BASES if name in found]
    overrides = [name for name in OVERRIDES if name in found]
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
    texts = {reading.path(name): found[name] for name in (*bases, *overrides[:1])}
    chosen = list(texts)
    waiting = [(path, reading.folder) for path in chosen]
    seen = set(waiting)
    while waiting:
        path, project = waiting.pop(0)
        data = texts[path] if path in texts else reading.take(path)
        if data is None:
            continue
        for named in _follow(reading, path, data, project, env):
            if named not in seen:
                seen.add(named)
                waiting.append(named)
        if len(seen) > MOST_COMPOSE_FILES:
            rule = f"leads to more than {MOST_COMPOSE_FILES} compose files"
            reading.problems.append(Problem(bases[0], "", rule))
            break
    _read_mounts(reading)
    return chosen


def _follow(
    reading: Reading, path: str, data: bytes, project: str, env: Mapping[str, str]
) -> list[tuple[str, str]]:
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
    document, problems = references.parse(name, text, budget=reading.budget)
    reading.problems += problems
    if document is None:
        return []
    found = references.scan(document, env, reading.trust)
    named_so_far = len(reading.looked_at) + len(reading.mounts)
    if named_so_far + len(found.files) + len(found.mounts) > references.MOST:
        rule = f"names, with the files that it leads to, more than {references.MOST} files or mounted paths"
        reading.problems.append(Problem(name, "", rule))
        return []
    reading.denied += [Problem(name, where, rule) for where, rule in found.refused]
    reading.reaches += [f"{name}: {where}: {what}" for where, what in found.powers]
    more = []
    for named in found.files:
        target = _absolute(project, named.path)
        if not reading.holds(target):
            reading.reaches.append(f"{name}: {named.field}: reads {target}, outside the folder")
        if named.kind == "compose":
            # Read later, once, as YAML.
            there = os.path.exists(target)  # noqa: PTH110 - never raises
            reading.looked_at.add(target)
            own = files.holder(target) if named.project is None else _absolute(project, named.project)
            more.append((target, own))
        else:
            there = reading.take_digest(target)
            # Of other files than this one only the digest is known, and not what they name.
            reading.tunable = reading.tunable and target == reading.path(environment.FILE)
        if not there and named.required:
            reading.miss(target, Problem(name, named.field, f"names {named.path}, which is not there"))
    for mount in found.mounts:
        target = _absolute(project, mount.path)
        if not files.is_in(target, reading.folder):
            reading.reaches.append(f"{name}: {mount.field}: {_reach(target, mount, reading.folder)}")
            continue
        # A file that one service may write to is data, whoever else reads it.
        reading.mounts[target] = mount.writable or reading.mounts.get(target, False)
        if mount.required and files.place(target) is None:
            reading.miss(target, Problem(name, mount.field, f"names {mount.path}, which is not there"))
    return more


def _reach(target: str, mount: references.Mount, folder: str) -> str:
    if target.endswith(("/docker.sock", "/containerd.sock", "/podman.sock")):
        return f"gives the engine's socket {target} to the container, which is as good as root on the host"
    if target == folder:
        return "mounts the app's own folder, with its compose file and .env"
    return f"mounts {target}, outside the folder, {'to be written' if mount.writable else 'read-only'}"


def _read_mounts(reading: Reading) -> None:
    for path, writable in reading.mounts.items():
        if writable:
            reading.places.add(path)
        else:
            reading.take_mounted(path)


def _read_scripts(reading: Reading) -> None:
    """Every regular file below `scripts/` that is not in a mounted folder or data.

    Links to folders are not followed: they may lead in circles.
    """
    waiting = [reading.path(SCRIPTS)]
    count = 0
    while waiting:
        folder = waiting.pop()
        reading.looked_at.add(folder)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            where = files.printable(folder)
            raise files.Unreadable(f"{where} cannot be read: {files.reason(error)}") from error
        for entry in entries:
            if is_dropping(entry.name) or entry.path in reading.places:
                continue
            count += 1
            if count > MOST_SCRIPTS:
                rule = f"holds more than {MOST_SCRIPTS} files and folders; keep data elsewhere"
                reading.problems.append(Problem(SCRIPTS, "", rule))
                return
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif _is_file(entry):
                reading.acted_on.update((folder, entry.path))
                reading.take_digest(entry.path)


def _seeds(described: Manifest, env: _Env, after: str | None) -> tuple[str, ...]:
    if after is None:
        return ()
    if env.text is None:
        return (environment.FILE,)
    return tuple(setting.name for setting in environment.missing_settings(described, env.values))


def _env_warnings(reading: Reading) -> list[str]:
    if environment.FILE not in reading.inputs:
        return []
    status, own = files.stat_of(reading.path(environment.FILE)), files.stat_of(reading.folder)
    if status is None or own is None:
        return []
    if status.st_uid not in (0, os.geteuid(), own.st_uid):
        return [f"{environment.FILE} belongs to user {status.st_uid}; its secrets are that user's, too"]
    return []


def revision_of(inputs: Mapping[str, bytes]) -> str:
    """The digest over names and digests of inputs, in whatever order they were read."""
    digest = hashlib.sha256()
    for name, content in sorted(inputs.items()):
        encoded = os.fsencode(name)
        digest.update(len(encoded).to_bytes(8, "big") + encoded + content)
    return f"sha256:{digest.hexdigest()}"


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _absolute(folder: str, named: str) -> str:
    return os.path.normpath(os.path.join(folder, named))  # noqa: PTH118 - see `Reading`


def _relative(path: str, folder: str) -> str:
    """The name under which an input counts: a moved tree keeps its revisions."""
    return path.removeprefix(f"{folder}{os.sep}")


def _shortened(problems: list[Problem]) -> tuple[Problem, ...]:
    """The first problems, none too long: a person mends these first, and a status has to stay readable."""
    first = [
        replace(problem, rule=f"{problem.rule[:MOST_OF_A_RULE]}…")
        if len(problem.rule) > MOST_OF_A_RULE
        else problem
        for problem in problems[:MOST_PROBLEMS]
    ]
    more = len(problems) - len(first)
    if more:
        first.append(Problem(first[0].file, "", f"and {more} more problems like these"))
    return tuple(first)
