"""One value made of another."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import pytest

from controller.model.record import Record
from controller.model.values import replace


@dataclass(frozen=True)
class Box:
    side: int
    colour: str = "red"

    @cached_property
    def area(self) -> int:
        return self.side**2


def test_it_is_what_dataclasses_would_make_of_it() -> None:
    before = Record("web", requires=("db",))
    changes: dict[str, Any] = {"suspended": True, "started_at": datetime(2026, 11, 28, tzinfo=UTC)}
    after = replace(before, **changes)
    assert after == dataclasses.replace(before, **changes)
    assert before == Record("web", requires=("db",))
    assert after.requires is before.requires


def test_what_was_found_of_the_old_one_is_found_anew() -> None:
    old = Box(2)
    assert old.area == 4
    assert replace(old, side=3).area == 9
    assert replace(old, colour="blue") == Box(2, "blue")


def test_a_field_that_there_is_not_is_refused() -> None:
    unknown: dict[str, Any] = {"weight": 1, "area": 5}
    box = Box(2)
    assert box.area == 4
    with pytest.raises(TypeError, match="Box has no field area, weight"):
        replace(box, **unknown)


def test_a_class_that_checks_its_fields_is_refused_as_they_would_not_be_checked() -> None:
    @dataclass(frozen=True)
    class Careful:
        size: int

        def __post_init__(self) -> None:
            assert self.size > 0

    with pytest.raises(TypeError, match="Careful"):
        replace(Careful(1), size=2)
