"""The store: records, events and facts in one SQLite file, models beside it. What is lost with it is found again.

Everything is written at once and for good (WAL, synchronous=FULL). No secret and nothing of the engine's is in the
database; rendered models, which hold secrets, are files of their own (`models`). Deciding does not belong here.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from controller.model.errors import StateUnusable
from controller.model.observed import MountedFile, Rendered
from controller.model.record import Event, Record
from controller.model.values import replace
from controller.status.codec import as_kept, from_json, to_json
from controller.status.index import Index
from controller.status.lock import prepare_folder, unusable
from controller.status.models import ModelFiles

DATABASE = "homeport.db"
SCHEMA = 1
EVENTS_KEPT = 10_000
_PRUNE_EVERY = 500
_ROOM = 64 * 1024
"""Bytes for which there must be room beside that for all records, before a state counts as writable again."""
_SMALL_CACHE = "PRAGMA cache_size = -256"
"""KiB, where SQLite would fill 2 MiB over time: records and facts are read from memory, so pages are worth little."""
_DISK, _KERNEL = "PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"
"""How far a write has come when it returns. What is in the hands of the kernel the end of this process cannot lose, and with
the next write that waits for the disk it is there, too."""
_BUSY = 5.0
"""Seconds to wait for another process; only readers and short writes are expected."""

_FORGOTTEN = (
    "Apps go on running and are found again; what was said by command (suspend, stop, a rollback, a removal let go) is "
    "forgotten: say it again"
)
_PARTS = ("", "-wal", "-shm")
_UNFINISHED, _WHOLE = ".new", ".next"
"""Endings of the database that is to take the place of a damaged one: while it is written, and when it is whole."""
_Identity = tuple[int, ...]

_TABLES = """
CREATE TABLE records (app TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY, time TEXT NOT NULL, app TEXT NOT NULL, name TEXT NOT NULL, level TEXT NOT NULL,
    message TEXT NOT NULL, fields TEXT NOT NULL
);
CREATE INDEX events_of_app ON events (app, id);
"""


class SqliteStore:
    """Implements the `Store` port.

    `_lock` guards the connection, so that a statement and its place in the order of writes are one thing; SQLite
    itself lets only one write at a time, so a second connection would gain nothing. It is held while the disk
    is written, hence the second lock: `_view` guards `_records`, their `_index` and `_facts`, the copy in memory that every
    read is answered from, and is never held during I/O. A write reaches the disk first and then the copy.
    """

    def __init__(self, folder: Path) -> None:
        """Open the store in that folder; make it when there is none.

        A damaged database is set aside (see `notice`) and begun anew. Raises `StateUnusable` when the folder
        cannot be used, or when a newer Homeport wrote the database.
        """
        prepare_folder(folder)
        path = folder / DATABASE
        self._begin(path, ModelFiles(folder / "models"))
        try:
            self._open_or_rebuild(path)
        except BaseException:
            self.close()
            raise

    def _begin(self, path: Path, models: ModelFiles) -> None:
        self.path = path
        self.notice = ""
        """What a person should know of how it was opened: a damaged database that was set aside, or ""."""
        self.trouble = ""
        """Why a write of a record, an event or a fact failed; "" when none did since `mend` found that they can be made."""
        self._models = models
        self._lock = threading.Lock()
        self._view = threading.Lock()
        self._records: dict[str, Record] = {}
        self._index = Index()
        self._facts: dict[str, str] = {}
        self._told = 0
        self._readonly = False
        self._connection: sqlite3.Connection | None = None
        self._damaged = False
        self._replacing = False
        """Whether a whole new database stands beside the old one, which is on its way out: nothing more is written to it."""
        self._opened: _Identity = ()

    @classmethod
    def in_memory(cls) -> SqliteStore:
        """A store that is gone when it is closed, for simulations and tests."""
        store = cls.__new__(cls)
        store._begin(Path(":memory:"), ModelFiles(None))
        store._connection = _connect(":memory:")
        store._connection.executescript(_TABLES)
        return store

    @classmethod
    def open_readonly(cls, folder: Path) -> SqliteStore:
        """A look at the state of a service that may run or not; sees each of its writes. Writes raise.

        No state yet: an empty store. Raises `StateUnusable` when there is one that cannot be read.
        """
        path = folder / DATABASE
        try:
            # One that was cut off on its way into the place of a damaged one counts; the next start puts it there.
            path = whole if (whole := _beside(path, _WHOLE)).is_file() else path
            exists = path.is_file()
        except OSError as error:
            raise unusable(path, error) from error
        if not exists:
            store = cls.in_memory()
            store._readonly = True
            return store
        store = cls.__new__(cls)
        store._begin(path, ModelFiles(folder / "models"))
        try:
            store._connection = connection = _connect_readonly(path)
            version = _version(connection)
        except sqlite3.Error as error:
            store.close()
            raise StateUnusable(f"state {path}: {error}; {_damaged_advice(path)}") from error
        if version > SCHEMA:
            store.close()
            raise _too_new(path, version)
        store._readonly = True
        if version == 0:  # made a moment ago; its tables are not there yet
            store.close()
            store._connection = _connect(":memory:")
            store._connection.executescript(_TABLES)
        return store

    def check(self) -> None:
        """Read the whole database afresh from disk; what is damaged there is mended by `mend`."""
        try:
            with contextlib.closing(_connect_readonly(self.path)) as reader:
                sound = _is_sound(reader)
        except sqlite3.OperationalError:
            return  # locked or gone: no damage
        except sqlite3.DatabaseError:
            sound = False
        with self._lock:
            self._damaged = self._damaged or not sound

    def mend(self) -> str:
        """See that what is written goes into the file that stands there; one that was taken away, replaced or
        damaged since is written anew from memory, without the events. When a write failed before, see that there is
        room again. Answers with what a person should know, or "". Raises `StateUnusable`; it is mended by a later call then.

        Whenever it is cut off, what stood there is untouched or the new one is whole: the next start goes on with it.
        """
        with self._lock:
            if self._connection is None:
                return ""
            sound = not self._damaged and not self._replacing
            if sound and _identity(self.path) == self._opened:
                self._see_whether_it_can_be_written(self._connection)
                return ""
            try:
                prepare_folder(self.path.parent)
                if not (self._replacing and _beside(self.path, _WHOLE).exists()):
                    _write_beside(self.path, self._records, self._facts)
                    self._replacing = True
                aside = _take_over(self.path)
                fresh = _open(self.path)
            except (sqlite3.Error, OSError, StateUnusable) as error:
                failed = unusable(self.path, error) if isinstance(error, OSError) else error
                raise self._failed(failed) from error
            # Not before: it would write its log into the damaged file. As its file has moved, it leaves the new log alone.
            self._connection.close()
            self._connection, self._damaged, self._replacing, self.trouble = fresh, False, False, ""
            self._opened = _identity(self.path)
        return _rebuilt(aside)

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- records --------------------------------------------------------------------------------------

    def record(self, app: str) -> Record | None:
        """What is remembered of the app."""
        if self._readonly:
            rows = self._ask("SELECT record FROM records WHERE app = ?", (app,))
            return _decoded([(app, row[0]) for row in rows])[0].get(app)
        with self._view:
            return self._records.get(app)

    def records(self) -> tuple[Record, ...]:
        """All records, by name."""
        if self._readonly:
            return tuple(_decoded(self._ask("SELECT app, record FROM records"))[0].values())
        with self._view:
            return tuple(sorted(self._records.values(), key=lambda record: record.name))

    def consumers(self, provider: str) -> tuple[str, ...]:
        """The apps on record that need this one, by name."""
        return self._asked_of_index(lambda index: index.consumers(provider))

    def with_identity(self, identity: str) -> tuple[str, ...]:
        """The apps on record whose folder was the one of this identity, by name."""
        return self._asked_of_index(lambda index: index.with_identity(identity))

    def _asked_of_index(self, question: Callable[[Index], tuple[str, ...]]) -> tuple[str, ...]:
        if self._readonly:
            return question(Index(self.records()))
        with self._view:
            return question(self._index)

    def save(self, record: Record) -> None:
        """Remember the record; on disk when this returns. Raises `StateUnusable`."""
        with self._view:
            if self._records.get(record.name) == record:
                return
        text = to_json(record)
        with self._lock:
            self._do("INSERT OR REPLACE INTO records VALUES (?, ?)", (record.name, text))
            with self._view:
                self._index.replace(self._records.get(record.name), record)
                self._records[record.name] = record

    def forget(self, app: str) -> None:
        """Drop the record and the models of the app; its events stay. Raises `StateUnusable`."""
        with self._lock:
            self._do("DELETE FROM records WHERE app = ?", (app,))
            with self._view:
                self._index.replace(self._records.pop(app, None), None)
        self._models.forget(app)

    # -- models ---------------------------------------------------------------------------------------

    def keep_model(self, app: str, rendered: Rendered, keep: Collection[str]) -> None:
        """Keep the model; of the app's others only those of the revisions in `keep`. Raises `StateUnusable`."""
        self._check_writable()
        self._models.keep(app, rendered, keep)

    def model(self, app: str, revision: str) -> Rendered | None:
        """The kept model; None when there is none, or it is damaged."""
        return self._models.get(app, revision)

    def keep_file(self, app: str, digest: str, file: MountedFile) -> None:
        """Keep a copy of a mounted file. Raises `StateUnusable`."""
        self._check_writable()
        self._models.keep_file(app, digest, file)

    def file(self, app: str, digest: str) -> str | None:
        """The path of the copy, or None."""
        return self._models.file(app, digest)

    def keep_only_files(self, app: str, digests: Collection[str]) -> None:
        """Drop the app's other copies. Raises `StateUnusable`."""
        self._check_writable()
        self._models.keep_only_files(app, digests)

    # -- events ---------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Append an event; the newest 10,000 are kept. Raises `StateUnusable`.

        The disk is not waited for: only a power cut before the next record is saved may lose it, and the log has it, too.
        """
        fields = json.dumps(dict(event.fields), ensure_ascii=False, default=str)
        row = (as_kept(event.time), event.app, event.name, event.level, event.message, fields)
        insert = "INSERT INTO events (time, app, name, level, message, fields) VALUES (?, ?, ?, ?, ?, ?)"
        with self._lock:
            self._do(insert, row, until=_KERNEL)
            self._told += 1
            if self._told % _PRUNE_EVERY == 0:
                self._prune()

    def events(
        self, app: str | None = None, since: datetime | None = None, after: int = 0, limit: int | None = None
    ) -> tuple[tuple[int, Event], ...]:
        """Events with their ids, oldest first: of one app, from a time on, with an id above `after`; the first `limit`."""
        where, values = ["id > ?"], [after]  # type: tuple[list[str], list[int | str]]
        if app is not None:
            where.append("app = ?")
            values.append(app)
        if since is not None:
            where.append("time >= ?")
            values.append(as_kept(since))
        columns = "id, time, app, name, level, message, fields"
        query = f"SELECT {columns} FROM events WHERE {' AND '.join(where)} ORDER BY id LIMIT ?"  # noqa: S608 - no value in it
        values.append(-1 if limit is None else limit)
        return tuple(
            (number, Event(datetime.fromisoformat(time), of, name, level, message, json.loads(fields)))
            for number, time, of, name, level, message, fields in self._ask(query, values)
        )

    def last_told(self, app: str, names: Collection[str]) -> str | None:
        """The name of the newest event of the app that is one of these; None when none is kept."""
        marks = ", ".join("?" * len(names))
        query = f"SELECT name FROM events WHERE app = ? AND name IN ({marks}) ORDER BY id DESC LIMIT 1"  # noqa: S608 - only marks
        rows = self._ask(query, (app, *names))
        return str(rows[0][0]) if rows else None

    def newest_event(self) -> int:
        """The id of the event that was told last."""
        ((newest,),) = self._ask("SELECT COALESCE(MAX(id), 0) FROM events")
        return int(newest)

    def changes(self) -> int:
        """A number that is another one once somebody else has written, while this store is open; cheap. The file must be
        the one that was opened. Raises `StateUnusable`."""
        return int(self._ask("PRAGMA data_version")[0][0])

    # -- facts ----------------------------------------------------------------------------------------

    def get(self, key: str) -> str | None:
        """A fact about the service itself."""
        if self._readonly:
            rows = self._ask("SELECT value FROM facts WHERE key = ?", (key,))
            return str(rows[0][0]) if rows else None
        with self._view:
            return self._facts.get(key)

    def facts(self, prefix: str) -> Mapping[str, str]:
        """All facts whose keys begin so, by what follows in the key."""
        if self._readonly:
            found = dict(self._ask("SELECT key, value FROM facts"))
        else:
            with self._view:
                found = dict(self._facts)
        return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}

    def put(self, key: str, value: str | None) -> None:
        """Remember a fact, or with None forget it. Raises `StateUnusable`."""
        with self._view:
            if self._facts.get(key) == value and not self._readonly:
                return
        with self._lock:
            if value is None:
                self._do("DELETE FROM facts WHERE key = ?", (key,))
            else:
                self._do("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))
            with self._view:
                if value is None:
                    self._facts.pop(key, None)
                else:
                    self._facts[key] = value

    def forget_fact(self, key: str, value: str) -> None:
        """Forget the fact if that is what it says. Raises `StateUnusable`."""
        with self._lock:
            with self._view:
                if self._facts.get(key) != value:
                    return
            self._do("DELETE FROM facts WHERE key = ? AND value = ?", (key, value))
            with self._view:
                self._facts.pop(key, None)

    # -- the file -------------------------------------------------------------------------------------

    def _open_or_rebuild(self, path: Path) -> None:
        try:
            if _beside(path, _WHOLE).exists():
                self.notice = _rebuilt(_take_over(path))
            _unlink(_beside(path, _UNFINISHED))
        except OSError as error:
            raise unusable(path, error) from error
        try:
            self._load(path)
        except sqlite3.OperationalError as error:  # locked, no rights, no room: the file itself may be sound
            raise StateUnusable(f"state {path}: {error}; {_damaged_advice(path)}") from error
        except sqlite3.DatabaseError as error:
            self.close()
            aside = _set_aside(path)
            self.notice = (
                f"the recorded state was damaged ({error}); it was set aside as {aside.name if aside else '-'} and "
                f"begun anew. {_FORGOTTEN}"
            )
            try:
                self._load(path)
            except sqlite3.Error as again:
                raise StateUnusable(f"state {path}: {again}; {_damaged_advice(path)}") from again

    def _load(self, path: Path) -> None:
        self._connection = connection = _open(path)
        if not _is_sound(connection):
            raise sqlite3.DatabaseError("it does not hold together")
        self._opened = _identity(path)
        self._records, lost = _decoded(connection.execute("SELECT app, record FROM records").fetchall())
        self._index = Index(self._records.values())
        self._facts = dict(connection.execute("SELECT key, value FROM facts").fetchall())
        if lost:
            self.notice = (
                f"the recorded state of {', '.join(sorted(lost))} cannot be read and is taken as lost; "
                "what runs goes on and is found again"
            )
        elif not self._records and not self._facts and not self.notice and self._models.any():
            self.notice = f"the recorded state is gone; it was begun anew. {_FORGOTTEN}"
        self._prune()

    def _check_writable(self) -> None:
        if self._readonly:
            raise _readonly(self.path)

    def _prune(self) -> None:
        self._do("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (EVENTS_KEPT,))

    def _do(self, statement: str, values: Sequence[int | str], *, until: str = _DISK) -> None:
        """One write, which is one transaction. The caller holds `_lock`."""
        self._check_writable()
        if self._connection is None:
            raise StateUnusable(f"state {self.path}: it is closed")
        if self._replacing:
            raise self._failed(
                StateUnusable(f"state {self.path}: {self.trouble or 'it is being written anew'}")
            )
        try:
            self._connection.execute(until)
            self._connection.execute(statement, [_storable(value) for value in values])
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _see_whether_it_can_be_written(self, connection: sqlite3.Connection) -> None:
        """After a write that failed: what goes through must be as much as everything that may have to be written now.

        On a nearly full disk an event goes through and the next record does not: good news each time, and bad news after
        it. What is written here is given back to the database and its log, and not to the disk. The caller holds `_lock`.
        """
        if not self.trouble:
            return
        size = _ROOM + sum(len(to_json(record)) for record in self._records.values())
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DROP TABLE IF EXISTS room")
            connection.execute("CREATE TABLE room (taken BLOB)")
            connection.execute("INSERT INTO room VALUES (zeroblob(?))", (size,))
            connection.execute("COMMIT")
            connection.execute("DROP TABLE room")
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise self._failed(error) from error
        self.trouble = ""

    def _failed(self, error: sqlite3.Error | StateUnusable) -> StateUnusable:
        """The error for a write that failed. The caller holds `_lock`."""
        if isinstance(error, StateUnusable):
            failed = error
        else:
            # What is operational passes by itself: no room, locked, a disk that fails. Anything else is in the file.
            self._damaged = self._damaged or not isinstance(error, sqlite3.OperationalError)
            failed = StateUnusable(f"state {self.path}: {error}; {_damaged_advice(self.path)}")
        self.trouble = str(failed)
        return failed

    def _ask(self, query: str, values: Sequence[int | str] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            if self._connection is None:
                raise StateUnusable(f"state {self.path}: it is closed")
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise StateUnusable(f"state {self.path}: {error}; {_damaged_advice(self.path)}") from error


def _storable(value: int | str) -> int | str:
    """A file name that is not UTF-8 is in Python's texts half a character, which no database takes."""
    return value if isinstance(value, int) else value.encode("utf-8", "backslashreplace").decode()


