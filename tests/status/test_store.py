"""What is remembered stays remembered, is kept from others, and its loss is never the end."""

from __future__ import annotations

import _sqlite3
import contextlib
import ctypes
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.model.errors import StateLocked, StateUnusable
from controller.model.observed import MountedFile
from controller.model.ports import Store
from controller.model.record import Condition, Event, Record
from controller.status.codec import from_json, to_json
from controller.status.lock import StateLock
from controller.status.store import SqliteStore
from fakes.build import at, ledger, record, rendered, service, target
from rig.disks import fill, make_room, small_disk

DIGEST = "sha256:" + "ab" * 32

FULL = record(
    "web",
    target=target("web", "db", requires=("db",)),
    conditions=(Condition("Ready", "False", "X", "line\nbreak ü", at(0.25), 3),),
    desired_services={"web": {"image": "web:1"}},
    observed_services={"web": {"running": 1, "healthy": None}},
    on_install={"db": ledger("KEY")},
    on_start={"db": "i1"},
    started_at=at(1),
    retries=3,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, folder: Path) -> Iterator[Store]:
    made = SqliteStore(folder) if request.param == "disk" else SqliteStore.in_memory()
    with closing(made):
        yield made


def event(number: int, app: str = "web", **fields: Any) -> Event:
    return Event(at(number), app, "app.changed", "info", f"number {number}", fields)


def test_a_record_is_the_same_after_its_way_through_json() -> None:
    assert from_json(Record, to_json(FULL)) == FULL


@pytest.mark.fault("F04")
def test_unknown_fields_are_ignored_and_missing_ones_take_their_defaults() -> None:
    document = json.loads(to_json(FULL))
    document["invented_later"] = {"x": 1}
    del document["retries"]
    document["target"]["another"] = 1
    assert from_json(Record, json.dumps(document)) == replace(FULL, retries=0)


def test_what_is_saved_is_there_and_what_is_forgotten_is_not(store: Store) -> None:
    assert store.record("web") is None
    store.save(FULL)
    store.save(record("db"))
    assert store.record("web") == FULL
    assert [each.name for each in store.records()] == ["db", "web"]
    store.keep_model("web", rendered(), ())
    store.tell(event(1))
    store.forget("web")
    assert store.record("web") is None
    assert store.model("web", "rev2") is None
    assert [told.app for _, told in store.events()] == ["web"]


def test_who_needs_an_app_and_whose_folder_it_was_follows_the_records(store: Store) -> None:
    store.save(record("web", requires=("db",), identity="1:7"))
    store.save(record("app", target=target("app", "main", requires=("db", "cache")), identity="1:8"))
    store.save(record("db"))
    assert (store.consumers("db"), store.consumers("cache"), store.consumers("web")) == (
        ("app", "web"),
        ("app",),
        (),
    )
    assert (store.with_identity("1:7"), store.with_identity("")) == (("web",), ())
    store.save(record("web", requires=("cache",), identity="1:9"))
    store.save(record("wiki", identity="1:9"))
    assert (store.consumers("db"), store.consumers("cache")) == (("app",), ("app", "web"))
    assert (store.with_identity("1:7"), store.with_identity("1:9")) == ((), ("web", "wiki"))
    store.forget("app")
    store.forget("nobody")
    assert (store.consumers("db"), store.consumers("cache")) == ((), ("web",))


def test_who_needs_an_app_is_known_after_a_restart_and_to_a_look(folder: Path) -> None:
    with closing(SqliteStore(folder)) as store:
        store.save(record("web", requires=("db",), identity="1:7"))
    with closing(SqliteStore.open_readonly(folder)) as look:
        assert (look.consumers("db"), look.with_identity("1:7")) == (("web",), ("web",))
        with closing(SqliteStore(folder)) as store:
            assert (store.consumers("db"), store.with_identity("1:7")) == (("web",), ("web",))
            store.forget("web")
        assert (look.consumers("db"), look.with_identity("1:7")) == ((), ())


def test_a_record_and_what_was_said_wait_for_the_disk_and_an_event_does_not(folder: Path) -> None:
    said: list[str] = []
    with closing(SqliteStore(folder)) as store:
        assert store._connection is not None
        store._connection.set_trace_callback(said.append)
        store.tell(event(1))
        store.save(FULL)
        store.tell(event(2))
        store.put("stopped:web", "1")
        store.forget("web")
    level, waits = "", []
    for statement in said:
        if statement.startswith("PRAGMA synchronous"):
            level = statement.rpartition(" ")[2]
        elif statement.startswith(("INSERT", "DELETE")):
            waits.append((statement.split(" VALUES")[0].split(" (")[0].split(" WHERE")[0], level))
    assert waits == [
        ("INSERT INTO events", "NORMAL"),
        ("INSERT OR REPLACE INTO records", "FULL"),
        ("INSERT INTO events", "NORMAL"),
        ("INSERT OR REPLACE INTO facts", "FULL"),
        ("DELETE FROM records", "FULL"),
    ]


