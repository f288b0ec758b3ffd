"""Values with their statistics, the bar they are held to and what a peer needs for the same; as a table and as JSON.

Absolute times differ from machine to machine: a ratio is always to a peer that was measured in the same run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Statistic = Literal["p50", "p99", "min", "max", "ratio"]


@dataclass(frozen=True)
class Bar:
    """What is to be reached."""

    sense: Literal["at most", "at least"]
    limit: float
    of: Statistic

    def reached(self, value: float) -> bool:
        return value <= self.limit if self.sense == "at most" else value >= self.limit

    def __str__(self) -> str:
        times = " times" if self.of == "ratio" else ""
        return f"{self.of} {'≤' if self.sense == 'at most' else '≥'} {number(self.limit)}{times}"


def at_most(limit: float, of: Statistic = "p50") -> Bar:
    return Bar("at most", limit, of)


def at_least(limit: float, of: Statistic = "p50") -> Bar:
    return Bar("at least", limit, of)


@dataclass(frozen=True)
class Peer:
    """What else does the same, and its value, in the measure's unit."""

    name: str
    value: float
    outdone: bool = True
    """The ratio says how many times less we need than the peer; else how many times as much."""


@dataclass(frozen=True)
class Measure:
    """One thing that was measured, in one unit."""

    name: str
    unit: str
    values: Sequence[float]
    bars: Sequence[Bar] = ()
    """Without one: for information."""
    peer: Peer | None = None
    note: str = ""
    family: str = field(default="", compare=False)

    def statistic(self, of: Statistic) -> float:
        ordered = sorted(self.values)
        match of:
            case "min":
                return ordered[0]
            case "max":
                return ordered[-1]
            case "ratio":
                return self.ratio
            case _:
                share = {"p50": 0.50, "p99": 0.99}[of]
                return ordered[math.ceil(share * len(ordered)) - 1]

    @property
    def ratio(self) -> float:
        """To the peer, by the middle of our values."""
        assert self.peer is not None, f"{self.name} has a bar on its ratio and no peer"
        ours = self.statistic("p50")
        above, below = (self.peer.value, ours) if self.peer.outdone else (ours, self.peer.value)
        return above / below if below else math.inf

    @property
    def reached(self) -> bool | None:
        """Whether all bars are; None without any."""
        return all(bar.reached(self.statistic(bar.of)) for bar in self.bars) if self.bars else None

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "family": self.family,
            "name": self.name,
            "unit": self.unit,
            "n": len(self.values),
            **{of: self.statistic(of) for of in ("p50", "p99", "min", "max")},
            "peer": {"name": self.peer.name, "value": self.peer.value, "ratio": self.ratio}
            if self.peer
            else None,
            "bars": [{"of": bar.of, "sense": bar.sense, "limit": bar.limit} for bar in self.bars],
            "reached": self.reached,
            "note": self.note,
            "values": list(self.values),
        }


def number(value: float) -> str:
    """Three figures that mean something, never as a power of ten."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


HEAD = ("measure", "unit", "p50", "p99", "min", "max", "n", "peer", "ratio", "bar", "reached")


def table(measures: Sequence[Measure]) -> str:
    """Markdown that can be read as it is."""
    rows = [HEAD, *(_row(measure) for measure in measures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _row(measure: Measure) -> tuple[str, ...]:
    alone = len(measure.values) == 1
    figures = [number(measure.statistic(of)) for of in ("p50", "p99", "min", "max")]
    peer = measure.peer
    return (
        f"{measure.family}: {measure.name}" + (f" ({measure.note})" if measure.note else ""),
        measure.unit,
        *([figures[0], "", "", ""] if alone else figures),
        str(len(measure.values)),
        f"{peer.name}: {number(peer.value)}" if peer else "",
        f"{number(measure.ratio)} times {'less' if peer.outdone else 'as much'}" if peer else "",
        ", ".join(map(str, measure.bars)),
        {None: "", True: "yes", False: "NO"}[measure.reached],
    )


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def worked(call: Callable[[], object]) -> float:
    """Seconds of this process's processor time that a call takes: what others do on the machine meanwhile counts less."""
    began = time.process_time()
    call()
    return time.process_time() - began


def repeated(call: Callable[[], T], *, seconds: float = 20.0, least: int = 3, most: int = 50) -> list[T]:
    """What the call answers, again and again: so long, but at least and at most so often."""
    answers: list[T] = []
    end = time.perf_counter() + seconds
    while len(answers) < least or (len(answers) < most and time.perf_counter() < end):
        answers.append(call())
    return answers


def ms(values: Sequence[float]) -> list[float]:
    """Seconds as milliseconds."""
    return [value * 1000 for value in values]