def _connect(database: str, *, uri: bool = False) -> sqlite3.Connection:
    # isolation_level None: each statement is its own transaction, and no implicit one is left open.
    return sqlite3.connect(database, timeout=_BUSY, isolation_level=None, check_same_thread=False, uri=uri)


def _open(path: Path, journal: str = "WAL") -> sqlite3.Connection:
    """The database to write to; made where there is none. Raises `StateUnusable` and `sqlite3.Error`."""
    try:
        # Made by us first: SQLite would follow the umask, and gives -wal and -shm the rights of this file.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(fd, 0o600)
        finally:
            os.close(fd)
    except OSError as error:
        raise unusable(path, error) from error
    connection = _connect(str(path))
    try:
        version = _version(connection)
        if version > SCHEMA:
            raise _too_new(path, version)
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute(_DISK)
        connection.execute(_SMALL_CACHE)
        if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise sqlite3.DatabaseError("it is not ours")
        if version == 0:
            connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _write_beside(path: Path, records: Mapping[str, Record], facts: Mapping[str, str]) -> None:
    """Write all that is remembered into a database of its own beside this one; it is there wholly or not at all."""
    unfinished = _beside(path, _UNFINISHED)
    _unlink(unfinished)
    # No log of its own: when it is closed, all of it is in this one file, and on disk.
    connection = _open(unfinished, "DELETE")
    try:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO records VALUES (?, ?)",
            [(_storable(app), _storable(to_json(record))) for app, record in records.items()],
        )
        stored = [(_storable(key), _storable(value)) for key, value in facts.items()]
        connection.executemany("INSERT INTO facts VALUES (?, ?)", stored)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        with contextlib.suppress(OSError):
            _unlink(unfinished)
        raise
    connection.close()
    unfinished.rename(_beside(path, _WHOLE))
    _sync_folder(path.parent)


