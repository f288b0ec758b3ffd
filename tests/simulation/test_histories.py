"""2,000 seeded histories, each judged by the invariants throughout and by the final tree at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest

from simulation.history import APPS, Step, generate
from simulation.life import play
from simulation.shrink import report, shrink

HISTORIES = int(os.environ.get("HOMEPORT_SIM_HISTORIES", "2000"))
CHUNK = 25


@pytest.mark.parametrize("first", range(0, HISTORIES, CHUNK))
def test_whatever_happens_the_end_is_what_the_final_tree_demands(first: int) -> None:
    for seed in range(first, min(first + CHUNK, HISTORIES)):
        if wrong := play(seed, generate(seed)):
            pytest.fail(report(seed, wrong), pytrace=False)


def test_a_history_is_its_seed() -> None:
    assert generate(7) == generate(7)
    assert generate(7) != generate(8)


def test_shrinking_leaves_what_it_takes_and_nothing_else() -> None:
    chance = Random(1)
    steps = [Step("wait", chance.choice(APPS), number) for number in range(40)]
    wanted = {steps[3], steps[17], steps[31]}
    assert set(shrink(steps, lambda trial: wanted <= set(trial))) == wanted


def test_the_simulation_finds_a_controller_that_forgets_what_a_person_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The watch is not asleep: with the rule for stopped apps taken out, some history fails."""
    from controller.reconciler import wishes

    def deaf(_work: object, _memory: object, _dry_run: bool) -> Iterator[None]:
        yield from ()

    monkeypatch.setattr(wishes, "take_in", deaf)
    assert any(play(seed, generate(seed)) for seed in range(60))
