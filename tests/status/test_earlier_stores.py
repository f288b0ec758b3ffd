"""A state that an earlier Homeport wrote: opened, everything in it is still there.

`earlier/` holds one dump for each shape that records have had, written by the Homeport of that day: four apps (Ready twice, one
of them with hooks and a second generation; failing; suspended), their events, and what people said. A change of a shape adds
one; none is ever edited.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controller.model.errors import StateUnusable
from controller.status.codec import to_json
from controller.status.store import DATABASE, SCHEMA, SqliteStore
from controller.status.summary import last_word

DUMPS = sorted((Path(__file__).parent / "earlier").glob("*.sql"))


@pytest.fixture(params=DUMPS, ids=lambda dump: dump.stem)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        database.executescript(request.param.read_text())
    return tmp_path


def written(folder: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        return database.execute(query).fetchall()


def lost(before: Any, now: Any, where: str) -> Iterator[str]:
    """What was there before and is not, or is another, now."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key, value in before.items():
            if key not in now:
                yield f"{where}.{key}"
            else:
                yield from lost(value, now[key], f"{where}.{key}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from lost(one, other, f"{where}[{index}]")
    elif before != now:
        yield f"{where}: {before!r} -> {now!r}"


def test_every_field_of_every_record_is_still_there(folder: Path) -> None:
    before = {app: json.loads(text) for app, text in written(folder, "SELECT app, record FROM records")}
    assert set(before) == {"bad", "db", "lonely", "web"}
    with SqliteStore(folder) as store:
        now = {record.name: json.loads(to_json(record)) for record in store.records()}
        assert store.notice == "", "no database was set aside"
    assert list(lost(before, now, "")) == []


def test_what_was_true_and_said_is_still_so(folder: Path) -> None:
    with SqliteStore(folder) as store:
        words = {record.name: last_word(record) for record in store.records()}
        assert words == {"bad": "Failed", "db": "Ready", "lonely": "Suspended", "web": "Ready"}
        web = store.record("web")
        assert web is not None
        assert web.target is not None
        assert web.target.good
        assert web.generation == 2
        assert web.on_install["db"].phase == "done"
        assert store.get("stopped:web") == "1"
        assert store.get("root_id") == "11111111-2222-3333-4444-555555555555"
        assert store.facts("left:") == {"old": '["furtka_old_data"]'}


def test_every_event_is_still_told_and_new_ones_follow(folder: Path) -> None:
    before = written(folder, "SELECT id, time, app, name, message FROM events ORDER BY id")
    assert len(before) >= 30
    with SqliteStore(folder) as store:
        told = store.events()
        assert [(n, e.app, e.name, e.message) for n, e in told] == [
            (n, app, name, m) for n, _, app, name, m in before
        ]
        store.tell(told[0][1])
        assert store.events()[-1][0] > before[-1][0]


def test_a_look_at_it_without_a_service_finds_the_same(folder: Path) -> None:
    with SqliteStore(folder) as store:
        records = store.records()
    with closing(SqliteStore.open_readonly(folder)) as store:
        assert store.records() == records


def test_a_state_of_a_later_homeport_is_refused_and_left_as_it_is(folder: Path) -> None:
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    before = (folder / DATABASE).read_bytes()
    with pytest.raises(StateUnusable, match="newer"):
        SqliteStore(folder)
    with pytest.raises(StateUnusable, match="newer"):
        SqliteStore.open_readonly(folder)
    assert (folder / DATABASE).read_bytes() == before


def test_the_last_dump_has_the_shape_of_today() -> None:
    # Fails when a record gets another field: then `make.py` writes a dump of the new shape, to lie beside the others.
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(DUMPS[-1].read_text())
        ((text,),) = database.execute("SELECT record FROM records WHERE app = 'web'").fetchall()
    from controller.model.record import Record
    from controller.status.codec import from_json

    def shape(value: Any) -> Any:
        return {key: shape(inner) for key, inner in value.items()} if isinstance(value, dict) else None

    written_then = json.loads(text)
    assert shape(json.loads(to_json(from_json(Record, text)))) == shape(written_then)
