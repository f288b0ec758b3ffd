"""Model files: the rendered model of what was applied, for healing and going back while the disk says otherwise.

One file for each app and revision, mode 0600: a model holds the app's secrets. Which revision is the target is
decided elsewhere; how long a file is kept is told by the store.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import threading
from pathlib import Path

from controller.model.observed import Rendered
from controller.status.codec import from_json, to_json
from controller.status.lock import unusable

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{16})[0-9a-f]*")


class ModelFiles:
    """The models below one folder; `None` keeps them in memory only.

    `_lock` guards `_latest`: the model of each app that was kept or asked for last. Files are whole at any
    moment (written aside, renamed), so they need no lock.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._latest: dict[str, dict[str, Rendered]] = {}

    def keep(self, app: str, rendered: Rendered, target: str | None) -> None:
        """Keep this model, and of the older ones only that of the revision `target`. Raises `StateUnusable`."""
        with self._lock:
            kept = self._latest.get(app, {})
        if kept.get(rendered.revision) != rendered and self._folder is not None:
            self._write(self._folder / app, rendered)
        wanted = {rendered.revision, target}
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

    def forget(self, app: str) -> None:
        """Drop all models of the app."""
        with self._lock:
            self._latest.pop(app, None)
        if self._folder is not None:
            shutil.rmtree(self._folder / app, ignore_errors=True)

    def _write(self, folder: Path, rendered: Rendered) -> None:
        path = folder / _file_name(rendered.revision)
        try:
            for each in (folder.parent, folder):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd, name = tempfile.mkstemp(prefix=".new-", dir=folder)  # mode 0600, whatever the umask
            try:
                with os.fdopen(fd, "w", encoding="utf-8") as file:
                    file.write(to_json(rendered))
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            directory = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise unusable(path, error) from error


def _keep_only(folder: Path, names: set[str]) -> None:
    try:
        for file in folder.iterdir():
            if file.name not in names:
                file.unlink(missing_ok=True)
    except OSError as error:
        raise unusable(folder, error) from error


def _file_name(revision: str) -> str:
    digest = _DIGEST.fullmatch(revision)
    return (digest[1] if digest else hashlib.sha256(revision.encode()).hexdigest()[:16]) + ".json"
