"""Makes a failing history small: leaves out one step after the other (many at once first) as long as it still fails
in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulation.history import Step, generate
from simulation.life import play

_SAME = 12
"""Failures that begin with the same so many characters count as the same: "I9: api is …"."""


def shrink(steps: Sequence[Step], fails: Callable[[Sequence[Step]], bool]) -> tuple[Step, ...]:
    """The shortest history found of which no single step can be left out."""
    kept, size = list(steps), max(1, len(steps) // 2)
    while True:
        before, start = len(kept), 0
        while start < len(kept):
            trial = kept[:start] + kept[start + size :]
            if fails(trial):
                kept = trial
            else:
                start += size
        if size == 1 and len(kept) == before:
            return tuple(kept)
        size = max(1, size // 2)


def report(seed: int, wrong: str) -> str:
    """What went wrong, the small history, and the command that plays the whole one again."""
    small = shrink(generate(seed), lambda steps: play(seed, steps)[:_SAME] == wrong[:_SAME])
    told = "\n".join(f"    {step}" for step in small) or "    (its beginning alone)"
    return (
        f"history {seed}: {wrong}\n  it takes no more than this:\n{told}\n  replay it: make sim SEED={seed}"
    )
