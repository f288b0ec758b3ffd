"""The verbs on a service that only remembers what it was asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.control import verbs
from controller.model.facts import APPROVED, SUSPENDED
from controller.model.plan import Action, Plan
from controller.model.record import Condition
from controller.status.store import SqliteStore
from fakes.build import NOON, record
from fakes.clock import SteppedClock


class Asked:
    """A Service of the apps on record and of one more folder."""

    def __init__(self) -> None:
        self.store = SqliteStore.in_memory()
        self.clock = SteppedClock()
        self.requeued: list[str] = []
        self.swept: list[tuple[tuple[str, ...], bool]] = []

    def names(self) -> list[str]:
        return ["new", *(r.name for r in self.store.records())]

    def sweep(self, apps: tuple[str, ...], dry_run: bool) -> tuple[Action, ...]:
        self.swept.append((apps, dry_run))
        return (Action("compose_up", "web"),)

    def plans(self, apps: tuple[str, ...]) -> tuple[tuple[str, Plan], ...]:
        return tuple((app, Plan()) for app in apps)

    def requeue(self, app: str) -> None:
        self.requeued.append(app)

    def describe(self) -> dict[str, object]:
        return {}


@pytest.fixture
def service() -> Asked:
    asked = Asked()
    held = Condition("Ready", "False", "RemovalHeld", "too many at once", NOON, 1)
    fine = replace(held, status="True", reason="ReconciliationSucceeded")
    for name, condition in (("mosquitto", fine), ("old-b", held), ("old-a", held)):
        asked.store.save(record(name, conditions=(condition,)))
    return asked


def test_reconcile_passes_names_and_dry_run_on(service: Asked) -> None:
    assert verbs.reconcile(service, verbs.Reconcile(("new",), dry_run=True)) == (Action("compose_up", "web"),)
    verbs.reconcile(service, verbs.Reconcile())
    assert service.swept == [(("new",), True), ((), False)]


def test_a_plan_is_asked_of_the_named_apps(service: Asked) -> None:
    assert verbs.plan(service, verbs.PlanQuery(("mosquitto",))) == (("mosquitto", Plan()),)


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: verbs.reconcile(s, verbs.Reconcile(("mosquito",))),
        lambda s: verbs.plan(s, verbs.PlanQuery(("new", "mosquito"))),
        lambda s: verbs.suspend(s, verbs.Suspend("mosquito")),
        lambda s: verbs.resume(s, verbs.Resume("mosquito")),
    ],
)
def test_an_unknown_app_is_named_with_the_one_that_was_meant(service: Asked, ask: object) -> None:
    assert callable(ask)
    with pytest.raises(verbs.UnknownApp, match=r"'mosquito'.*Did you mean mosquitto\?"):
        ask(service)
    assert (service.swept, service.requeued) == ([], [])


def test_a_name_like_no_other_gets_the_list(service: Asked) -> None:
    with pytest.raises(verbs.UnknownApp, match="Known apps: mosquitto, new, old-a, old-b"):
        verbs.suspend(service, verbs.Suspend("zzz"))


def test_prune_only_lists(service: Asked) -> None:
    assert verbs.prune(service, verbs.Prune()) == ("old-a", "old-b")
    assert service.store.get(APPROVED + "old-a") is None
    assert service.requeued == []


def test_prune_approves_exactly_what_is_held(service: Asked) -> None:
    assert verbs.prune(service, verbs.Prune(approve=True)) == ("old-a", "old-b")
    assert [service.store.get(APPROVED + name) for name in ("old-a", "old-b", "web")] == ["1", "1", None]
    assert service.requeued == ["old-a", "old-b"]


def test_approving_nothing_leaves_an_earlier_approval_alone(service: Asked) -> None:
    service.store.put(APPROVED + "gone", "1")
    for name in ("old-a", "old-b"):
        service.store.forget(name)
    assert verbs.prune(service, verbs.Prune(approve=True)) == ()
    assert service.store.get(APPROVED + "gone") == "1"


def test_suspend_and_resume_set_and_drop_the_fact(service: Asked) -> None:
    verbs.suspend(service, verbs.Suspend("mosquitto"))
    assert service.store.get(SUSPENDED + "mosquitto") is not None
    verbs.resume(service, verbs.Resume("mosquitto"))
    assert service.store.get(SUSPENDED + "mosquitto") is None
    assert service.requeued == ["mosquitto", "mosquitto"]
