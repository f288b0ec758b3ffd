"""The verbs on a service that only remembers what it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from controller.control import verbs
from controller.control.errors import Refused
from controller.control.service import Waiter, always
from controller.model.facts import (
    ADOPT,
    APPROVED,
    LEFT,
    REMOVE,
    RESTART,
    ROLLBACK,
    STOPPED,
    SUSPENDED,
    UPDATE,
)  # fmt: skip
from controller.model.plan import Action, Plan
from controller.model.record import Condition
from controller.status.store import SqliteStore
from fakes.build import NOON, record, target
from fakes.clock import SteppedClock


class Asked:
    """A Service of the apps on record and of one more folder."""

    def __init__(self) -> None:
        self.store = SqliteStore.in_memory()
        self.clock = SteppedClock()
        self.requeued: list[str] = []
        self.swept: list[tuple[tuple[str, ...], bool, bool]] = []
        self.purged: list[tuple[str, tuple[str, ...]]] = []

    def names(self) -> list[str]:
        return ["new", *(r.name for r in self.store.records())]

    def sweep(
        self, apps: tuple[str, ...], dry_run: bool, *, lift: bool = False, wanted: Waiter = always
    ) -> tuple[Action, ...]:
        self.swept.append((apps, dry_run, lift))
        return (Action("compose_up", "web"),)

    def plans(self, apps: tuple[str, ...]) -> tuple[tuple[str, Plan], ...]:
        return tuple((app, Plan()) for app in apps)

    def requeue(self, app: str) -> None:
        self.requeued.append(app)

    def purge(self, app: str, volumes: Sequence[str]) -> None:
        self.purged.append((app, tuple(volumes)))

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


def test_reconcile_of_named_apps_lifts_their_quarantine_and_a_whole_sweep_none(service: Asked) -> None:
    assert verbs.reconcile(service, verbs.Reconcile(("new",), dry_run=True)) == (Action("compose_up", "web"),)
    verbs.reconcile(service, verbs.Reconcile())
    assert service.swept == [(("new",), True, True), ((), False, False)]


def test_a_plan_is_asked_of_the_named_apps(service: Asked) -> None:
    assert verbs.plan(service, verbs.PlanQuery(("mosquitto",))) == (("mosquitto", Plan()),)


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: verbs.reconcile(s, verbs.Reconcile(("mosquito",))),
        lambda s: verbs.plan(s, verbs.PlanQuery(("new", "mosquito"))),
        lambda s: verbs.suspend(s, verbs.Suspend("mosquito")),
        lambda s: verbs.resume(s, verbs.Resume("mosquito")),
        lambda s: verbs.purge(s, verbs.Purge("mosquito", ("data",))),
        *(lambda s, kind=kind: verbs.act(s, kind("mosquito")) for kind in verbs.WISHES.values()),
    ],
)
def test_an_unknown_app_is_named_with_the_one_that_was_meant(service: Asked, ask: object) -> None:
    assert callable(ask)
    with pytest.raises(verbs.UnknownApp, match=r"'mosquito'.*Did you mean mosquitto\?"):
        ask(service)
    assert (service.swept, service.requeued, service.purged) == ([], [], [])


def test_a_name_like_no_other_gets_the_list(service: Asked) -> None:
    with pytest.raises(verbs.UnknownApp, match="Known apps: mosquitto, new, old-a, old-b"):
        verbs.suspend(service, verbs.Suspend("zzz"))


def test_a_name_that_no_app_can_have_gets_the_rule(service: Asked) -> None:
    with pytest.raises(
        verbs.UnknownApp, match=r"Mosquitto is not an app name \(.*a folder that is called so"
    ):
        verbs.suspend(service, verbs.Suspend("Mosquitto"))


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


@pytest.mark.parametrize(
    ("wish", "fact"),
    [(verbs.Restart, RESTART), (verbs.Update, UPDATE), (verbs.Remove, REMOVE)],
)
def test_what_is_done_once_is_remembered_with_its_time(
    service: Asked, wish: type[verbs.Wish], fact: str
) -> None:
    assert verbs.act(service, wish("mosquitto")) == (Action("compose_up", "web"),)
    assert service.store.get(fact + "mosquitto") == service.clock.now().isoformat()
    assert service.swept == [(("mosquitto",), False, False)]


def test_an_app_stays_stopped_until_it_is_started(service: Asked) -> None:
    verbs.act(service, verbs.Stop("new"))
    assert service.store.get(STOPPED + "new") == "1"
    verbs.act(service, verbs.Start("new"))
    assert service.store.get(STOPPED + "new") is None
    assert service.swept == [(("new",), False, False)] * 2


def test_only_an_app_whose_name_is_taken_by_a_project_can_adopt_it(service: Asked) -> None:
    for app in ("mosquitto", "new"):
        with pytest.raises(Refused, match="nothing to adopt"):
            verbs.act(service, verbs.Adopt(app))
        assert service.store.get(ADOPT + app) is None
    taken = Condition("Ready", "False", "NameConflict", "runs from /elsewhere", NOON, 1)
    service.store.save(record("mosquitto", conditions=(taken,)))
    verbs.act(service, verbs.Adopt("mosquitto"))
    assert service.store.get(ADOPT + "mosquitto") is not None


def test_a_provider_is_not_removed_and_its_consumers_are_named(service: Asked) -> None:
    for name in ("zigbee2mqtt", "hass"):
        service.store.save(record(name, requires=("mosquitto",)))
    with pytest.raises(Refused, match="required by hass, zigbee2mqtt"):
        verbs.act(service, verbs.Remove("mosquitto"))
    assert (service.store.get(REMOVE + "mosquitto"), service.swept) == (None, [])


def test_a_rollback_is_remembered_with_the_whole_revision(service: Asked) -> None:
    old, now = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
    service.store.save(
        record("web", revision=now, target=target(revision=now), history=(target(revision=old),))
    )
    verbs.act(service, verbs.Rollback("web", "abab"))
    assert service.store.get(ROLLBACK + "web") == old
    verbs.act(service, verbs.Rollback("web"))
    assert service.store.get(ROLLBACK + "web") == ""


def test_of_an_update_and_a_rollback_the_last_one_counts(service: Asked) -> None:
    service.store.save(
        record("web", revision="r2", target=target(revision="r2"), history=(target(revision="r1"),))
    )
    verbs.act(service, verbs.Update("web"))
    verbs.act(service, verbs.Rollback("web"))
    assert (service.store.get(UPDATE + "web"), service.store.get(ROLLBACK + "web")) == (None, "")
    verbs.act(service, verbs.Update("web"))
    assert service.store.get(ROLLBACK + "web") is None


def test_an_app_that_was_never_applied_has_nothing_to_go_back_to(service: Asked) -> None:
    with pytest.raises(Refused, match="nothing to go back to"):
        verbs.act(service, verbs.Rollback("new"))
    assert (service.store.get(ROLLBACK + "new"), service.swept) == (None, [])


def test_volumes_of_an_app_that_is_gone_can_be_purged_by_what_it_left(service: Asked) -> None:
    service.store.put(LEFT + "gone", '["p_gone_data"]')
    assert verbs.purge(service, verbs.Purge("gone", ("data",))) == ("p_gone_data",)
    assert service.purged == [("gone", ("p_gone_data",))]


def test_one_wrong_volume_and_none_is_purged(service: Asked) -> None:
    service.store.put(LEFT + "gone", '["p_gone_data"]')
    with pytest.raises(Refused, match="What can be purged: p_gone_data"):
        verbs.purge(service, verbs.Purge("gone", ("data", "p_web_data")))
    assert service.purged == []


def test_a_stopped_app_is_neither_restarted_nor_updated(service: Asked) -> None:
    service.store.save(record("web"))
    service.store.put(STOPPED + "web", "1")
    for wish in (verbs.Restart("web"), verbs.Update("web")):
        with pytest.raises(Refused, match="homeport start web"):
            verbs.remember(service, wish)


@pytest.mark.parametrize(
    ("kind", "fact"),
    [
        (verbs.Stop, STOPPED),
        (verbs.Start, STOPPED),
        (verbs.Restart, RESTART),
        (verbs.Update, UPDATE),
        (verbs.Rollback, ROLLBACK),
    ],
)
def test_what_is_suspended_takes_no_wish_that_would_come_true_unasked_when_it_is_resumed(
    service: Asked, kind: type[verbs.Wish], fact: str
) -> None:
    history = (target(revision="sha256:" + "ab" * 32),)
    service.store.save(record("web", revision="r", target=target(revision="r"), history=history))
    before = "1" if kind is verbs.Start else None
    service.store.put(fact + "web", before)
    service.store.put(SUSPENDED + "web", "1")
    with pytest.raises(Refused, match=r"suspended.*homeport resume web"):
        verbs.act(service, kind("web"))
    assert (service.store.get(fact + "web"), service.swept) == (before, [])


def test_what_its_manifest_suspends_is_refused_with_the_advice_that_helps(service: Asked) -> None:
    service.store.save(record("web", suspended_by_manifest=True))
    with pytest.raises(Refused, match=r"take `suspend` out of its manifest\.json first$") as refused:
        verbs.remember(service, verbs.Stop("web"))
    assert "resume" not in str(refused.value)
    service.store.put(SUSPENDED + "web", "1")
    with pytest.raises(Refused, match=r"say `homeport resume web` and take `suspend` out of"):
        verbs.remember(service, verbs.Stop("web"))


def test_a_foreign_project_of_that_name_is_not_stopped(service: Asked) -> None:
    conflict = Condition("Ready", "False", "NameConflict", "m", NOON, 1)
    service.store.save(record("web", conditions=(conflict,)))
    with pytest.raises(Refused, match="homeport adopt web"):
        verbs.remember(service, verbs.Stop("web"))
