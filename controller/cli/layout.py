"""Layout: text for people, as wide as their terminal: tables, wrapped text, times and colours. Pure.

The same lines go onto a terminal, into a pipe and into a live view: a width of None is a pipe's, where nothing is
wrapped. Which facts are shown is `screens`' business.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

import click

from controller.cli.plain import clean

GREEN, BLUE, AMBER, RED = 28, 31, 130, 160
"""Of the 256 colours those that can be read on black and on white (a contrast of 3.8 and more, see the tests)."""
COLOURS: Mapping[str, int] = {
    "Ready": GREEN, "Progressing": BLUE, "Waiting": BLUE, "Removing": BLUE,
    "Orphaned": AMBER, "Unknown": AMBER, "Held": AMBER, "RemovalBlocked": AMBER,
    "NeedsConfiguration": AMBER, "RolledBack": AMBER,
    "Invalid": RED, "Failed": RED, "Degraded": RED,
    "ok": GREEN, "warn": AMBER, "fail": RED, "error": RED, "warning": AMBER,
    "healthy": GREEN, "unhealthy": RED, "starting": BLUE, "exited": RED, "restarting": RED, "running": GREEN,
}  # fmt: skip
"""Words that stand out on a terminal. The word says it all: nothing is told by colour alone."""
NARROWEST = 40
"""Columns below which text beside a table is no longer read with pleasure: it goes below its row."""
INDENT = "  "
_COMMAND = re.compile(r"`[^`]*`")
_KEPT = "\x00"  # a blank that is no place for a line to end; no clean text has one


@dataclass(frozen=True)
class Page:
    """Where lines are shown: how wide it is, and whether in colour."""

    width: int | None = None
    """None: not on a terminal; a line is as long as it has to be."""
    colour: bool = False

    def paint(self, text: str, word: str = "") -> str:
        """The text in the colour of that word (of itself, when none is given)."""
        colour = COLOURS.get(word or text.partition(" ")[0])
        return click.style(text, fg=colour) if self.colour and colour is not None else text

    def bold(self, text: str) -> str:
        """A heading."""
        return click.style(text, bold=True) if self.colour else text

    def wrap(self, text: str, first: str = "", then: str = "") -> list[str]:
        """The text in lines that fit, each behind its indent. A word that is longer than a line, a path, stays whole, and
        so does a `command`: people copy both."""
        if self.width is None:
            return [(first + text).rstrip()]
        whole = _COMMAND.sub(lambda found: found[0].replace(" ", _KEPT), text)
        lines = textwrap.wrap(
            whole,
            max(self.width, len(then) + 10),
            initial_indent=first,
            subsequent_indent=then,
            break_long_words=False,
            break_on_hyphens=False,
        )
        return [line.replace(_KEPT, " ") for line in lines] or [first.rstrip()]


@dataclass(frozen=True)
class Column:
    """One column of a table. The last of a table is text, and takes the room that is left."""

    title: str
    painted: bool = False
    """Its words have colours."""
    least: int = 0
    """The column is left out on terminals narrower than this."""


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[object]], page: Page, most: int = 0
) -> list[str]:
    """Head and rows. Where the last column has little room its text goes below the row. `most`: lines of that text that
    are shown of each row; 0: all."""
    every = [[column.title, *(clean(row[n]) for row in rows)] for n, column in enumerate(columns)]
    chosen = _that_fit(columns, [max(map(len, cells)) for cells in every], page)
    shown = [columns[n] for n in chosen]
    cells = [list(row) for row in zip(*(every[n][1:] for n in chosen), strict=True)]
    *fixed, last = zip(*[[column.title for column in shown], *cells], strict=True)
    widths = [max(map(len, column)) for column in fixed]
    before = sum(widths) + len(INDENT) * len(widths)
    lines = [page.bold(_row([c.title for c in shown], widths).rstrip())]
    for row, text in zip(cells, last[1:], strict=True):
        painted = [
            page.paint(cell.ljust(width)) if column.painted else cell.ljust(width)
            for cell, width, column in zip(row, widths, shown, strict=False)
        ]
        head = INDENT.join(painted) + (INDENT if painted else "")
        lines += beside(head, before, text, page, most)
    return lines


def _that_fit(columns: Sequence[Column], widths: Sequence[int], page: Page) -> list[int]:
    """Which columns are shown: when there is no room for all of them those go first that want the widest terminal."""
    chosen = [n for n, column in enumerate(columns) if page.width is None or column.least <= page.width]
    while page.width is not None and _least_width(columns, widths, chosen) > page.width:
        least, which = max((columns[n].least, n) for n in chosen)
        if not least:
            break
        chosen.remove(which)
    return chosen


def _least_width(columns: Sequence[Column], widths: Sequence[int], chosen: Sequence[int]) -> int:
    """Of the last of them only the title has to have room: its text may go below its row."""
    *fixed, last = chosen
    return sum(widths[n] + len(INDENT) for n in fixed) + len(columns[last].title)


def beside(head: str, length: int, text: str, page: Page, most: int = 0) -> list[str]:
    """The text beside its head, of which so many characters are seen; below it where there is little room."""
    room = None if page.width is None else page.width - length
    if room is None or len(text) <= room:
        return [(head + text).rstrip()]
    if room >= NARROWEST:
        told = _at_most(most, Page(room).wrap(text), room)
        return [head + told[0], *(" " * length + line for line in told[1:])]
    return [head.rstrip(), *_at_most(most, page.wrap(text, INDENT * 2, INDENT * 2), page.width or 0)]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two blanks apart, as wide as they need."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        INDENT.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _at_most(most: int, lines: list[str], width: int) -> list[str]:
    if not most or len(lines) <= most:
        return lines
    last = lines[most - 1]
    if len(last) + 2 > width:
        last = last[: last.rindex(" ")] if " " in last.strip() else ""
    return [*lines[: most - 1], last + " …"]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    *fixed, last = cells
    return INDENT.join([*(cell.ljust(width) for cell, width in zip(fixed, widths, strict=True)), last])


def fields(pairs: Sequence[tuple[str, str]], page: Page, titles: int = 0) -> list[str]:
    """`Title: text` line by line, the titles flush right; pairs without a text are left out. `titles`: width of the widest
    title, when it is another's."""
    told = [(title, text) for title, text in pairs if text]
    width = max((titles, *(len(title) for title, _ in told)))
    lines = []
    for title, text in told:
        head = f"{title:>{width}}: " if title else " " * (width + 2)
        lines += page.wrap(clean(text), head, " " * (width + 2))
    return lines


# -- times ------------------------------------------------------------------------------------------------------


def span(seconds: float) -> str:
    """A time span in the unit that a person thinks in: `45s`, `12m`, `3h`, `4d`."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    if whole < 7200:
        return f"{whole // 60}m"
    if whole < 172800:
        return f"{whole // 3600}h"
    return f"{whole // 86400}d"


def age(since: datetime | None, now: datetime) -> str:
    """How long ago, in one unit."""
    return "-" if since is None else span((now - since).total_seconds())


def clock(moment: datetime | None, now: datetime, zone: tzinfo | None = None) -> str:
    """`12:03:05` for today, `2026-01-31 12:03` for another day, as the clocks of this machine show it."""
    if moment is None:
        return "-"
    local, today = moment.astimezone(zone), now.astimezone(zone).date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M}"
