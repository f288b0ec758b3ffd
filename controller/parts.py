"""Parts: how each part that needs settings is made of them, for the service and for a look without one.

Who knows whom is the manager's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.engine.docker_engine import DockerEngine
from controller.engine.endpoint import resolve_endpoint
from controller.model.desired import Present
from controller.model.facts import ROOT_ID
from controller.model.plan import Action, Plan
from controller.model.ports import Clock
from controller.planner.gates import order
from controller.reconciler import Policy
from controller.source.lock import TreeLock
from controller.source.tree import AppsTree
from controller.status.store import SqliteStore
from controller.status.taken_in import TakenIn

if TYPE_CHECKING:
    from controller.settings import Settings


def policy_of(settings: Settings) -> Policy:
    """The settings that a reconcile needs."""
    return Policy(
        settle=settings.settle,
        settle_new=settings.settle_new,
        removal_settle=settings.removal_settle,
        stable_after=settings.stable_after,
        health_timeout=settings.health_timeout,
        install_timeout=settings.install_timeout,
        start_timeout=settings.start_timeout,
        remove_timeout=settings.remove_timeout,
        rollback=settings.rollback,
        volume_prefix=settings.volume_prefix,
        prune=settings.prune,
    )


def tree_of(settings: Settings, store: SqliteStore, clock: Clock, lock: TreeLock | None) -> AppsTree:
    """The apps tree that this state belongs to. Without its lock it is only looked at: its root is not marked as ours."""
    return AppsTree(
        settings.apps,
        clock,
        settings.state,
        known=lambda: TakenIn(store),
        root_id=lambda: store.get(ROOT_ID),
        recall=lambda app: record.rest.stamp if (record := store.record(app)) and record.rest else None,
        remember_root_id=(lambda value: store.put(ROOT_ID, value)) if lock else None,
        trust=settings.trust,
        lock=lock,
    )


def engine_of(settings: Settings, clock: Clock) -> DockerEngine:
    """The engine that `DOCKER_HOST` or the context names. Raises `EngineUnreachable` when that makes no sense."""
    return DockerEngine(resolve_endpoint(), settings.state / "compose", clock, trust=settings.trust)


def say_lost(tree: AppsTree) -> tuple[Action, ...]:
    """What a look at all apps has to say beside them: that their tree cannot be known, and so who is in it."""
    lost = tree.census().lost
    return (Action("error", f"apps tree {tree.root}", lost),) if lost else ()


def plan_lost(tree: AppsTree) -> list[tuple[str, Plan]]:
    """The same as a plan, which is no app's: it has no name by which a program could ask for one."""
    return [("", Plan(said))] if (said := say_lost(tree)) else []


def in_order(tree: AppsTree, store: SqliteStore, *, reread: bool) -> tuple[str, ...]:
    """All apps on disk or on record, providers first. `reread`: what they require is taken from disk, not from
    the records; a service asks often, and its records are as good as new."""
    requires: dict[str, tuple[str, ...]] = {record.name: record.requires for record in store.records()}
    for name in tree.census().names:
        if name in requires and not reread:
            continue
        desired = tree.load(name)
        if isinstance(desired, Present):
            requires[name] = tuple(r.app for r in desired.manifest.requires)
        else:
            requires.setdefault(name, ())
    return order(requires)
