"""The guard of the apps tree's root: is this surely the tree that this state belongs to?

A root that is missing, unmounted, replaced or emptied must never look like "all apps were removed". What
follows from a lost root is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
import uuid
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from controller.source import files
from controller.source.lock import TreeLock

MARKER = ".homeport"


class _Judged(NamedTuple):
    lost: str = ""
    """Why the root cannot be trusted, or ""."""
    id: str = ""
    """By which the tree is to be known, when it is not yet."""
    marked: bool = True


class RootGuard:
    """Knows the root by the id in its `.homeport` file; device and inode change with every mount."""

    def __init__(
        self,
        root: Path,
        known: Callable[[], Collection[str]],
        root_id: Callable[[], str | None],
        remember: Callable[[str], None] | None,
        tree_lock: TreeLock | None,
    ) -> None:
        self._root, self._known, self._root_id, self._remember = root, known, root_id, remember
        self._tree_lock = tree_lock
        self._lock = threading.Lock()

    def lost(self) -> str:
        """Why the root cannot be trusted, or "". Writes the marker into a tree that is surely ours."""
        return self.look()[0]

    def judge(self) -> str:
        """Why the root cannot be trusted, or "". Locks nothing and writes nothing."""
        return self._judge().lost

    def look(self) -> tuple[str, bool]:
        """Why the root cannot be trusted, or "", and whether that is because another Homeport keeps it: one that was
        mounted in place of ours. Ours is locked from then on, and nothing else ever is: not before it is known to be ours."""
        # Two looks at once at a tree that has no id yet must not give it two.
        with self._lock:
            lock = self._tree_lock
            if lock is not None and not lock.holds():
                lock.let_go()
                kept = lock.other() if self._judge().lost else lock.follow()
                if kept:
                    return kept, True
            judged = self._judge()
            if judged.lost and lock is not None:
                lock.let_go()
            elif judged.id:
                self._adopt(judged)
            return judged.lost, False

    def _judge(self) -> _Judged:
        try:
            if not self._root.is_dir():
                return _Judged(self._gone())
            if not os.access(self._root, os.R_OK | os.X_OK):
                return _Judged("cannot be read; check its owner and mode")
        except OSError as error:
            return _Judged(f"cannot be read: {files.reason(error)}")
        try:
            found = files.read(self._root / MARKER)
        except files.Unfit as error:
            return _Judged(f"cannot be told from another: its {MARKER} file {error}")
        expected = self._root_id()
        marker = found.decode("utf-8", "replace").strip() if found else ""
        if marker and marker == expected:
            return _Judged()
        if expected is None:
            return _Judged(id=marker or uuid.uuid4().hex, marked=bool(marker))
        known = tuple(self._known())
        if not known:
            # Nothing can be lost yet: another tree is as good, and one without a marker gets ours.
            return _Judged(id=marker or expected, marked=bool(marker))
        if marker:
            return _Judged(
                f"is another tree than the one this state belongs to (its {MARKER} file says so); "
                f"to take this one, remove {self._root / MARKER}"
            )
        # A link to nothing counts: the disk behind it may be away, but somebody put it there.
        if any(os.path.lexists(self._root / name) for name in known):
            return _Judged(id=expected, marked=False)
        return _Judged(
            f"holds none of the {len(known)} known apps, and its {MARKER} file is gone; is its disk mounted? "
            "To begin anew with this tree, put one of these folders back or use a new state folder"
        )

    def _gone(self) -> str:
        """One that held apps must not be made anew, for it is somewhere; of one that was never there nothing can be lost."""
        in_the_way = os.path.lexists(self._root)
        there = "is not a folder" if in_the_way else "is not there"
        if known := len(self._known()):
            apps = "app that is" if known == 1 else "apps that are"
            return (
                f"{there}; is its disk mounted? It held {known} {apps} on record: mount it or put it back; "
                "an empty folder in its place is not taken for it"
            )
        make = (
            "put a folder in its place"
            if in_the_way
            else f"`mkdir -p {shlex.quote(str(self._root))}` makes it"
        )
        return (
            f"{there}, and no app of it is on record: {make}, or say where it is with --apps or HOMEPORT_APPS"
        )

    def _adopt(self, judged: _Judged) -> None:
        if not judged.marked:
            self._write(judged.id)
        if self._remember is not None and judged.id != self._root_id():
            self._remember(judged.id)

    def _write(self, value: str) -> None:
        if self._remember is None:
            return
        # A tree that is read-only works without the file; then nothing can tell two empty trees apart.
        with contextlib.suppress(OSError):
            files.write_whole(self._root / MARKER, f"{value}\n".encode())
