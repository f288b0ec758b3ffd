"""Whether anything may be done on the engine that answers: it has something of what is on record, or a person says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from controller.complaints import Complaints
from controller.control.errors import Refused
from controller.known_engine import AWAY, NOT_SEEN, KnownEngine
from controller.model.errors import EngineUnreachable, StateUnusable
from controller.model.facts import ENGINE_TROUBLE
from controller.model.observed import Observed
from controller.status.store import SqliteStore
from fakes.build import record, target
from fakes.clock import SteppedClock
from fakes.engine import FakeEngine

VOLUME = "furtka_web_data"


class Known:
    """An engine in memory, and what is known and said of it."""

    def __init__(self, store: SqliteStore) -> None:
        self.engine, self.store = FakeEngine(), store
        self.said: list[str] = []
        complaints = Complaints(lambda name, *_: self.said.append(name))
        self.clock = SteppedClock()
        self.known = KnownEngine(
            self.engine, store, self.clock, complaints, lambda name, *_: self.said.append(name)
        )

    def install(self) -> None:
        self.engine.ensure_volume(VOLUME, "web")
        self.store.save(record("web", target=target("web"), volumes=(VOLUME,)))

    def wipe(self) -> None:
        self.engine.volumes.clear()


@pytest.fixture
def there() -> Iterator[Known]:
    with closing(SqliteStore.in_memory()) as store:
        yield Known(store)


def test_nothing_is_done_before_the_engine_was_looked_at_nor_while_it_is_away(there: Known) -> None:
    there.known.expect()
    assert there.known.trouble == NOT_SEEN
    there.known.recognize()
    assert there.known.trouble is None
    there.known.lose()
    assert there.known.trouble == AWAY


def test_since_when_nothing_is_done_on_the_engine_is_kept_over_a_restart(there: Known) -> None:
    there.known.lose()
    began = there.known.describe()["sinceTime"]
    there.clock.advance(60)
    again = Known(there.store)
    again.clock.advance(120)
    again.known.expect()
    again.known.lose()
    assert again.known.describe()["sinceTime"] == began is not None
    again.known.recognize()
    assert again.known.describe()["sinceTime"] is None
    again.known.lose()
    assert again.known.describe()["sinceTime"] not in (None, began)


def test_a_look_that_began_before_the_engine_was_lost_says_nothing_of_who_answers_next(there: Known) -> None:
    there.install()
    look = there.engine.observe

    def lost_meanwhile(app: str, folders: Sequence[str], volumes: Sequence[str]) -> Observed:
        there.known.lose()
        return look(app, folders, volumes)

    there.engine.observe = lost_meanwhile  # type: ignore[method-assign]
    with pytest.raises(EngineUnreachable):
        there.known.recognize()
    assert there.known.trouble == there.store.get(ENGINE_TROUBLE) == AWAY


def test_an_engine_that_has_nothing_of_ours_is_strange_until_something_of_ours_is_there(there: Known) -> None:
    there.install()
    there.known.recognize()
    assert there.known.describe()["reachable"]
    there.wipe()
    for _ in range(2):
        there.known.recognize()
    described = there.known.describe()
    assert not described["reachable"]
    assert VOLUME in str(described["message"])
    there.engine.ensure_volume(VOLUME, "web")
    there.known.recognize()
    assert there.known.trouble is None
    assert there.said == ["engine.strange", "engine.known"]


def test_where_nothing_was_ever_installed_every_engine_is_ours(there: Known) -> None:
    there.store.save(record("web"))
    there.known.recognize()
    assert there.known.trouble is None


def test_a_person_takes_an_engine_that_has_nothing_and_no_other(there: Known) -> None:
    there.install()
    there.known.recognize()
    with pytest.raises(Refused):
        there.known.take(lambda: True)
    there.wipe()
    there.known.recognize()
    there.known.take(lambda: True)
    assert there.known.trouble is None
    assert there.store.records() == ()
    assert there.said == ["engine.strange", "engine.taken"]


def test_what_a_run_that_began_before_saves_makes_nobody_be_asked_twice(there: Known) -> None:
    there.install()
    before = there.store.records()
    there.wipe()
    there.known.recognize()

    def ends() -> bool:
        assert there.known.trouble is not None, "nothing begins meanwhile"
        for one in before:
            there.store.save(one)
        return True

    there.known.take(ends)
    assert there.store.records() == ()
    there.known.recognize()
    assert there.said == ["engine.strange", "engine.taken"]


def test_an_engine_is_not_taken_while_what_began_before_does_not_end(there: Known) -> None:
    there.install()
    there.wipe()
    with pytest.raises(Refused, match="still under way"):
        there.known.take(lambda: False)
    assert [record.name for record in there.store.records()] == ["web"]
    assert there.said == ["engine.strange"]


def test_an_engine_found_to_be_ours_while_what_began_before_is_waited_for_is_not_taken(there: Known) -> None:
    there.install()
    there.wipe()
    there.known.recognize()

    def its_disk_is_mounted() -> bool:
        there.engine.ensure_volume(VOLUME, "web")
        there.known.recognize()
        return True

    with pytest.raises(Refused, match="is the one on record"):
        there.known.take(its_disk_is_mounted)
    assert [record.name for record in there.store.records()] == ["web"]
    assert there.said == ["engine.strange", "engine.known"]


def test_an_engine_is_taken_by_one_person_at_a_time(there: Known) -> None:
    there.install()
    there.wipe()

    def another_says_it() -> bool:
        with pytest.raises(Refused, match="already"):
            there.known.take(lambda: True)
        assert [record.name for record in there.store.records()] == ["web"]
        return True

    there.known.take(another_says_it)
    assert there.store.records() == ()
    assert there.said == ["engine.strange", "engine.taken"]
    with pytest.raises(Refused, match="is the one on record"):
        there.known.take(lambda: True)


def test_a_run_that_began_before_changes_nothing_on_an_engine_that_is_strange_by_now(there: Known) -> None:
    there.install()
    there.known.recognize()
    engine = there.known.guarded()
    assert engine.ensure_volume("other", "web")
    there.wipe()
    there.known.recognize()
    with pytest.raises(EngineUnreachable, match="none of the 1 apps on record"):
        engine.ensure_volume(VOLUME, "web")
    assert not there.engine.volumes
    assert not engine.observe("web", (), (VOLUME,)).volumes, "looking is no harm"


def test_what_cannot_be_written_down_is_known_all_the_same_and_written_when_it_can(
    there: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """seed 910: on a full disk an engine without its disk was taken for the one on record."""
    there.install()
    there.known.recognize()
    there.wipe()

    def full(_key: str, _value: str | None) -> None:
        raise StateUnusable("database or disk is full")

    with monkeypatch.context() as disk:
        disk.setattr(there.store, "put", full)
        there.known.recognize()
    with pytest.raises(EngineUnreachable):
        there.known.guarded().ensure_volume(VOLUME, "web")
    there.known.remember()
    assert there.store.get(ENGINE_TROUBLE) == there.known.trouble