def test_everything_is_there_after_a_restart(folder: Path) -> None:
    model = rendered(service("web", binds=(), ports=(("", 80, "tcp"),)))
    with closing(SqliteStore(folder)) as store:
        store.save(FULL)
        store.put("root_id", "r1")
        store.tell(event(1, count=2))
        store.keep_model("web", model, ())
    with closing(SqliteStore(folder)) as store:
        assert store.notice == ""
        assert store.records() == (FULL,)
        assert store.get("root_id") == "r1"
        assert store.events() == ((1, event(1, count=2)),)
        assert store.model("web", "rev2") == model


def test_what_was_saved_survives_a_process_that_never_closed(folder: Path) -> None:
    with closing(SqliteStore(folder)) as running:
        running.save(FULL)
        with closing(SqliteStore(folder)) as next_one:
            assert next_one.record("web") == FULL


def test_a_fact_can_be_changed_and_forgotten(store: Store) -> None:
    assert store.get("k") is None
    store.put("k", "1")
    store.put("k", "2")
    assert store.get("k") == "2"
    store.put("k", None)
    assert store.get("k") is None


def test_a_fact_that_was_said_anew_is_not_forgotten_with_what_it_said_before(store: Store) -> None:
    store.put("k", "1")
    store.put("k", "2")
    store.forget_fact("k", "1")
    assert store.get("k") == "2"
    store.forget_fact("k", "2")
    assert store.get("k") is None


def test_events_are_told_in_order_and_can_be_narrowed(store: Store) -> None:
    for number in range(4):
        store.tell(event(number, "web" if number % 2 else "db"))
    ids = [number for number, _ in store.events()]
    assert ids == sorted(ids)
    assert [e.time for _, e in store.events("web")] == [at(1), at(3)]
    assert [e.time for _, e in store.events(since=at(2))] == [at(2), at(3)]
    assert [e.time for _, e in store.events(after=ids[2])] == [at(3)]


def test_the_newest_ten_thousand_events_are_kept() -> None:
    with closing(SqliteStore.in_memory()) as store:
        for number in range(10_500):
            store.tell(event(number))
        told = store.events()
    assert len(told) == 10_000
    assert told[-1] == (10_500, event(10_499))


def test_models_are_kept_as_long_as_they_are_asked_for(store: Store) -> None:
    store.keep_model("web", rendered(revision="rev1"), ())
    store.keep_model("web", rendered(revision="rev2"), ("rev1",))
    store.keep_model("web", rendered(revision="rev3"), ("rev1",))
    kept = [revision for revision in ("rev1", "rev2", "rev3") if store.model("web", revision)]
    assert kept == ["rev1", "rev3"]


def test_a_copy_of_a_mounted_file_keeps_its_mode_and_goes_when_nobody_needs_it(folder: Path) -> None:
    with closing(SqliteStore(folder)) as store:
        store.keep_file("web", DIGEST, MountedFile(b"worker_processes 1;", 0o644, (0, 0)))
        path = store.file("web", DIGEST)
        assert path is not None
        assert Path(path).read_bytes() == b"worker_processes 1;"
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o644
        store.keep_model("web", rendered(), ())
        assert store.file("web", DIGEST) == path
        store.keep_only_files("web", ())
        assert store.file("web", DIGEST) is None
        store.keep_file("web", DIGEST, MountedFile(b"x", 0o600, (0, 0)))
        store.forget("web")
        assert store.file("web", DIGEST) is None


def test_a_damaged_model_is_no_model(folder: Path) -> None:
    with closing(SqliteStore(folder)) as store:
        store.keep_model("web", rendered(), ())
    (file,) = (folder / "models" / "web").iterdir()
    file.write_text("{")
    with closing(SqliteStore(folder)) as store:
        assert store.model("web", "rev2") is None


def test_nobody_else_may_read_it_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        with closing(SqliteStore(folder)) as store:
            store.save(FULL)
            store.keep_model("web", rendered(), ())
            entries = [folder, *folder.rglob("*")]
            modes = {
                str(e.relative_to(folder)): (e.is_dir(), stat.S_IMODE(e.stat().st_mode)) for e in entries
            }
    finally:
        os.umask(before)
    assert {"homeport.db", "homeport.db-wal", "models/web"} <= modes.keys()
    assert {mode for is_dir, mode in modes.values() if is_dir} == {0o700}
    assert {mode for is_dir, mode in modes.values() if not is_dir} == {0o600}


