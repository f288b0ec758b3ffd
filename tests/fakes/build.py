"""Tiny builders of values, so that a test says only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from controller.model.desired import Present
from controller.model.manifest import Manifest
from controller.model.observed import Container, Observed, Rendered, Service
from controller.model.record import AppliedService, LedgerEntry, Record, Target
from controller.planner.gates import Provider
from fakes.tree import manifest

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def present(
    name: str = "web", *, env: dict[str, str] | None = None, seeds: tuple[str, ...] = (), **fields: Any
) -> Present:
    """An app on disk."""
    return Present(
        name, f"/apps/{name}", Manifest.model_validate(manifest(name, **fields)), "rev2", (), env or {}, seeds
    )


def service(name: str = "web", config_hash: str = "h1", **fields: Any) -> Service:
    """One service of a rendered model."""
    return Service(name, config_hash, "image:1", **fields)


def rendered(*services: Service, revision: str = "rev2") -> Rendered:
    """A rendered model."""
    return Rendered(revision, services or (service(),), "{}")


def container(name: str = "web", config_hash: str = "h1", state: str = "running", **fields: Any) -> Container:
    """The first container of a service."""
    defaults: dict[str, Any] = {"started_at": "2026-01-01T11:00:00Z", "networks": ("net1",)}
    return Container(
        f"id-{name}",
        f"app-{name}-1",
        name,
        1,
        config_hash,
        "image:1",
        "sha256:i1",
        state,
        **(defaults | fields),
    )


def observed(*containers: Container, volumes: dict[str, str] | None = None) -> Observed:
    """What the engine shows."""
    return Observed(containers, volumes or {})


def target(
    *services: str, revision: str = "rev2", requires: tuple[str, ...] = (), good: bool = True, **applied: Any
) -> Target:
    """What was applied: each service with hash h1 on net1."""
    fields: dict[str, Any] = {"networks": ("net1",)} | applied
    return Target(
        revision, 1, {name: AppliedService("h1", "image:1", ("sha256:i1",), **fields) for name in services or ("web",)},
        at(-3600), requires, good,
    )  # fmt: skip


def record(name: str = "web", **fields: Any) -> Record:
    """What is remembered of an app."""
    return Record(name, **({"folder": f"/apps/{name}", "generation": 1, "revision": "rev2"} | fields))


def provider(name: str = "db", **fields: Any) -> Provider:
    """An available provider."""
    return Provider(
        name,
        **(
            {"known": True, "available": True, "incarnation": "i1", "volumes": "v@1", "container": "c1"}
            | fields
        ),
    )


def ledger(*keys: str, phase: str = "done", volumes: str = "v@1") -> LedgerEntry:
    """on_install has run."""
    return LedgerEntry(
        "done" if phase == "done" else "started", "scripts/i.sh", "sha256:x", volumes, keys, at(-60)
    )
