"""Which volumes a person means, and that no other can be meant."""

from __future__ import annotations

import pytest

from controller.control.errors import Refused
from controller.control.volumes import choose, forget_left, left, left_by
from controller.model.facts import LEFT
from controller.status.store import SqliteStore
from fakes.build import record


@pytest.fixture
def store() -> SqliteStore:
    made = SqliteStore.in_memory()
    made.save(record("web", volumes=("p_web_data", "p_web_web_log")))
    made.put(LEFT + "web", '["p_web_old", "p_web_data"]')
    return made


def test_a_volume_is_named_in_full_or_as_in_the_manifest(store: SqliteStore) -> None:
    assert choose(store, "web", ("data", "p_web_old", "p_web_data")) == ("p_web_data", "p_web_old")
    assert choose(store, "web", ("web_log",)) == ("p_web_web_log",)


@pytest.mark.parametrize("name", ["log", "", "ata", "p_web", "p_db_data", "web_data", "P_WEB_DATA"])
def test_what_is_no_volume_of_the_app_is_refused_with_those_that_are(store: SqliteStore, name: str) -> None:
    with pytest.raises(Refused, match="can be purged: p_web_data, p_web_web_log, p_web_old"):
        choose(store, "web", ("data", name))


def test_an_app_without_volumes_has_nothing_to_purge(store: SqliteStore) -> None:
    store.save(record("db"))
    with pytest.raises(Refused, match="nothing to purge"):
        choose(store, "db", ("data",))


def test_what_an_app_has_again_it_no_longer_leaves(store: SqliteStore) -> None:
    assert left(store) == {"web": ("p_web_old",)}
    store.forget("web")
    assert left_by(store, "web") == ("p_web_old", "p_web_data")


def test_the_fact_ends_with_the_last_volume(store: SqliteStore) -> None:
    store.forget("web")
    forget_left(store, "web", "p_web_old")
    assert left(store) == {"web": ("p_web_data",)}
    forget_left(store, "web", "p_web_data")
    assert store.get(LEFT + "web") is None
