"""Made-up apps, one for each word of the status that people meet often, at one fixed moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from controller.model.record import Condition, Event, Quarantine, Record
from controller.planner.rollback import describe
from controller.status.store import SqliteStore
from fakes.build import target

NOW = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)
ROOT = "/var/lib/homeport/apps"
SERVICE: Mapping[str, Any] = {
    "running": True, "version": "0.1.0", "engine": {"reachable": True, "version": "28.5.1"}, "appsRoot": ROOT,
    "lastResync": "2026-03-14T12:29:10Z",
    "activity": {"photos": {
        "what": "pull ghcr.io/example/photos:1.4, docker.io/library/postgres:16", "detail": "5 of 12 layers, 61.3 of 212.9 MB",
        "sinceTime": "2026-03-14T12:29:19Z",
    }},
}  # fmt: skip


def ago(**span: float) -> datetime:
    """Before that moment."""
    return NOW - timedelta(**span)


def app(name: str, status: str, reason: str, message: str, since: datetime, **fields: Any) -> Record:
    """An app whose Ready condition says this; it runs one service unless `fields` say otherwise."""
    revision = "sha256:" + (name.encode().hex() * 8)[:64]
    conditions = (Condition("Ready", status, reason, message, since, 1), *fields.pop("conditions", ()))  # type: ignore[arg-type]
    runs = {
        "folder": f"{ROOT}/{name}", "generation": 3, "observed_generation": 3, "revision": revision, "version": "1.4.0",
        "desired_services": {"main": {"image": f"ghcr.io/example/{name}:1.4"}},
        "observed_services": {
            "main": {"image": f"ghcr.io/example/{name}:1.4", "state": "running", "health": "healthy", "restarts": 0},
        },
        "target": target("main", revision=revision), "last_reconcile": ago(seconds=20), "available": status == "True",
    }  # fmt: skip
    return Record(name, conditions=conditions, **{**runs, **fields})


def condition(kind: str, reason: str, message: str, since: datetime) -> Condition:
    """One that is True."""
    return Condition(kind, "True", reason, message, since, 3)


def fleet() -> SqliteStore:
    """The store with all of them and what happened."""
    store = SqliteStore.in_memory()
    none: dict[str, Any] = {
        "target": None,
        "observed_services": {},
        "observed_generation": -1,
        "generation": 1,
    }
    pulling = "pull ghcr.io/example/photos:1.4, docker.io/library/postgres:16: not on this machine yet"
    failure = "pulling the images of invoices: manifest for registry.example.org/team/invoices:2.0 not found"
    placeholder = "GUESTBOOK_OWNER is a placeholder; OWNER_MAIL is empty"
    edit = "compose_up zigbee2mqtt: service main: config hash differs (image zigbee2mqtt:2.0 becomes zigbee2mqtt:2.1)"
    good = "ReconciliationSucceeded"
    cause = "service main: health check fails; main said last: django.db.utils.OperationalError: no such table: documents"
    kept_out = Quarantine(
        4, replace(target("main", revision="sha256:" + "ab" * 32), generation=3), "HealthCheckFailed", cause
    )
    for record in (
        app("mosquitto", "True", good, "runs generation 3", ago(days=9), display_name="Eclipse Mosquitto",
            volumes=("furtka_mosquitto_data",)),
        app("zigbee2mqtt", "True", good, "runs generation 3", ago(hours=5), display_name="Zigbee2MQTT",
            requires=("mosquitto",), version="2.1.0"),
        app("guestbook", "False", "NeedsConfiguration", placeholder, ago(minutes=12), **none,
            conditions=(condition("Stalled", "NeedsConfiguration", placeholder, ago(minutes=12)),)),
        app("photos", "False", "Progressing", pulling, ago(seconds=41), **none,
            conditions=(condition("Reconciling", "Progressing", pulling, ago(seconds=41)),)),
        app("wiki", "False", "Progressing", "service main: health check is starting", ago(seconds=35),
            started_at=ago(seconds=35), deadline=NOW + timedelta(seconds=265),
            observed_services={"main": {"image": "ghcr.io/example/wiki:1.4", "state": "running", "health": "starting",
                                        "restarts": 0}},
            conditions=(condition("Reconciling", "Progressing", "service main: health check is starting", ago(seconds=35)),)),
        app("invoices", "False", "PullFailed", failure, ago(minutes=25), retries=6, next_try=NOW + timedelta(seconds=38),
            observed_generation=2, last_error=f"PullFailed: {failure}",
            conditions=(condition("Reconciling", "ProgressingWithRetry", failure, ago(minutes=25)),)),
        app("reports", "False", "DependencyNotReady", "invoices is not available", ago(minutes=25), **none,
            requires=("invoices",), version="0.9.2"),
        app("broken-manifest", "False", "SourceInvalid",
            "manifest.json: line 7: ports.0: must be a whole number from 1 to 65535", ago(hours=2), **none,
            conditions=(condition("Stalled", "SourceInvalid", "manifest.json", ago(hours=2)),)),
        app("paperless", "False", "RolledBack", describe(kept_out), ago(days=1), generation=4, observed_generation=4,
            quarantine=kept_out, conditions=(condition("Stalled", "RolledBack", describe(kept_out), ago(days=1)),)),
        app("radio", "False", "Stopped", "stopped by command", ago(days=3), stopped=True,
            observed_services={"main": {"image": "ghcr.io/example/radio:1.4", "state": "exited", "restarts": 0}}),
    ):  # fmt: skip
        store.save(record)
    for second, name, event, level, message in (
        (90000, "zigbee2mqtt", "app.discovered", "info", "new app folder"),
        (86430, "paperless", "app.rolling_back", "error", f"generation 4 failed, going back to 3: {cause}"),
        (86400, "paperless", "app.rolled_back", "error",
         f"{describe(kept_out)}. 4 is not tried again until an input changes or you say `homeport reconcile paperless`"),
        (18030, "zigbee2mqtt", "app.changed", "info", "docker-compose.yaml, .env changed"),
        (18020, "zigbee2mqtt", "app.progressing", "info",
         edit),
        (18010, "zigbee2mqtt", "action.done", "info", edit),
        (18000, "zigbee2mqtt", "app.ready", "info", "runs generation 3"),
        (1500, "invoices", "app.failed", "error", f"{failure}; next try in 1 s"),
        (720, "guestbook", "app.needs_configuration", "warning", placeholder),
        (41, "photos", "app.progressing", "info", pulling),
    ):  # fmt: skip
        fields = {"files": ["docker-compose.yaml", ".env"]} if event == "app.changed" else {}
        store.tell(Event(ago(seconds=second), name, event, level, message, fields))
    return store
