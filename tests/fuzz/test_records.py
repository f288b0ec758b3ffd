"""Random records and observations: what plans, judges, moves and keeps them never fails, and says what is sound."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from controller.model.desired import Present
from controller.model.manifest import Manifest
from controller.model.observed import Container, Observed, Rendered, Service
from controller.model.record import Condition, Record, Target, Verdict
from controller.planner.gates import Provider, choose_container, find_closed, find_cycle, order
from controller.planner.health import find_faults
from controller.planner.judge import (
    Times,
    count_end,
    died_young,
    is_unproven,
    judge,
    recent_ends,
    restarted_often,
    unexpected_ends,
    vanished,
    with_crash_loops,
)
from controller.planner.plan import View, Wishes, plan, plan_stop
from controller.planner.removal import brake_holds
from controller.planner.rollback import find_way_back
from controller.status.codec import from_json, to_json
from controller.status.conditions import ORDER, lint, same_verdict
from controller.status.summary import WORDS, last_word, summarize
from controller.status.transition import transition
from fakes.tree import manifest
from rig.fuzzing import fuzz, rolled
from rig.hostile import HARD_TEXTS, any_text, json_values

WORDS_OF_APPS = ("web", "db", "job", "h1", "i1", "sha256:x", "rev2", "", "id-web", "id-db")
"""Few, so that what should meet does meet."""
REASONS = (
    "SourceUnavailable", "RemovalHeld", "Removing", "Orphaned", "Suspended", "Stopped", "SourceInvalid", "RolledBack", "ApplyFailed",
    "DependencyNotReady", "Progressing", "AwaitingHooks", "HealthCheckFailed", "ReconciliationSucceeded",
)  # fmt: skip
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOOKS = ("on_install", "on_start", "on_update", "on_remove")
FIELDS: dict[tuple[type, str], tuple[object, ...]] = {
    (Container, "name"): ("web", "0123456789ab_web", "db"),
    (Container, "state"): (
        "created",
        "running",
        "running",
        "paused",
        "restarting",
        "removing",
        "exited",
        "dead",
        "?",
    ),
    (Container, "health"): ("", "healthy", "unhealthy", "starting"),
    (Container, "started_at"): ("", "2026-01-01T11:00:00Z", "2026-01-01T12:00:00Z"),
    (Service, "restart"): ("", "no", "always", "on-failure:3"),
    (Condition, "status"): ("True", "False", "Unknown"),
    (Condition, "reason"): REASONS,
    (Verdict, "word"): WORDS,
    (Verdict, "reason"): REASONS,
    (Verdict, "health_reason"): REASONS,
    (Rendered, "document"): ("{}",),
}
"""Fields of which only these values occur."""


_hints = cache(get_type_hints)


class Dice:
    """Values of any annotation; hypothesis itself takes too long for records of a hundred fields."""

    def __init__(self, chance: Random) -> None:
        self._random = chance

    def one(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def number(self, least: float, most: float) -> float:
        return self._random.uniform(least, most)

    def some(self, hint: Any, most: int = 2) -> tuple[Any, ...]:
        return tuple(self.value(hint) for _ in range(self._random.randint(0, most)))

    def moment(self) -> datetime:
        return NOON + timedelta(
            seconds=self._random.choice((0, 1, 60, -5, 1e7, -1e8)) * self._random.random()
        )

    def text(self) -> str:
        return str(self.one(*WORDS_OF_APPS, self.one(*WORDS_OF_APPS), self.one(*HARD_TEXTS), "x" * 3000))

    def value(self, hint: Any) -> Any:
        if hint is str:
            return self.text()
        if hint is int:
            return self._random.randint(0, 6)
        if hint in (float, object):
            return self._random.randint(0, 100)
        if hint is bool:
            return self.one(True, False)
        if hint is datetime:
            return self.moment()
        if hint == tuple[Condition, ...]:
            found = {
                condition.type: condition for condition in self.some(Condition, 4) if condition.type in ORDER
            }
            return tuple(found.values())
        if dataclasses.is_dataclass(hint):
            return self.build(hint)
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            return self.one(None, self.value(next(one for one in arguments if one is not type(None))))
        if origin is tuple and arguments[-1] is Ellipsis:
            return self.some(arguments[0])
        if origin is tuple:
            return tuple(map(self.value, arguments))
        if origin is Mapping:
            return {self.text(): self.value(arguments[1]) for _ in range(self._random.randint(0, 2))}
        assert origin is Literal, hint
        return self.one(*arguments)

    def build(self, kind: Any) -> Any:
        hints = _hints(kind)
        fields = {
            field.name: self.one(*FIELDS[kind, field.name])
            if (kind, field.name) in FIELDS
            else self.value(hints[field.name])
            for field in dataclasses.fields(kind)
        }
        if kind is Condition:
            fields["type"] = self.one(*ORDER)
        return kind(**fields)

    def record(self) -> Record:
        made = self.build(Record)
        return replace(made, observed_generation=self.one(-1, made.generation))

    def observed(self) -> Observed:
        return Observed(self.some(Container, 4), self.value(Mapping[str, str]))

    def rendered(self) -> Rendered:
        services = {service.name: service for service in self.some(Service, 3)}
        return replace(self.build(Rendered), services=tuple(services.values()))

    def providers(self) -> dict[str, Provider]:
        return {provider.name: provider for provider in self.some(Provider, 3)}

    def app(self) -> Present:
        requires = [
            {"app": app, "restart": self.one(True, False)}
            | {hook: "s.sh" for hook in HOOKS if self.one(True, False)}
            for app in ("db", "job")
            if self.one(True, False)
        ]
        fields = manifest("web", requires=requires, version=self.text())
        env, seeds = self.value(Mapping[str, str]), self.one((), (".env",), ("KEY",))
        return Present("web", "/apps/web", Manifest.model_validate(fields), "rev2", (), env, seeds)


# ---- what is kept ----


@rolled(7)
def test_a_record_that_is_kept_is_read_back_as_it_was(chance: Random) -> None:
    dice = Dice(chance)
    record = dice.record()
    assert from_json(Record, to_json(record)) == record


@rolled(3)
def test_a_model_that_is_kept_is_read_back_as_it_was(chance: Random) -> None:
    dice = Dice(chance)
    model = dice.rendered()
    assert from_json(Rendered, to_json(model)) == model


damaged = st.one_of(
    json_values.map(json.dumps),
    st.dictionaries(
        st.sampled_from([field.name for field in dataclasses.fields(Record)]), json_values, max_size=4
    ).map(lambda fields: json.dumps({"name": "web"} | fields)),
    any_text,
    st.integers(1, 100_000).map(lambda n: "[" * n),
)


@fuzz(0.5, text=damaged)
def test_what_was_damaged_is_said_to_be_no_record(text: str) -> None:
    try:
        assert isinstance(from_json(Record, text), Record)
    except ValueError as error:
        assert str(error)


# ---- what is decided ----


@rolled(7)
def test_whatever_was_and_whatever_is_found_the_status_is_sound(chance: Random) -> None:
    dice = Dice(chance)
    record, now = dice.record(), dice.moment()
    for verdict in dice.some(Verdict, 3):
        before, record = record, transition(record, verdict, now)
        assert lint(record) == []
        assert last_word(record) in WORDS
        assert summarize(record, now) == last_word(record)
        assert all(len(c.message) <= 2048 for c in record.conditions if c not in before.conditions)
        assert same_verdict(record, transition(record, verdict, now))


@rolled(10)
def test_a_plan_says_why_and_takes_nothing_away(chance: Random) -> None:
    dice = Dice(chance)
    record, observed, found = dice.record(), dice.observed(), dice.providers()
    app, rendered, back_to = (
        dice.one(None, dice.app()),
        dice.one(None, dice.rendered()),
        dice.one(None, dice.value(Target)),
    )
    apply, wishes = dice.one(True, False), dice.build(Wishes)
    view = View(record, observed, app, rendered, apply, back_to, ("furtka_web_data",), found, {}, wishes)
    planned = plan(view)
    assert planned == plan(view)
    names = {service.name for service in rendered.services} if rendered is not None else set()
    for action in planned.actions:
        assert action.cause
        assert action.app in ("web", record.name)
        assert action.kind in {
            "ensure_volume",
            "seed_env",
            "hook",
            "pull",
            "compose_up",
            "rollback",
            "restart",
        }
        assert set(action.services) <= names
        if action.event == "on_start":
            assert found[action.provider].available
    if not apply or app is None or back_to is not None:
        assert not any(action.changes_inputs or action.kind == "ensure_volume" for action in planned.actions)
    for action in plan_stop(record, observed).actions:
        assert action.kind == "stop"


@rolled(10)
def test_whatever_is_seen_is_judged_and_leads_to_a_sound_status(chance: Random) -> None:
    dice = Dice(chance)
    record, target, rendered, observed, now = (
        dice.record(),
        dice.value(Target),
        dice.rendered(),
        dice.observed(),
        dice.moment(),
    )
    closed, awaits, times = (
        dice.text(),
        dice.one(True, False),
        Times(dice.number(0, 100), dice.number(0.1, 100)),
    )
    faults = find_faults(rendered, target, observed, record.completed, {})
    assert all(fault.cause.startswith(f"service {fault.service}") for fault in faults)
    faults = with_crash_loops(faults, record, observed, now, times.stable_after)
    judged = judge(record, target, faults, closed, awaits, now, times, restarted_often(record, observed))
    assert judged.verdict.word in WORDS
    assert judged.verdict.message
    assert judged.after is None or judged.after > 0
    assert judged.verdict.word != "Ready" or not faults
    assert lint(transition(record, judged.verdict, now)) == []
    way = find_way_back(record, rendered, observed, dice.one("auto", "always", "never"))
    assert way.to is None or way.to.good
    assert (way.to is None) == bool(way.why_not)
    is_unproven(record, observed, now, times.stable_after)
    died_young(record, faults, now, times.stable_after)
    ends = recent_ends(record, now, times.stable_after)
    for container in unexpected_ends(record, rendered, observed):
        assert count_end(ends.get(container.name), container, now).count > 0
    vanished(record, rendered, observed)


@rolled(6)
def test_gates_orders_and_brakes_have_an_answer_for_every_graph(
    chance: Random,
) -> None:
    dice = Dice(chance)
    found, required, observed = dice.providers(), dice.some(str, 3), dice.observed()
    graph = {name: dice.some(str, 3) for name in dice.some(str, 5)}
    closed = find_closed(required, found)
    assert (closed is None) == all(
        name in found and found[name].known and found[name].available for name in required
    )
    assert sorted(order(graph)) == sorted(graph)
    for name in graph:
        cycle = find_cycle(name, graph)
        assert not cycle or (cycle[0] == cycle[-1] == name)
    container, why_not = choose_container("web", dice.one(None, dice.text()), observed)
    assert bool(why_not) or container in {c.id for c in observed.containers}
    missing, lately, others = (chance.randint(0, 9) for _ in range(3))
    held = brake_holds(missing, lately, missing + others)
    assert held or missing < 2 or others
