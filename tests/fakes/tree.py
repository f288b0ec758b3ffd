"""An apps tree in memory: folders are dictionaries, edits are method calls, time is the clock's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from controller.model.desired import Absent, Census, Desired, Invalid, Present, Problem, Stamp, Unreadable
from controller.model.errors import AppError, WriteFailed
from controller.model.manifest import Manifest, is_placeholder
from controller.model.observed import MountedFile
from controller.model.ports import Clock

ROOT = "/apps"


def manifest(name: str, **fields: Any) -> dict[str, Any]:
    """A manifest with all required fields."""
    base: dict[str, Any] = {
        "name": name, "display_name": name.title(), "version": "1.0.0", "description": f"the app {name}",
        "volumes": [], "ports": [], "icon": "icon.svg",
    }  # fmt: skip
    return base | fields


@dataclass
class Folder:
    """One app folder."""

    manifest: dict[str, Any]
    compose: str
    env: dict[str, str] | None = None
    example: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, bytes] = field(default_factory=dict)
    mounted: dict[str, bytes] = field(default_factory=dict)
    """Files that services mount read-only: path in the folder to content."""
    identity: str = ""
    """Given by `put` when the test gives none."""
    broken: str = ""
    changed_at: float = -1e9


def _inputs(folder: Folder) -> dict[str, str]:
    """The files that a folder would have, each with a digest of its content."""
    files = {
        "manifest.json": json.dumps([folder.manifest, folder.broken]),
        "docker-compose.yaml": folder.compose,
        **({".env": json.dumps(folder.env)} if folder.env is not None else {}),
    }
    return {
        **{name: _digest(text.encode())[-8:] for name, text in files.items()},
        **{name: _digest(data)[-8:] for name, data in folder.mounted.items()},
    }


class FakeTree:
    """Implements the `Tree` port."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.folders: dict[str, Folder] = {}
        self.root = ROOT
        self.lost = ""
        self.kept_by_other = False
        self.unreadable: set[str] = set()
        """Apps whose folders are there and cannot be read."""
        self.missing: set[str] = set()
        self.directories: dict[str, str] = {}
        """Host paths that are directories: path to identity."""
        self.removed: dict[str, Folder] = {}
        """What was moved out, by its new path."""
        self._inodes = count(1)
        self._parsed: dict[str, Manifest] = {}

    def put(self, folder: Folder, *, settled: bool = True) -> None:
        """Drop a folder in, or replace it."""
        folder.changed_at = -1e9 if settled else self.clock.monotonic()
        folder.identity = folder.identity or f"1:{next(self._inodes)}"
        self.folders[folder.manifest["name"]] = folder

    def census(self) -> Census:
        return Census(lost=self.lost) if self.lost else Census(frozenset(self.folders), root=self.root)

    def load(self, app: str) -> Desired:
        if self.lost:
            return Unreadable(app, self.lost, self.kept_by_other)
        folder = self.folders.get(app)
        if folder is None:
            return Absent(app)
        if app in self.unreadable:
            return Unreadable(app, f"{self.root}/{app} cannot be read: Permission denied")
        quiet = self.clock.monotonic() - folder.changed_at
        revision = self._revision(folder)
        path = f"{self.root}/{app}"
        if folder.broken:
            problem = Problem("manifest.json", "", folder.broken)
            return Invalid(
                app,
                path,
                revision,
                (problem,),
                quiet=quiet,
                newest="docker-compose.yaml",
                identity=folder.identity,
                inputs=_inputs(folder),
            )
        env = folder.env if folder.env is not None else folder.example
        seeds = (".env",) if folder.env is None and folder.example else ()
        settings = folder.manifest.get("settings", [])
        unset = tuple(
            Problem(".env", s["name"], "is required and empty")
            for s in settings
            if s.get("required") and not env.get(s["name"])
        ) + tuple(
            Problem(".env", key, "is a placeholder") for key, value in env.items() if is_placeholder(value)
        )
        stamp = None if unset else Stamp(self._look(folder), revision, ())
        return Present(
            app, path, self._manifest(revision, folder), revision, (f"{path}/docker-compose.yaml",), dict(env), seeds, unset, quiet=quiet,
            newest="docker-compose.yaml", mounted={f"{path}/{name}": _digest(data) for name, data in folder.mounted.items()},
            identity=folder.identity, stamp=stamp, inputs=_inputs(folder),
        )  # fmt: skip

    def _look(self, folder: Folder) -> str:
        return f"{self._revision(folder)} {folder.identity} {folder.changed_at}"

    def doubt(self, apps: Iterable[str]) -> None:
        """Every load reads afresh."""

    def unchanged(self, stamps: Mapping[str, Stamp], *, reread: bool) -> frozenset[str]:
        if self.lost:
            return frozenset()
        there = {
            app: self.folders[app] for app in stamps if app in self.folders and app not in self.unreadable
        }
        return frozenset(
            app
            for app, folder in there.items()
            if not folder.broken and self._look(folder) == stamps[app].digest
        )

    def _manifest(self, revision: str, folder: Folder) -> Manifest:
        if revision not in self._parsed:
            self._parsed[revision] = Manifest.model_validate(folder.manifest)
        return self._parsed[revision]

    @staticmethod
    def _revision(folder: Folder) -> str:
        mounted = {name: _digest(data) for name, data in folder.mounted.items()}
        text = json.dumps(
            [folder.manifest, folder.compose, folder.env, folder.broken, mounted], sort_keys=True
        )
        return _digest(text.encode())

    def _writable(self, app: Present) -> Folder:
        if app.name not in self.folders:
            raise WriteFailed(f"{app.folder}/.env could not be written: the folder is gone")
        return self.folders[app.name]

    def seed_env(self, app: Present) -> tuple[str, ...]:
        folder = self._writable(app)
        if folder.env is not None:
            return ()
        folder.env = dict(folder.example)
        return tuple(folder.env)

    def merge_env(self, app: Present, values: Mapping[str, str]) -> tuple[str, ...]:
        folder = self._writable(app)
        env = folder.env or {}
        changed = tuple(key for key, value in values.items() if env.get(key) != value)
        folder.env = {**env, **values}
        return changed

    def read_script(self, provider: str, path: str) -> bytes:
        try:
            return self.folders[provider].scripts[path]
        except KeyError:
            raise AppError("HookFailed", f"{provider} has no script {path}") from None

    def missing_paths(self, paths: Sequence[str]) -> tuple[str, ...]:
        return tuple(path for path in paths if path in self.missing)

    def identities(self, paths: Sequence[str]) -> Mapping[str, str]:
        return {path: self.directories[path] for path in paths if path in self.directories}

    def read_mounted(self, path: str) -> MountedFile | None:
        app, _, name = path.removeprefix(f"{self.root}/").partition("/")
        folder = self.folders.get(app)
        data = folder.mounted.get(name) if folder else None
        return MountedFile(data, 0o644, (0, 0)) if data is not None else None

    def move_out(self, app: str) -> str:
        if self.lost or app not in self.folders:
            raise WriteFailed(f"{app} was not moved: {self.lost or 'it is not there'}")
        names = (f"{self.root}/.removed/{app}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
        new = next(name for name in names if name not in self.removed)
        self.removed[new] = self.folders.pop(app)
        return new


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