@pytest.mark.fault("F02")
@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database_is_set_aside_and_begun_anew(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "homeport.db").write_bytes(content)
    with closing(SqliteStore(folder)) as store:
        assert "set aside" in store.notice
        assert store.records() == ()
        store.save(FULL)
    (aside,) = folder.glob("homeport.db.*-*Z")
    assert aside.read_bytes() == content
    with closing(SqliteStore(folder)) as store:
        assert store.notice == ""
        assert store.record("web") == FULL


@pytest.mark.fault("F02")
def test_damage_in_the_middle_is_found_at_the_start(folder: Path) -> None:
    with closing(SqliteStore(folder)) as store:
        for number in range(600):
            store.save(record(f"a{number:03}", last_error="x" * 200))
    path = folder / "homeport.db"
    content = bytearray(path.read_bytes())
    content[8192:24576] = b"\xff" * 16384
    path.write_bytes(content)
    with closing(SqliteStore(folder)) as store:
        assert store.notice


@pytest.mark.fault("F02")
def test_one_record_that_cannot_be_read_costs_only_itself(folder: Path) -> None:
    with closing(SqliteStore(folder)) as store:
        store.save(FULL)
        store.save(record("db"))
    with closing(sqlite3.connect(folder / "homeport.db")) as raw:
        raw.execute("UPDATE records SET record = '[]' WHERE app = 'db'")
        raw.commit()
    with closing(SqliteStore(folder)) as store:
        assert store.records() == (FULL,)
        assert "db" in store.notice


@pytest.mark.fault("F04")
@pytest.mark.parametrize("open_store", [SqliteStore, SqliteStore.open_readonly])
def test_a_newer_database_is_left_alone(folder: Path, open_store: Any) -> None:
    SqliteStore(folder).close()
    with closing(sqlite3.connect(folder / "homeport.db")) as raw:
        raw.execute("PRAGMA user_version = 99")
    with pytest.raises(StateUnusable, match="newer Homeport"):
        open_store(folder)
    with closing(sqlite3.connect(folder / "homeport.db")) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (99,)


def test_a_folder_that_cannot_be_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnusable, match="file"):
        SqliteStore(tmp_path / "file" / "state")


def test_after_closing_nothing_is_written(store: Any) -> None:
    store.close()
    store.close()
    with pytest.raises(StateUnusable):
        store.save(FULL)


def test_a_look_sees_what_the_running_service_writes(folder: Path) -> None:
    with closing(SqliteStore(folder)) as service_, closing(SqliteStore.open_readonly(folder)) as look:
        assert look.records() == ()
        service_.save(FULL)
        service_.put("k", "v")
        service_.tell(event(1))
        service_.keep_model("web", rendered(), ())
        assert look.record("web") == FULL
        assert look.records() == (FULL,)
        assert look.get("k") == "v"
        assert look.events() == ((1, event(1)),)
        assert look.model("web", "rev2") == rendered()


def test_a_look_works_while_the_service_is_down(folder: Path) -> None:
    with closing(SqliteStore(folder)) as store:
        store.save(FULL)
    with closing(SqliteStore.open_readonly(folder)) as look:
        assert look.record("web") == FULL


def test_a_look_at_no_state_is_empty_and_makes_none(folder: Path) -> None:
    with closing(SqliteStore.open_readonly(folder)) as look:
        assert look.records() == ()
        assert look.events() == ()
        assert look.get("k") is None
        assert look.model("web", "rev2") is None
    assert not folder.exists()


@pytest.mark.parametrize("exists", [True, False])
def test_a_look_never_writes(folder: Path, exists: bool) -> None:
    if exists:
        SqliteStore(folder).close()
    with closing(SqliteStore.open_readonly(folder)) as look:
        writes: list[Callable[[], None]] = [
            lambda: look.save(FULL),
            lambda: look.forget("web"),
            lambda: look.put("k", "v"),
            lambda: look.put("k", None),
            lambda: look.tell(event(1)),
            lambda: look.keep_model("web", rendered(), ()),
        ]
        for write in writes:
            with pytest.raises(StateUnusable):
                write()


def test_a_state_that_cannot_be_put_back_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with SqliteStore(folder) as store:
        store.save(Record("web"))
        shutil.rmtree(folder)
        folder.write_text("in the way")
        with pytest.raises(StateUnusable):
            store.mend()
        assert store.trouble


def test_a_state_written_anew_may_hold_a_name_that_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with SqliteStore(folder) as store:
        store.save(Record("web", folder="/srv/\udcff"))
        for part in folder.glob("homeport.db*"):
            part.unlink()
        assert store.mend()


