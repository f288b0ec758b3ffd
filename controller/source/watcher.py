"""Watches the folders of the apps tree and says which app has changed, as a key, soon after it did.

One inotify instance and one thread, however many folders. What a change means, when an app is at rest and the
scan that finds what was missed do not belong here: watching is for speed, the scan is for correctness.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final, Literal, TypeVar

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

from controller.model.names import APP_NAME
from controller.source.droppings import is_dropping

EVERYTHING: Final = ""
"""The key of the root, and the key that means "look at everything"."""

_MASK: Final = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
)
_LIMITS: Final = {
    errno.ENOSPC: "the kernel's limit of watches (fs.inotify.max_user_watches) is reached",
    errno.EMFILE: "the kernel's limit of inotify instances (fs.inotify.max_user_instances) or of open files is reached",
}

_ECHO_FOLDER: Final = "/proc"
_ECHO_MASK: Final = Mask(InotifyConstants.IN_OPEN | InotifyConstants.IN_ONLYDIR)
ECHO_PATIENCE: Final = 5.0
"""Seconds; what is queued before it may be much."""

_Inode = tuple[int, int]
K = TypeVar("K")


Cause = Literal["overflow", "replaced", "broken"]
"""Why changes may have gone unheard: the kernel dropped them, the root was another folder or none, a fault of the watcher."""


@dataclass(frozen=True)
class _Watch:
    key: str
    inode: _Inode
    descriptor: WatchDescriptor
    id: CallbackId


class TreeWatcher:
    """Calls `on_key` with the name of an app, or with "" for all, whenever something of it changes.

    `folders` answers with the folders to watch now as (path, app): those of one app, or with "" all, and then the
    root itself has the app "". `is_input` says whether a path, relative to the folder of an app, counts. Both are
    called in the watcher's thread and in the one that calls `sync`; `on_key` must not block. `_lock` guards all
    fields and is held for no callback but `folders`.
    """

    def __init__(
        self,
        folders: Callable[[str], Iterable[tuple[Path, str]]],
        on_key: Callable[[str], None],
        is_input: Callable[[str, str], bool],
    ) -> None:
        self._folders = folders
        self._on_key = on_key
        self._is_input = is_input
        self._lock = threading.RLock()  # ending a dead reader calls back
        self._callback = _Events(self)
        self._ids = count(1)
        self._reader: InotifyFD | None = None
        self._running = False
        self._watches: dict[Path, _Watch] = {}
        self._watched: dict[WatchDescriptor, set[Path]] = {}
        """The same by descriptor: one for each inode, whatever paths lead to it."""
        self._watched_of: dict[str, set[Path]] = {}
        """The same by key: an app that is read for the first time looks through its own, and not through those of all."""
        self._root: Path | None = None
        self._unwatched: dict[Path, tuple[str, str]] = {}
        """With the app that the folder is of, and why it is not watched."""
        self._no_reader = ""
        self._unlisted = ""
        self._unheard: dict[Cause, str] = {}

    def start(self) -> None:
        """Begin to watch. Where the kernel gives no watch, goes on without: `healthy` says so."""
        with self._lock:
            self._running = True
            self._sync(EVERYTHING)

    def stop(self) -> None:
        """End the thread and wait for it. No key is told afterwards."""
        with self._lock:
            self._running = False
            reader, self._reader = self._reader, None
            self._forget_all()
        if reader is not None:
            reader.stop()
            reader.join()

    def sync(self, app: str = EVERYTHING) -> None:
        """Watch what `folders` names for this app, or for all, and nothing else of it; tell the keys of what begins
        or ceases to be watched."""
        with self._lock:
            keys = self._sync(app) if self._running else set()
        for key in sorted(keys):
            self._tell(key)

    def check(self) -> dict[Cause, str]:
        """See that events still arrive, and begin anew where they do not.

        Answers why changes may have gone unheard since the last call, each cause in words for people. Waits a few
        seconds at most; not for the watcher's own thread.
        """
        with self._lock:
            reader = self._reader
        if reader is not None and reader.is_alive() and not _hears(reader):
            if reader.is_alive():
                with self._lock:
                    self._reader = None
                    self._forget_all()
                reader.stop()  # not joined: it may hang
                self._note_unheard("broken", "the watcher had gone deaf")
            self.sync()  # says of a thread that ended meanwhile that it did
            self._tell(EVERYTHING)
        with self._lock:
            unheard, self._unheard = self._unheard, {}
        return unheard

    def alive(self) -> bool:
        """Whether the thread runs, or is none of ours to run: where the kernel gives no watch, or a new one is made just
        now. Never waits: `healthy` says more, and may have to."""
        reader = self._reader
        return reader is None or reader.is_alive()

    def healthy(self) -> str:
        """What is wrong, for people; empty when every folder is watched."""
        with self._lock:
            if not self._running:
                return "the watcher does not run"
            if self._no_reader:
                return f"the apps tree is not watched: {self._no_reader}"
            if self._reader is None or not self._reader.is_alive():
                return "the thread of the watcher has ended"
            if self._unlisted:
                return f"the folders to watch cannot be listed: {self._unlisted}"
            root = self._watches.get(self._root) if self._root is not None else None
            if root is None or self._root is None or _inode(self._root) != root.inode:
                return (
                    "the root of the apps tree was removed or replaced, or cannot be watched"
                    + self._why_not()
                )
            if self._unwatched:
                return (
                    f"{len(self._unwatched)} of {len(self._unwatched) + len(self._watches)} folders are not watched"
                    + (self._why_not())
                )
            return ""

    def _why_not(self) -> str:
        return "".join(f": {reason}" for reason in sorted({why for _, why in self._unwatched.values()}))

    # -- with the lock held -------------------------------------------------------------------------------

    def _sync(self, app: str) -> set[str]:
        """Answers with the keys of the folders that were not watched before, or no longer are."""
        reader, missed = self._open()
        if reader is None:
            return missed
        if not self._watches:
            app = EVERYTHING  # a new reader begins with nothing
        try:
            wanted = dict(self._folders(app))
            self._unlisted = ""
        except OSError as error:
            self._unlisted = error.strerror or type(error).__name__
            return missed
        self._root = next((path for path, key in wanted.items() if key == EVERYTHING), self._root)
        inodes = {path: _inode(path) for path in wanted}
        stale = [
            path
            for path in (self._watches if app == EVERYTHING else self._watched_of.get(app, ()))
            if (wanted.get(path), inodes.get(path)) != (self._watches[path].key, self._watches[path].inode)
        ]
        gone = [self._forget(path) for path in stale]
        with suppress(OSError):  # of a reader that has gone deaf: `check` finds it
            reader.remove_callbacks([(watch.descriptor, watch.id) for watch in gone])
        # What was still to be told of them is lost with the watch.
        missed |= {watch.key for watch in gone}
        if any(watch.key == EVERYTHING for watch in gone):
            self._note_unheard("replaced", "the root of the apps tree was moved or replaced")
        self._unwatched = {
            path: refused for path, refused in self._unwatched.items() if app not in (EVERYTHING, refused[0])
        }
        for path, key in wanted.items():
            inode = inodes[path]
            if path not in self._watches and inode is not None and self._add(reader, path, key, inode):
                missed.add(key)
        return missed

    def _open(self) -> tuple[InotifyFD | None, set[str]]:
        """The living reader, if need be a new one; and what that means to have missed."""
        if self._reader is not None and self._reader.is_alive():
            return self._reader, set()
        lost = self._reader is not None
        if self._reader is not None:
            self._note_unheard("broken", "the thread of the watcher had ended")
            self._reader.stop()
        self._reader = None
        self._forget_all()
        try:
            reader = InotifyFD()
        except OSError as error:
            self._no_reader = _reason(error)
            return None, {EVERYTHING} if lost else set()
        reader.name = "homeport-watcher"
        reader.start()
        self._reader, self._no_reader = reader, ""
        return reader, {EVERYTHING} if lost else set()

    def _add(self, reader: InotifyFD, path: Path, key: str, inode: _Inode) -> bool:
        identity = CallbackId(next(self._ids))
        try:
            descriptor = reader.add_callback(os.fsencode(path), _MASK, self._callback, identity)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):  # gone since it was listed
                self._unwatched[path] = (key, _reason(error))
            return False
        if descriptor < 0:  # how watchdog says "permission denied"
            reader.remove_callbacks([(descriptor, identity)])
            self._unwatched[path] = (key, "permission denied")
            return False
        self._watches[path] = _Watch(key, inode, descriptor, identity)
        self._watched.setdefault(descriptor, set()).add(path)
        self._watched_of.setdefault(key, set()).add(path)
        return True

    def _forget(self, path: Path) -> _Watch:
        watch = self._watches.pop(path)
        _discard(self._watched, watch.descriptor, path)
        _discard(self._watched_of, watch.key, path)
        return watch

    def _forget_all(self) -> None:
        self._watches.clear()
        self._watched.clear()
        self._watched_of.clear()

    # -- in the thread of the watcher, where nothing may raise --------------------------------------------

    def _on_event(self, event: InotifyEvent) -> None:
        with self._lock:
            root = self._root
            found = [(path, self._watches[path].key) for path in self._watched.get(event.wd, ())]
            if event.is_delete_self:
                self._on_gone(event.wd)  # now, as a new folder may have the same inode
        name = os.fsdecode(event.name)
        if event.is_directory:
            # Before the keys are told: what is put into a new folder from then on is seen.
            for app in {key or name for _, key in found if key or not _hidden(name)}:
                self.sync(app)
        keys = [self._key(root, path, key, name, event.is_directory) for path, key in found]
        for told in {key for key in keys if key is not None}:
            self._tell(told)

    def _key(self, root: Path | None, folder: Path, key: str, name: str, is_directory: bool) -> str | None:
        if not name:  # the folder itself was moved or deleted
            return key
        if key == EVERYTHING:
            # Any other name, of whatever bytes, is no key. That of an app may look like a dropping's; apps are folders.
            return name if APP_NAME.fullmatch(name) and (is_directory or not is_dropping(name)) else None
        if is_dropping(name):
            return None
        # As text: there may be thousands of events a second, and path objects were half of what one cost.
        base = f"{folder}{os.sep}" if root is None else f"{root}{os.sep}{key}{os.sep}"
        path = f"{folder}{os.sep}{name}"
        relative = path[len(base) :] if path.startswith(base) else name
        return key if self._is_input(key, relative) else None

    def _on_gone(self, descriptor: WatchDescriptor) -> None:
        with self._lock:
            for path in tuple(self._watched.get(descriptor, ())):
                self._forget(path)

    def _tell(self, key: str) -> None:
        if self._running:
            self._on_key(key)

    def _note_unheard(self, cause: Cause, why: str) -> None:
        with self._lock:
            self._unheard.setdefault(cause, why)


class _Events(WatchCallback):
    """What watchdog calls, for all watches; an exception here would end its thread."""

    def __init__(self, watcher: TreeWatcher) -> None:
        self._watcher = watcher

    def on_event(self, event: InotifyEvent) -> None:
        self._guard(lambda: self._watcher._on_event(event))

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        self._guard(lambda: self._watcher._on_gone(wd))

    def on_queue_overflow(self) -> None:
        """The kernel dropped events: anything may have changed, and folders may have come."""
        self._watcher._note_unheard("overflow", "the kernel dropped events, as there were too many at once")
        self._guard(self._watcher.sync)
        self._guard(lambda: self._watcher._tell(EVERYTHING))

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # whatever it is: the others must go on being told
            why = f"an event could not be handled ({type(error).__name__}: {error})"
            self._watcher._note_unheard("broken", why)
            with suppress(Exception):
                self._watcher._tell(EVERYTHING)


class _Echo(WatchCallback):
    """Hears whether anything at all arrives."""

    def __init__(self) -> None:
        self.heard = threading.Event()

    def on_event(self, event: InotifyEvent) -> None:
        self.heard.set()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        pass

    def on_queue_overflow(self) -> None:
        self.heard.set()


def _hears(reader: InotifyFD) -> bool:
    """Whether an event still makes its way from the kernel to a callback. Watches a folder being opened for it: that
    writes nothing, and nobody else's watch is on it."""
    echo, identity = _Echo(), CallbackId(0)
    try:
        watch = reader.add_callback(os.fsencode(_ECHO_FOLDER), _ECHO_MASK, echo, identity)
    except OSError as error:
        # What else keeps a watch from being made, its limit above all, says nothing about the others.
        return error.errno not in (errno.EBADF, errno.EINVAL)
    if watch < 0:
        return True
    try:
        os.scandir(_ECHO_FOLDER).close()
        return echo.heard.wait(ECHO_PATIENCE)
    finally:
        with suppress(OSError):
            reader.remove_callbacks([(watch, identity)])


def _discard(index: dict[K, set[Path]], key: K, path: Path) -> None:
    index[key].discard(path)
    if not index[key]:
        del index[key]


def _hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _inode(path: Path) -> _Inode | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _reason(error: OSError) -> str:
    return _LIMITS.get(error.errno or 0) or error.strerror or str(error)
