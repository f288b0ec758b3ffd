"""From an app's files to what the engine would run; and the folder for the documents that are applied.

Remembers by revision, so that looking at an app whose files did not change starts no child process.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from controller.engine import document as documents
from controller.engine.compose import Compose
from controller.engine.failures import hinted
from controller.model.desired import LEAST_TRUST, Present, Trust
from controller.model.errors import AppError, InputInvalid, Superseded
from controller.model.manifest import steers_tools
from controller.model.observed import Rendered
from controller.model.ports import Clock

NOT_UNDERSTOOD = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What comes of a model in a form that is not Compose's, or not that of a Compose we know."""
_KEPT = 4
"""Revisions of each app: the one on disk, and those that an edit is taken back to."""
_BAD_FOR = 900.0  # seconds; a file outside the folder, which no revision covers, may have been the reason


class WorkFolder:
    """Documents on disk: secret-bearing, so the folder is 0700 and each file 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, app: str, document: str) -> Path:
        """The document under the app's name, replaced as a whole. Raises `AppError` (DiskFull, …)."""
        path = self._path / f"{app}.json"
        with self.temporary(document) as temporary, _writing():
            temporary.replace(path)
        return path

    def kept(self, app: str) -> str:
        """The document that was kept last under the app's name, or ""."""
        try:
            return (self._path / f"{app}.json").read_text(encoding="utf-8")
        except OSError:
            return ""

    def note_ran(self, app: str, document: str) -> None:
        """This is what ran last, and not only what was tried. Where it cannot be written, what was tried counts."""
        if self.ran(app) != document:
            with suppress(AppError, OSError), self.temporary(document) as temporary:
                temporary.replace(self._path / f"{app}.ran.json")

    def ran(self, app: str) -> str:
        """What `note_ran` noted last, or ""."""
        try:
            return (self._path / f"{app}.ran.json").read_text(encoding="utf-8")
        except OSError:
            return ""

    def forget(self, app: str) -> None:
        """Nothing of the app is left here."""
        with suppress(OSError):
            for name in (f"{app}.json", f"{app}.ran.json"):
                (self._path / name).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Take away the temporary documents of processes that were killed: they hold secrets."""
        for path in self._path.glob(".*.json"):
            owner = path.name[1:].partition("-")[0]
            if owner == str(os.getpid()) or not Path("/proc", owner).exists():
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    @contextmanager
    def temporary(self, document: str) -> Iterator[Path]:
        """The document for the length of a block. Raises `AppError`."""
        with _writing():
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{os.getpid()}-", suffix=".json", dir=self._path)
        path = Path(name)
        try:
            with _writing(), os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(document)
            yield path
        finally:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Refusal:
    """A broken revision, remembered as well."""

    reason: str
    message: str
    until: float


class Renderer:
    """`_known` changes only under `_lock`, which is not held while Compose runs."""

    def __init__(
        self, compose: Compose, folder: WorkFolder, clock: Clock, trust: Trust = LEAST_TRUST
    ) -> None:
        self._trust = trust
        self._compose = compose
        self._folder = folder
        self._clock = clock
        self._lock = Lock()
        self._known: dict[str, OrderedDict[str, Rendered | _Refusal]] = {}

    def render(self, app: Present, unchanged: Callable[[], bool] = lambda: True) -> Rendered:
        """See `Engine.render`."""
        with self._lock:
            of_app = self._known.get(app.name, OrderedDict())
            known = of_app.get(app.revision)
            if known is not None:
                of_app.move_to_end(app.revision)
        if isinstance(known, Rendered):
            return known
        if known is not None and self._clock.monotonic() < known.until:
            raise InputInvalid(known.reason, known.message)
        answer: Rendered | _Refusal
        try:
            answer = self._render(app)
        except InputInvalid as error:
            answer = _Refusal(error.reason, str(error), self._clock.monotonic() + _BAD_FOR)
        if not unchanged():
            # Compose has read other bytes than those that the revision stands for.
            raise Superseded(f"the files of {app.name} were edited while they were read")
        self._remember(app, answer)
        if isinstance(answer, _Refusal):
            raise InputInvalid(answer.reason, answer.message)
        return answer

    def forget(self, app: str) -> None:
        """Nothing of the app is remembered."""
        with self._lock:
            self._known.pop(app, None)

    def _render(self, app: Present) -> Rendered:
        env_file = Path(app.folder) / ".env"
        text = self._compose.config(
            app.name,
            app.folder,
            app.compose_files,
            str(env_file) if env_file.is_file() else None,
            _secrets(app),
            tunable=app.tunable,
        )
        with _understanding():
            document = documents.complete(text, app.env)
            self._check_policy(document)
            return documents.parse(app.name, app.revision, document)

    def _check_policy(self, document: str) -> None:
        """The files were judged as they were read; this is what they came to in the end, and what is applied."""
        providers = documents.providers(document)
        if providers and not self._trust.providers:
            what = f"service {', '.join(providers)}: `provider` runs a program on the host as root"
            raise InputInvalid("PolicyDenied", f"{what}; take it out, or allow it with --allow-providers")
        if steering := [name for name in documents.environment(document) if steers_tools(name)]:
            what = f"secrets and configs: `environment: {steering[0]}` would steer the tools that apply it"
            raise InputInvalid("PolicyDenied", f"{what}; name it otherwise")

    def _remember(self, app: Present, value: Rendered | _Refusal) -> None:
        with self._lock:
            of_app = self._known.setdefault(app.name, OrderedDict())
            of_app[app.revision] = value
            while len(of_app) > _KEPT:
                of_app.popitem(last=False)


def _secrets(app: Present) -> tuple[str, ...]:
    # A path is no secret, and what is wrong with one cannot be said without it.
    paths = {setting.name for setting in app.manifest.settings if setting.type == "path"}
    return tuple(value for key, value in app.env.items() if key not in paths and value != app.name)


@contextmanager
def _understanding() -> Iterator[None]:
    try:
        yield
    except NOT_UNDERSTOOD as error:
        kind = type(error).__name__
        raise AppError("SourceInvalid", f"Compose's model is not understood ({kind}: {error})") from error


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "DiskFull" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "ApplyFailed"
        message = f"the work folder cannot be written: {error.strerror}: {error.filename}"
        raise AppError(reason, hinted(reason, message)) from error