def test_the_lock_of_a_state_that_was_deleted_is_taken_again(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with StateLock(folder) as lock, SqliteStore(folder) as store:
        store.save(Record("web"))
        shutil.rmtree(folder)
        assert store.mend()
        lock.follow()
        with pytest.raises(StateLocked):
            StateLock(folder).acquire()


CUT_OFF = """
import os, sys
from pathlib import Path
from controller.status.store import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
store._damaged = True
at, seen = int(sys.argv[2]), 0

def count(event, args):
    global seen
    if event.startswith(("os.", "open", "sqlite3.")):
        seen += 1
        if seen == at:
            os._exit(9)

sys.addaudithook(count)
store.mend()
os._exit(0)
"""
"""A process that mends its state and ends before the given call to the system, as if it was killed."""


def contents(path: Path) -> dict[str, bytes]:
    return {
        part.name: part.read_bytes() for part in path.parent.glob(path.name + "*") if "shm" not in part.name
    }


@pytest.mark.fault("F02")
def test_a_state_that_is_written_anew_is_whole_wherever_that_is_cut_off(folder: Path) -> None:
    with closing(SqliteStore(folder)) as store:
        store.save(FULL)
        store.put("stopped:web", "1")
    kept = folder.parent / "kept"
    shutil.copytree(folder, kept)
    path, ends = folder / "homeport.db", set()
    for step in range(1, 200):
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        before = contents(path)
        status = subprocess.run([sys.executable, "-c", CUT_OFF, folder, str(step)], check=False).returncode
        untouched = contents(path).items() >= before.items()
        with closing(SqliteStore.open_readonly(folder)) as look:
            seen = look.record("web"), look.get("stopped:web")
        with closing(SqliteStore(folder)) as store:
            assert (store.record("web"), store.get("stopped:web")) == seen == (FULL, "1"), step
            ends.add((untouched, bool(store.notice)))
        left = {p.name for p in folder.glob("homeport.db*") if "damaged" not in p.name}
        assert left <= {"homeport.db", "homeport.db-wal", "homeport.db-shm"}, step
        if status == 0:
            break
    else:
        pytest.fail("it never came to its end")
    assert ends == {(True, False), (True, True), (False, True), (False, False)}


def test_a_state_that_was_half_written_anew_is_of_no_use(folder: Path) -> None:
    with closing(SqliteStore(folder)) as store:
        store.save(FULL)
    (folder / "homeport.db.new").write_bytes(b"SQLite format 3\0 and no more")
    with closing(SqliteStore(folder)) as store:
        assert store.record("web") == FULL
        assert not store.notice
    assert not (folder / "homeport.db.new").exists()


def test_what_is_on_its_way_out_takes_no_more_writes_until_the_new_one_stands_there(folder: Path) -> None:
    path = folder / "homeport.db"
    with closing(SqliteStore(folder)) as store:
        store.save(FULL)
        path.unlink()
        with small_disk(path):  # a mount point can neither be moved nor replaced
            with pytest.raises(StateUnusable, match="busy"):
                store.mend()
            with pytest.raises(StateUnusable, match="busy"):
                store.put("stopped:web", "1")
        path.rmdir()
        assert store.mend()
        store.put("stopped:web", "1")
        with closing(SqliteStore.open_readonly(folder)) as look:
            assert (look.record("web"), look.get("stopped:web")) == (FULL, "1")


@pytest.mark.fault("F01")
def test_room_for_a_little_is_not_room_for_all_that_may_have_to_be_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "state") as disk, closing(SqliteStore(disk)) as store:
        store.save(FULL)
        fill(disk)
        with contextlib.suppress(StateUnusable):
            while True:  # what is free within the database's own files is used up first
                store.tell(event(1, text="x" * 2000))
        assert "full" in store.trouble
        make_room(disk, 24 * 1024)
        store.put("k", "a little goes through")
        with pytest.raises(StateUnusable, match="full"):
            store.mend()
        assert "full" in store.trouble
        make_room(disk)
        assert store.mend() == ""
        assert not store.trouble
        fill(disk)
        store.save(replace(FULL, version="2"))
        assert not store.trouble, "the room that was found is kept for what is written next"


def test_however_long_the_list_of_events_the_store_takes_no_more_memory(folder: Path) -> None:
    sqlite = ctypes.CDLL(_sqlite3.__file__)
    sqlite.sqlite3_memory_used.restype = ctypes.c_int64
    with closing(SqliteStore(folder)) as store:
        before = sqlite.sqlite3_memory_used()
        for number in range(600):
            store.tell(event(number, f"app{number % 50}", text="x" * 10_000))
        store.check()
        assert sum(part.stat().st_size for part in folder.glob("homeport.db*")) > 2 << 20
        assert sqlite.sqlite3_memory_used() - before < 512 << 10