def _take_over(path: Path) -> Path | None:
    """Put the whole database beside this one into its place; where that one is set aside, or None: there was none.

    Cut off in between, it is done again from its start: what is moved already is not there to be moved.
    """
    aside = _set_aside(path)
    _beside(path, _WHOLE).rename(path)
    _sync_folder(path.parent)
    return aside


def _sync_folder(folder: Path) -> None:
    """See that the names in it are on disk, not only what they name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rebuilt(aside: Path | None) -> str:
    was = f"what stood there was set aside as {aside.name}" if aside else "it was gone"
    return (
        f"the recorded state was damaged or taken away while the service ran; {was}, and it was written anew "
        "from memory, without the list of events; what earlier versions were may be gone, and with it a way back to them"
    )


def _identity(path: Path) -> _Identity:
    """Device and inode of the database and of its log: others as soon as somebody takes one of them away."""
    found: list[int] = []
    for part in (path, path.with_name(path.name + "-wal")):
        with contextlib.suppress(OSError):
            status = part.stat()
            found += [status.st_dev, status.st_ino]
    return tuple(found)


def _is_sound(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _connect_readonly(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode=ro"
    connection = _connect(address, uri=True)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master")
        connection.execute(_SMALL_CACHE)
    except sqlite3.OperationalError:
        connection.close()
        if path.with_name(path.name + "-wal").exists():
            raise
        # A read-only disk: a reader cannot make the -shm file, and with no -wal file it needs none.
        connection = _connect(address + "&immutable=1", uri=True)
    except BaseException:
        connection.close()
        raise
    return connection


def _decoded(rows: Sequence[tuple[str, str]]) -> tuple[dict[str, Record], list[str]]:
    """The records by name, and the names of those that cannot be read."""
    records: dict[str, Record] = {}
    lost: list[str] = []
    for app, text in sorted(rows):
        try:
            records[app] = replace(from_json(Record, text), name=app)
        except ValueError:
            lost.append(app)
    return records, lost


def _set_aside(path: Path) -> Path | None:
    """Move the database out of the way, its log with it; the new name says when it was last written. None: there
    was none."""
    try:
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y%m%dT%H%M%SZ")
    except FileNotFoundError:
        _unlink(path)  # a log without its database must not meet the next one
        return None
    aside = path.with_name(f"{path.name}.damaged-{written}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{written}-{number}")
    try:
        for ending in _PARTS:
            part = path.with_name(path.name + ending)
            if part.exists():
                part.rename(aside.with_name(aside.name + ending))
    except OSError as error:
        raise unusable(path, error) from error
    return aside


def _unlink(path: Path) -> None:
    for ending in (*_PARTS, "-journal"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _damaged_advice(path: Path) -> str:
    return (
        f"see that the disk has room and that {path.parent} is ours; as a last resort move {path.name}* away "
        "while the service is stopped: apps go on running and are found again"
    )


def _too_new(path: Path, version: int) -> StateUnusable:
    return StateUnusable(
        f"state {path}: written by a newer Homeport (schema {version}, this one knows {SCHEMA}); install that "
        f"version again, or move {path.name}* away: apps go on running and are found again"
    )


def _readonly(path: Path) -> StateUnusable:
    return StateUnusable(f"state {path}: opened for looking only")
