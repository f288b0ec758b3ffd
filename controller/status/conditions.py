"""Conditions after the Kubernetes API conventions: a map by type, written as a list.

`last_transition_time` moves only when the status does. Reconciling and Stalled are abnormal-true: present
only while True, never both. Which conditions a run ends with is decided in `transition`, not here.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.model.record import Condition, Record
from controller.model.values import replace

ORDER = ("Stalled", "Reconciling", "SourceMissing", "Ready", "Healthy", "DependenciesReady", "Suspended")
MESSAGE_LIMIT = 2048
"""Characters of a message that are kept; a status is not a log."""


def with_condition(record: Record, new: Condition) -> Record:
    """The record with this condition set; an unchanged status keeps its transition time."""
    if len(new.message) > MESSAGE_LIMIT:
        new = replace(new, message=new.message[: MESSAGE_LIMIT - 1] + "…")
    old = record.condition(new.type)
    if old is not None and old.status == new.status:
        new = replace(new, last_transition_time=old.last_transition_time)
        if new == old:
            return record
    others = [c for c in record.conditions if c.type != new.type]
    return replace(record, conditions=_sorted([*others, new]))


def without_condition(record: Record, kind: str) -> Record:
    """The record without the condition of that type; absent means Unknown."""
    if record.condition(kind) is None:
        return record
    return replace(record, conditions=tuple(c for c in record.conditions if c.type != kind))


def _sorted(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    return tuple(sorted(conditions, key=lambda c: (ORDER.index(c.type) if c.type in ORDER else 99, c.type)))


def same_verdict(before: Record, after: Record) -> bool:
    """Whether a person would see no difference between these two records."""
    return (before.observed_generation, _faces(before)) == (after.observed_generation, _faces(after))


def _faces(record: Record) -> tuple[tuple[str, str, str, str], ...]:
    return tuple((c.type, c.status, c.reason, c.message) for c in record.conditions)


def lint(record: Record) -> list[str]:
    """Rules that every persisted status keeps (after Flux's condition checks); empty when it is sound."""
    wrong: list[str] = []
    ready = record.condition("Ready")
    stalled, reconciling = record.condition("Stalled"), record.condition("Reconciling")
    if ready is None:
        return ["Ready is missing"]
    for abnormal in (stalled, reconciling):
        if abnormal is not None and abnormal.status != "True":
            wrong.append(f"{abnormal.type} is present but not True")
        if abnormal is not None and ready.status == "True":
            wrong.append(f"Ready and {abnormal.type} at once")
    if stalled is not None and reconciling is not None:
        wrong.append("Stalled and Reconciling at once")
    if record.observed_generation > record.generation:
        wrong.append("observedGeneration is ahead of generation")
    if ready.status == "True" and record.observed_generation != record.generation:
        wrong.append("Ready while observedGeneration lags")
    for condition in record.conditions:
        if ready.status == "True" and condition.observed_generation != record.generation:
            wrong.append(f"Ready while {condition.type} speaks of generation {condition.observed_generation}")
        if not condition.reason or not condition.reason.isalnum():
            wrong.append(f"{condition.type} has no one-word reason")
    return wrong
