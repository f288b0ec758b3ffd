"""Model files: the rendered models of what was applied, and copies of the files that it mounted, to go back to.

One file for each app and revision, mode 0600: a model holds the app's secrets. Which revisions are kept, and what
is gone back to, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from controller.model.observed import MountedFile, Rendered
from controller.status.codec import from_json, to_json
from controller.status.lock import unusable

FILES = "files"
"""Folder of the copies, beside the models of an app."""
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{16,64})")


class ModelFiles:
    """The models below one folder; `None` keeps them in memory only.

    `_lock` guards `_latest`, the models that were kept or asked for last, and `_copies`. Files are whole at any
    moment (written aside, renamed), so they need no lock.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._latest: dict[str, dict[str, Rendered]] = {}
        self._copies: dict[str, set[str]] = {}

    def keep(self, app: str, rendered: Rendered, keep: Collection[str]) -> None:
        """Keep this model, and of the others those of these revisions. Raises `StateUnusable`."""
        with self._lock:
            kept = self._latest.get(app, {})
        if kept.get(rendered.revision) != rendered and self._folder is not None:
            path = self._folder / app / _file_name(rendered.revision)
            _write(path, to_json(rendered).encode())
        wanted = {rendered.revision, *keep}
        with self._lock:
            kept = {r: model for r, model in self._latest.get(app, {}).items() if r in wanted}
            self._latest[app] = kept | {rendered.revision: rendered}
        if self._folder is not None:
            names = {_file_name(revision) for revision in wanted if revision}
            _keep_only(self._folder / app, names)

    def get(self, app: str, revision: str) -> Rendered | None:
        """The model of that revision; None when it was not kept or its file is damaged."""
        with self._lock:
            known = self._latest.get(app, {}).get(revision)
        if known is not None or self._folder is None:
            return known
        try:
            text = (self._folder / app / _file_name(revision)).read_text("utf-8")
            rendered = from_json(Rendered, text)
        except (OSError, ValueError):
            return None
        if rendered.revision != revision:
            return None
        with self._lock:
            self._latest.setdefault(app, {})[revision] = rendered
        return rendered

    def any(self) -> bool:
        """Whether a model of any app was kept."""
        return self._folder is not None and next(self._folder.glob("*/*.json"), None) is not None

    def forget(self, app: str) -> None:
        """Drop all models of the app."""
        with self._lock:
            self._latest.pop(app, None)
            self._copies.pop(app, None)
        if self._folder is not None:
            shutil.rmtree(self._folder / app, ignore_errors=True)

    # -- copies of mounted files ----------------------------------------------------------------------

    def keep_file(self, app: str, digest: str, file: MountedFile) -> None:
        """Keep a copy, with its mode and owner: a container must be able to read it as it read the file."""
        if self._folder is None:
            with self._lock:
                self._copies.setdefault(app, set()).add(digest)
            return
        path = self._folder / app / FILES / _digits(digest)

        def give(descriptor: int) -> None:
            os.fchmod(descriptor, file.mode)
            if file.owner != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, *file.owner)

        if not path.exists():
            _write(path, file.data, give)

    def file(self, app: str, digest: str) -> str | None:
        """Where the copy is, or None."""
        if self._folder is None:
            with self._lock:
                return f"/kept/{app}/{digest}" if digest in self._copies.get(app, ()) else None
        path = self._folder / app / FILES / _digits(digest)
        return str(path) if path.is_file() else None

    def keep_only_files(self, app: str, digests: Collection[str]) -> None:
        """Drop the other copies."""
        if self._folder is None:
            with self._lock:
                self._copies[app] = self._copies.get(app, set()) & set(digests)
            return
        folder = self._folder / app / FILES
        if folder.is_dir():
            _keep_only(folder, {_digits(digest) for digest in digests})


def _write(path: Path, data: bytes, give: Callable[[int], None] | None = None) -> None:
    """A whole file or none, on disk when this returns; 0600, unless `give` says otherwise."""
    try:
        for folder in (*reversed(path.parent.parents), path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)  # with parents=True those would follow the umask
        fd, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # mode 0600, whatever the umask
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                if give is not None:
                    give(file.fileno())
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise unusable(path, error) from error


def _keep_only(folder: Path, names: set[str]) -> None:
    try:
        for file in folder.iterdir():
            if file.name not in names and not file.is_dir():
                file.unlink(missing_ok=True)
    except OSError as error:
        raise unusable(folder, error) from error


def _file_name(revision: str) -> str:
    return _digits(revision)[:16] + ".json"


def _digits(digest: str) -> str:
    """The hexadecimal digits of a digest, as a file's name; of anything else those of its own digest."""
    match = _DIGEST.fullmatch(digest)
    return match[1] if match else hashlib.sha256(digest.encode()).hexdigest()
