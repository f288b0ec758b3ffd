"""Rollback: which earlier revision an app goes back to, and whether it may do so by itself. Pure.

When a try counts as failed is judged in `judge`; going back is an apply like any other, planned in `plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from controller.model.observed import Observed, Rendered
from controller.model.record import Quarantine, Record, Target

Mode = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class WayBack:
    """The revision to go back to; or, with None, why the app stays as it is."""

    to: Target | None
    why_not: str = ""


def find_way_back(record: Record, rendered: Rendered | None, observed: Observed, mode: Mode) -> WayBack:
    """Where an app goes whose newest revision failed before it was ever good.

    `rendered`: the model of the revision that failed; `observed`: what it left. With `auto` nothing is taken back
    by itself when the new version may have changed data for good: a service that keeps data got another image, or a
    provider's data was brought up to the new version by an on_update hook.
    """
    good = last_good(record)
    if good is None and record.history:
        return WayBack(
            None, f"no earlier revision was ever good; `homeport history {record.name}` lists them"
        )
    if good is None:
        return WayBack(None, "there is no earlier revision to go back to")
    choice = f"`homeport rollback {record.name}` goes back to generation {good.generation}"
    if mode == "never":
        return WayBack(None, f"rollback is off; {choice}")
    risks = _risks(record, good, rendered, observed) if mode == "auto" else []
    if risks:
        again = f"`homeport reconcile {record.name}` tries again"
        return WayBack(None, f"not taken back by itself, as {' and '.join(risks)}: {choice}, {again}")
    return WayBack(good)


def last_good(record: Record) -> Target | None:
    """The newest revision that was good."""
    return next((target for target in record.applied if target.good), None)


def describe(quarantine: Quarantine) -> str:
    """That an earlier revision runs, and why, in words for people. What comes next is said beside it."""
    failed = f"generation {quarantine.generation} failed ("
    if quarantine.by_person or quarantine.message.startswith(failed):
        return quarantine.message  # the latter in a record of an earlier Homeport: the whole sentence
    return f"{failed}{quarantine.reason}: {quarantine.message}); generation {quarantine.to.generation} runs again"


def _risks(record: Record, good: Target, rendered: Rendered | None, observed: Observed) -> list[str]:
    risks = [
        f"service {service.name} keeps data and got another image"
        for service in (rendered.services if rendered is not None else ())
        if service.keeps_data and service.name in good.services
        and (good.services[service.name].image != service.image or _ran_another(service.name, good, observed))
    ]  # fmt: skip
    return risks + [
        f"on_update for version {entry.version} has run in {provider}"
        for provider, entry in sorted(record.on_update.items())
        if entry.version == record.version != good.version
    ]


def _ran_another(service: str, good: Target, observed: Observed) -> bool:
    """Whether a container of another image than that of the good revision was started: it has had the data."""
    known = good.services[service].image_ids
    return any(c.started_at and known and c.image_id not in known for c in observed.of(service))
