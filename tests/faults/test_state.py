"""The state folder: full, read-only, locked, damaged, gone, of another time. No app is ever touched for it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.model.facts import ROOT_ID
from controller.model.record import Record
from controller.status.store import SqliteStore
from rig.disks import fill, make_room, read_only, small_disk
from rig.engine import api
from rig.pair import in_provider, put_consumer, put_provider
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

LABEL = "    labels: {edited: '%s'}\n"


@pytest.fixture
def disk(home: Home) -> Iterator[Path]:
    """The state folder of this home is a small disk of its own; the service is stopped before it goes."""
    with small_disk(home.state) as folder:
        yield folder
        home.stop()


def edit(home: Home, short: str, text: str) -> None:
    (home.apps / home.name(short) / "docker-compose.yaml").write_text(SLEEPER + LABEL % text)


def is_edited(home: Home, short: str, text: str) -> bool:
    containers = home.containers(short).values()
    return [c["Config"]["Labels"].get("edited") for c in containers if c["State"]["Running"]] == [text]


def database(home: Home) -> Path:
    return home.state / "homeport.db"


def installs(home: Home) -> int:
    return in_provider(home, "cat", "/data/installs").count("\n")


# -- cannot be written --------------------------------------------------------------------------------


@pytest.mark.fault("F01")
def test_a_full_disk_under_the_state_is_said_begins_nothing_and_heals_by_itself(
    home: Home, disk: Path
) -> None:
    for short in ("edited", "gone", "calm"):
        home.put(short)
    home.start()
    for short in ("edited", "gone", "calm"):
        home.wait(short, "Ready")
    before = home.ids()
    fill(disk)
    edit(home, "edited", "late")
    with api(home.engine) as client:
        client.remove_container(f"{home.name('gone')}-main-1", force=True)
    home.put("new")
    wait_until(lambda: home.log("state.lost"), "the log says so")

    told = home.run("status", home.name("calm"))
    assert "database or disk is full" in told.stdout
    assert "what runs goes on running" in told.stdout
    assert "Unknown" in told.stdout, "what is not noted is not known"
    assert "make room" in home.run("why", home.name("calm")).stdout
    assert home.ids() == {name: at for name, at in before.items() if home.name("gone") not in name}

    make_room(disk)
    for short, text in (("edited", "late"), ("gone", None), ("calm", None), ("new", None)):
        wait_until(lambda s=short, t=text: is_edited(home, s, t), f"{short} is as it should be")
        home.wait(short, "Ready")
    assert [line["level"] for line in home.log("state.lost")] == ["error"], "it is said once"
    assert len(home.log("state.back")) == 1
    assert home.ids("calm").items() <= before.items()


@pytest.mark.fault("F01")
def test_a_service_stops_and_does_not_start_on_a_full_disk_and_loses_nothing(home: Home, disk: Path) -> None:
    put_provider(home)
    put_consumer(home)
    home.start()
    home.wait("app", "Ready")
    before = home.ids()
    fill(disk)
    assert home.stop() == 0
    fill(disk)  # the log of the database went with the service, and left some room
    refused = home.run("run")
    assert refused.returncode != 0
    assert "full" in refused.stderr or "No space left" in refused.stderr
    assert "Traceback" not in refused.stderr
    make_room(disk)
    home.start()
    home.wait("app", "Ready")
    assert home.ids() == before
    assert installs(home) == 1
    assert not home.log("state.rebuilt")


@pytest.mark.fault("F01")
def test_a_read_only_disk_under_the_state_is_said_and_touches_no_app(home: Home, disk: Path) -> None:
    home.put("one")
    home.start()
    home.wait("one", "Ready")
    before = home.ids()
    home.stop()
    with read_only(disk):
        refused = home.run("run")
        assert refused.returncode != 0
        assert "Read-only file system" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert "one" in home.run("status").stdout, "what was recorded can be read"
    home.start()
    home.wait("one", "Ready")
    assert home.ids() == before


@pytest.mark.fault("F01")
@pytest.mark.slow  # a writer waits five seconds for another before it gives up
def test_a_database_that_another_process_locks_is_said_and_waited_for(home: Home) -> None:
    home.put("edited")
    home.put("calm")
    home.start()
    for short in ("edited", "calm"):
        home.wait(short, "Ready")
    before = home.ids()
    with contextlib.closing(sqlite3.connect(database(home), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        edit(home, "edited", "late")
        wait_until(lambda: home.log("state.lost"), "the log says so", 30)
        assert "locked" in home.log("state.lost")[0]["message"]
        assert "locked" in home.run("status").stdout
        assert home.ids() == before
        other.execute("ROLLBACK")
    wait_until(lambda: is_edited(home, "edited", "late"), "the edit arrives", 30)
    wait_until(lambda: home.log("state.back"), "the log says so")
    assert home.ids("calm").items() <= before.items()
    assert not home.log("state.rebuilt")


# -- damaged ------------------------------------------------------------------------------------------


def flip_bytes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:12288] = bytes(byte ^ 0xFF for byte in content[4096:12288])
    path.write_bytes(content)


def half_a_page(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def other_wal(path: Path) -> None:
    """The log of another database beside ours: SQLite takes in whatever it can read of it."""
    other = path.with_name("other.db")
    with contextlib.closing(sqlite3.connect(other, isolation_level=None)) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("CREATE TABLE t (x)")
        made.executemany("INSERT INTO t VALUES (?)", [("x" * 900,) for _ in range(40)])
        shutil.copy(other.with_name("other.db-wal"), path.with_name(path.name + "-wal"))
    for name in ("other.db", "other.db-wal", "other.db-shm"):
        path.with_name(name).unlink(missing_ok=True)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped bytes": flip_bytes,
    "no byte left": lambda path: os.truncate(path, 0),
    "half a page": half_a_page,
    "another header": lambda path: path.write_bytes(b"garbage!" * 700),
    "the log of another database": other_wal,
}


@pytest.mark.fault("F02")
@pytest.mark.slow  # a restart for each kind of damage
def test_a_damaged_state_is_set_aside_said_loudly_and_found_again_from_what_runs(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    home.put("alone")
    home.start()
    for short in ("db", "app", "alone"):
        home.wait(short, "Ready")
    before = home.ids()
    for how, damage in DAMAGES.items():
        home.stop()
        damage(database(home))
        said = len(home.log("state.rebuilt"))
        home.start()
        (rebuilt,) = home.log("state.rebuilt")[said:]
        assert rebuilt["level"] == "error", how
        assert "begun anew" in rebuilt["message"], how
        for short in ("db", "app", "alone"):
            home.wait(short, "Ready")
        assert home.ids() == before, how
    assert installs(home) == 1
    aside = [
        file for file in home.state.glob("homeport.db.damaged-*") if not file.name.endswith(("-wal", "-shm"))
    ]
    assert len(aside) == len(DAMAGES) - 1, "nothing is thrown away but what is empty"
    said = len(home.log("state.rebuilt"))
    home.stop()
    home.start()
    assert len(home.log("state.rebuilt")) == said, "it is said once"


@pytest.mark.fault("F02")
def test_a_log_that_is_missing_after_a_crash_touches_no_app(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    home.start()
    home.wait("app", "Ready")
    before = home.ids()
    home.kill9()
    (home.state / "homeport.db-wal").unlink()
    home.start()
    assert home.log("state.rebuilt"), "the database without its log is empty, and that is said"
    for short in ("db", "app"):
        home.wait(short, "Ready")
    assert home.ids() == before
    assert installs(home) == 1


@pytest.mark.fault("F02")
def test_the_state_of_another_tree_that_gets_in_by_its_log_touches_no_app(home: Home, tmp_path: Path) -> None:
    for short in ("one", "two"):
        home.put(short)
    home.start()
    for short in ("one", "two"):
        home.wait(short, "Ready")
    before = home.ids()
    home.stop()
    home.settings["removal-settle"] = "0.2"
    with contextlib.closing(SqliteStore(tmp_path / "other")) as other:
        other.save(Record("stranger", folder="/elsewhere/stranger", generation=1))
        other.put(ROOT_ID, "another")
        shutil.copy(tmp_path / "other" / "homeport.db-wal", home.state)
        home.start()
    wait_until(lambda: home.log("tree.lost"), "the tree is not the one of that state, and that is said")
    home.run("reconcile")
    assert home.ids() == before


@pytest.mark.fault("F02")
def test_a_database_damaged_while_the_service_runs_is_written_anew_from_memory(home: Home) -> None:
    home.settings["resync"] = "2"
    home.put("one")
    home.put("kept")
    home.start()
    for short in ("one", "kept"):
        home.wait(short, "Ready")
    assert home.run("suspend", home.name("kept")).returncode == 0
    home.wait("kept", "Suspended")
    before = home.ids()
    # Into the files that SQLite has open: it would find out when it is too late. Both are opened before either is
    # damaged: by the time of the second, what stands under its name may be the new one.
    with contextlib.ExitStack() as opened:
        for file in [
            opened.enter_context((home.state / name).open("r+b"))
            for name in ("homeport.db", "homeport.db-wal")
        ]:
            file.write(b"\xa5" * max(os.fstat(file.fileno()).st_size, 65536))
    edit(home, "one", "late")
    wait_until(lambda: home.log("state.rebuilt"), "it is found and said", 20)
    wait_until(lambda: is_edited(home, "one", "late"), "the edit arrives", 20)
    home.wait("one", "Ready")
    home.wait("kept", "Suspended")
    assert home.ids("kept").items() <= before.items()
    home.kill9()
    home.start()
    home.wait("kept", "Suspended")
    assert len(home.log("state.rebuilt")) == 1


# -- gone ---------------------------------------------------------------------------------------------


@pytest.mark.fault("F03")
@pytest.mark.parametrize("what", ["the database", "the folder"])
def test_a_state_deleted_while_the_service_runs_is_written_anew_and_nothing_is_forgotten(
    home: Home, what: str
) -> None:
    put_provider(home)
    put_consumer(home)
    home.put("kept")
    home.start()
    for short in ("db", "app", "kept"):
        home.wait(short, "Ready")
    home.run("suspend", home.name("kept"))
    home.wait("kept", "Suspended")
    before = home.ids()
    if what == "the folder":
        shutil.rmtree(home.state)
    else:
        database(home).unlink()
    wait_until(lambda: home.log("state.rebuilt"), "it is seen by the next scan")
    home.wait("kept", "Suspended")
    home.kill9()
    home.start()
    for short in ("db", "app"):
        home.wait(short, "Ready")
    home.wait("kept", "Suspended")
    assert home.ids() == before
    assert installs(home) == 1
    assert len(home.log("state.rebuilt")) == 1


# -- of another time ----------------------------------------------------------------------------------

FIRST_TABLES = """
CREATE TABLE records (app TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY, time TEXT NOT NULL, app TEXT NOT NULL, name TEXT NOT NULL, level TEXT NOT NULL,
    message TEXT NOT NULL, fields TEXT NOT NULL
);
CREATE INDEX events_of_app ON events (app, id);
PRAGMA user_version = 1;
"""
FIRST_RECORD = [
    "name",
    "folder",
    "display_name",
    "version",
    "generation",
    "observed_generation",
    "revision",
    "own_write",
    "desired_services",
    "observed_services",
    "target",
    "conditions",
    "requires",
    "volumes",
    "exec_service",
    "suspended",
    "suspended_by_manifest",
    "on_install",
    "on_start",
    "incarnation",
    "available",
    "completed",
    "started_at",
    "unstable_since",
    "retries",
    "next_try",
    "last_error",
    "last_reconcile",
    "last_change",
]
FIRST_TARGET = ["revision", "generation", "services", "applied_at", "requires", "good"]
FIRST_SERVICE = ["config_hash", "image", "image_ids", "networks", "owner"]
FIRST_LEDGER = ["phase", "script", "digest", "volumes", "keys", "at"]
FIRST_MODEL = ["revision", "services", "document", "external_volumes"]
FIRST_MODEL_SERVICE = [
    "name",
    "config_hash",
    "image",
    "scale",
    "restart",
    "has_healthcheck",
    "is_job",
    "binds",
    "ports",
    "shares_with",
]
"""What the first schema 1 knew; all else came later."""


def only(document: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key in fields}


def as_first_written(text: str) -> str:
    """A record as the first version of schema 1 wrote it."""
    record = only(json.loads(text), FIRST_RECORD)
    target = record["target"] = only(record["target"], FIRST_TARGET)
    target["services"] = {name: only(service, FIRST_SERVICE) for name, service in target["services"].items()}
    record["on_install"] = {name: only(entry, FIRST_LEDGER) for name, entry in record["on_install"].items()}
    return json.dumps(record)


@pytest.mark.fault("F04")
def test_a_state_as_the_first_version_wrote_it_is_taken_on_and_touches_no_app(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    mounts = "    volumes: ['./app.conf:/etc/app.conf:ro', './conf.d:/etc/conf.d:ro', './data:/data']\n"
    home.put("files", SLEEPER + mounts, {"app.conf": "a\n", "conf.d/x": "x\n", "data/y": "y\n"})
    home.start()
    for short in ("db", "app", "files"):
        home.wait(short, "Ready")
    before = home.ids()
    home.stop()

    with contextlib.closing(sqlite3.connect(database(home))) as now:
        records = now.execute("SELECT app, record FROM records").fetchall()
        root = now.execute("SELECT key, value FROM facts WHERE key = ?", (ROOT_ID,)).fetchall()
    database(home).unlink()
    with contextlib.closing(sqlite3.connect(database(home))) as first:
        first.executescript(FIRST_TABLES)
        first.executemany(
            "INSERT INTO records VALUES (?, ?)", [(app, as_first_written(r)) for app, r in records]
        )
        first.executemany("INSERT INTO facts VALUES (?, ?)", root)
        first.commit()
    for file in (home.state / "models").glob("*/*.json"):
        model = only(json.loads(file.read_text()), FIRST_MODEL)
        model["services"] = [only(service, FIRST_MODEL_SERVICE) for service in model["services"]]
        file.write_text(json.dumps(model | {"needs_network": False}))

    done = len(home.log("action.done"))
    home.start()
    home.run("reconcile")
    for short in ("db", "app", "files"):
        home.wait(short, "Ready")
    assert home.ids() == before
    assert installs(home) == 1
    assert len(home.log("action.done")) == done, "nothing had to be done"
    assert not home.log("state.rebuilt")
    (home.apps / home.name("files") / "app.conf").write_text("b\n")
    wait_until(lambda: home.inside("files", "/etc/app.conf") == "b\n", "an edit arrives as ever")
    home.wait("files", "Ready")


@pytest.mark.fault("F04")
def test_a_state_of_a_newer_version_is_left_as_it_is_and_so_are_the_apps(home: Home) -> None:
    home.put("one")
    home.start()
    home.wait("one", "Ready")
    before = home.ids()
    home.stop()
    with contextlib.closing(sqlite3.connect(database(home), isolation_level=None)) as newer:
        newer.execute("PRAGMA user_version = 99")
    content = database(home).read_bytes()
    for command in ("run", "status"):
        refused = home.run(command)
        assert refused.returncode != 0
        assert "written by a newer Homeport" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert database(home).read_bytes() == content
    assert home.ids() == before


@pytest.mark.fault("F04")
@pytest.mark.slow
def test_a_state_put_back_from_long_ago_removes_nothing_and_ends_as_the_folders_say(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    for short in ("edited", "again", "gone"):
        home.put(short)
    home.start()
    for short in ("db", "app", "edited", "again", "gone"):
        home.wait(short, "Ready")
    shutil.rmtree(home.apps / home.name("again"))
    wait_until(lambda: home.log("app.removing", "again"), "its removal has begun")
    home.kill9()  # a state that holds a removal in its middle
    old = home.apps.parent / "old"
    shutil.copytree(home.state, old, ignore=shutil.ignore_patterns("*.sock"))
    home.start()
    wait_until(lambda: home.log("app.removed", "again"), "it is removed")
    home.put("again", SLEEPER + LABEL % "again")
    home.put("new")
    edit(home, "edited", "late")
    shutil.rmtree(home.apps / home.name("gone"))
    for short, text in (("again", "again"), ("edited", "late"), ("new", None)):
        wait_until(lambda s=short, t=text: is_edited(home, s, t), f"{short} is as it should be")
        home.wait(short, "Ready")
    wait_until(lambda: home.log("app.removed", "gone"), "it is removed, too")
    before = home.ids()
    home.stop()
    shutil.rmtree(home.state)
    shutil.copytree(old, home.state)

    removals = len(home.log("app.removing"))
    home.start()
    home.run("reconcile")
    for short in ("db", "app", "edited", "again", "new"):
        home.wait(short, "Ready")
    wait_until(lambda: home.status("gone") is None, "what is gone since is forgotten")
    assert home.ids() == before
    assert [line["app"] for line in home.log("app.removing")[removals:]] in ([], [home.name("gone")])
    assert installs(home) == 1
