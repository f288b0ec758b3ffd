"""The status document and the list of events, from a store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from controller.control.queries import (
    activity_document,
    events_list,
    history_document,
    status_document,
    unseen_app,
)
from controller.control.reading import parse_time, rfc3339
from controller.model.activity import Activity
from controller.model.facts import LEFT
from controller.model.record import Condition, Event, Quarantine
from controller.status.store import SqliteStore
from fakes.build import NOON, at, record, target

READY = Condition("Ready", "True", "ReconciliationSucceeded", "all is well", NOON, 1)
HELD = Condition("Ready", "False", "RemovalHeld", "held", NOON, 1)


@pytest.fixture
def store() -> SqliteStore:
    made = SqliteStore.in_memory()
    made.save(
        record(
            "web", display_name="Web", version="1.0.0", observed_generation=1, requires=("db",), conditions=(READY,),
            target=target(), desired_services={"web": {"configHash": "h1", "image": "i"}}, last_reconcile=at(0),
            observed_services={"web": {"state": "running", "containers": ["c"]}}, last_change=at(-60),
        )
    )  # fmt: skip
    made.save(record("db", conditions=(HELD,), last_reconcile=at(0)))
    return made


def app(document: dict[str, Any], name: str = "web") -> dict[str, Any]:
    return next(entry for entry in document["apps"] if entry["name"] == name)


def test_an_app_as_the_interface_shows_it(store: SqliteStore) -> None:
    assert app(status_document(store, {}, at(1), None)) == {
        "name": "web",
        "displayName": "Web",
        "folder": "/apps/web",
        "version": "1.0.0",
        "summary": "Ready",
        "sinceTime": "2026-01-01T12:00:00Z",
        "generation": 1,
        "observedGeneration": 1,
        "target": {"revision": "rev2", "requires": []},
        "desired": {"revision": "rev2", "services": {"web": {"configHash": "h1", "image": "i"}}},
        "observed": {"revision": "rev2", "services": {"web": {"state": "running", "containers": ["c"]}}},
        "requires": ["db"],
        "requiredBy": [],
        "volumes": [],
        "stopped": False,
        "quarantine": None,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "ReconciliationSucceeded",
                "message": "all is well",
                "lastTransitionTime": "2026-01-01T12:00:00Z",
                "observedGeneration": 1,
            }
        ],
        "retries": 0,
        "nextTryTime": None,
        "deadlineTime": None,
        "lastError": None,
        "lastReconcileTime": "2026-01-01T12:00:00Z",
        "lastChangeTime": "2026-01-01T11:59:00Z",
        "activity": None,
    }


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def times_in(document: Any) -> Iterator[str]:
    """What stands in fields for times, however deep."""
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        if isinstance(value, dict | list):
            yield from times_in(value)
        elif str(key).lower().endswith(("time", "lastresync")) and value is not None:
            yield value


def test_every_time_of_a_document_is_written_the_same_way(store: SqliteStore) -> None:
    moment = at(0.123456).astimezone(timezone(timedelta(hours=2)))
    condition = replace(READY, last_transition_time=moment)
    store.save(
        record(
            "db", conditions=(condition,), last_reconcile=moment, last_change=moment, next_try=moment, deadline=moment,
            target=replace(target(), applied_at=moment),
        )
    )  # fmt: skip
    store.tell(Event(moment, "db", "app.changed", "info", "now", {}))
    activity = Activity()
    activity.begin("db", "pull", moment)
    service = {"lastResync": moment.isoformat(), "activity": activity_document(activity.steps())}
    document = [
        status_document(store, service, at(1), None), events_list(store),
        history_document(store.record("db") or record("db")),
    ]  # fmt: skip
    found = list(times_in(document))
    assert len(found) >= 8
    assert [time for time in found if not TIME.fullmatch(time)] == []


def test_the_service_is_passed_on_with_what_is_held(store: SqliteStore) -> None:
    document = status_document(store, {"running": True, "version": "1"}, at(1), None)
    assert document["service"] == {"running": True, "version": "1", "held": ["db"]}
    assert app(document, "db")["requiredBy"] == ["web"]
    assert json.loads(json.dumps(document)) == document


def test_what_is_being_done_is_told_beside_its_app(store: SqliteStore) -> None:
    activity = Activity()
    activity.begin("web", "pull image:1", at(0))
    activity.detail("web", "1 of 2 layers")
    activity.detail("db", "of nothing")
    service = {"running": True, "activity": activity_document(activity.steps())}
    document = status_document(store, service, at(1), None)
    assert app(document)["activity"] == {
        "what": "pull image:1", "detail": "1 of 2 layers", "sinceTime": "2026-01-01T12:00:00Z",
    }  # fmt: skip
    assert app(document, "db")["activity"] is None
    assert "activity" not in document["service"]
    activity.end("web")
    assert activity.steps() == {}


def test_no_engine_makes_everything_unknown_and_keeps_the_last_word(store: SqliteStore) -> None:
    service = {"engine": {"reachable": False, "version": None}}
    assert [
        (a["summary"], a["lastSummary"]) for a in status_document(store, service, at(1), None)["apps"]
    ] == [
        ("Unknown", "Held"),
        ("Unknown", "Ready"),
    ]


def test_since_when_an_app_is_unknown_is_when_it_was_last_known(store: SqliteStore) -> None:
    away = {"engine": {"reachable": False, "sinceTime": "2026-01-01T12:05:00Z"}}
    assert app(status_document(store, away, at(600), None))["sinceTime"] == "2026-01-01T12:05:00Z"
    late = {"lastResync": at(60).isoformat()}
    assert app(status_document(store, late, at(9000), 600))["sinceTime"] == "2026-01-01T12:01:00Z"
    assert unseen_app("new")["sinceTime"] is None


def test_an_engine_of_which_nothing_is_known_hides_nothing(store: SqliteStore) -> None:
    service = {"running": False, "engine": {"reachable": None, "version": None}}
    assert app(status_document(store, service, at(1), None))["summary"] == "Ready"


@pytest.mark.parametrize(
    ("seconds", "last_resync", "word"),
    [
        (600, None, "Ready"),
        (601, None, "Unknown"),
        (601, at(1).isoformat(), "Ready"),
        (602, at(1).isoformat(), "Unknown"),
        (601, at(-500).isoformat(), "Unknown"),
        (601, "rubbish", "Unknown"),
    ],
)
def test_age_counts_from_the_later_of_reconcile_and_resync(
    store: SqliteStore, seconds: float, last_resync: str | None, word: str
) -> None:
    document = status_document(store, {"lastResync": last_resync}, at(seconds), 600)
    assert app(document)["summary"] == word
    assert app(document)["lastReconcileTime"] == "2026-01-01T12:00:00Z"


def test_events_with_their_ids_oldest_first(store: SqliteStore) -> None:
    for second, name in ((0, "web"), (1, "db"), (2, "web")):
        store.tell(Event(at(second), name, "app.changed", "info", f"at {second}", {"n": second}))
    everything = events_list(store)
    assert [event["message"] for event in everything] == ["at 0", "at 1", "at 2"]
    assert everything[0] == {
        "id": everything[0]["id"], "time": "2026-01-01T12:00:00Z", "app": "web", "event": "app.changed", "level": "info",
        "message": "at 0", "fields": {"n": 0},
    }  # fmt: skip
    assert [event["message"] for event in events_list(store, "web", at(1))] == ["at 2"]
    assert [event["message"] for event in events_list(store, after=everything[1]["id"])] == ["at 2"]


def test_what_runs_instead_of_a_quarantined_generation_is_shown(store: SqliteStore) -> None:
    kept_out = Quarantine(4, target(revision="rev1"), "HealthCheckFailed", "web is unhealthy")
    store.save(record("web", quarantine=kept_out, stopped=True))
    shown = app(status_document(store, {}, at(1), None))
    assert shown["stopped"] is True
    assert shown["quarantine"] == {
        "generation": 4, "revision": "rev1", "reason": "HealthCheckFailed", "message": "web is unhealthy",
    }  # fmt: skip


def test_volumes_that_removed_apps_left_are_listed_but_for_those_in_use_again(store: SqliteStore) -> None:
    store.save(record("db", volumes=("p_db_data",)))
    store.put(LEFT + "gone", '["p_gone_a", "p_gone_b"]')
    store.put(LEFT + "db", '["p_db_data"]')
    assert status_document(store, {}, at(1), None)["left"] == {"gone": ["p_gone_a", "p_gone_b"]}


def test_history_is_what_runs_and_what_ran_before_newest_first() -> None:
    now, before = (
        target(revision="sha256:b2", good=False),
        target(revision="sha256:a1"),
    )
    document = history_document(record("web", target=now, history=(before,)))
    assert [(r["revision"], r["good"], r["current"]) for r in document["revisions"]] == [
        ("sha256:b2", False, True),
        ("sha256:a1", True, False),
    ]
    assert document["revisions"][0]["appliedTime"] == "2026-01-01T11:00:00Z"
    assert history_document(record("new")) == {"app": "new", "revisions": [], "quarantine": None}


def test_times() -> None:
    assert parse_time(rfc3339(NOON)) == NOON
    assert parse_time("2026-01-01T12:00:00") == NOON
    assert parse_time(5) is None
