"""Watching: the status again and again: drawn in place on a terminal, a line for each change elsewhere.

A look is made when something was written, and now and then for what is not written anywhere; in between only the
seconds are counted. What is shown is `screens`' business.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from controller.cli import printing
from controller.cli.layout import Page
from controller.cli.plain import clean
from controller.cli.screens import message, word
from controller.clock import SystemClock
from controller.control.reading import rfc3339
from controller.model.errors import HomeportError

if TYPE_CHECKING:
    from controller.places import Where

EVERY = 0.25
"""Seconds between two glances at whether something was written."""
SECOND = 1.0
"""Seconds between two drawings between which only time has passed: ages of many apps turn at many moments."""
AT_LEAST = 2.0
"""Seconds after which a look is made in any case: a service may end without a word."""
Document = Mapping[str, Any]


def on_terminal(
    settings: Where, look: Callable[[], Document], lines: Callable[[Document, datetime, Page], list[str]]
) -> None:
    """Draw the lines in place until Ctrl-C; the terminal is as it was before then."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    with _resized() as pause, Live(console=console, screen=True, auto_refresh=False) as live:
        clock, pace = SystemClock(), Pace()
        before: object = None
        for document in _looks(settings, look, pause):
            size = console.size
            if not pace.is_due((document, size), clock.monotonic()):
                continue
            page = Page(size.width, printing.wants_colour())
            told = lines(document, clock.now(), page)
            if len(told) > size.height:
                left = len(told) - size.height + 1
                told = [*told[: size.height - 1], f"and {left} lines more: make the terminal higher"]
            if (told, size) != before:
                before = told, size
                live.update(Text.from_ansi("\n".join(told), no_wrap=True), refresh=True)


class Pace:
    """When what is shown is worth a new drawing: at once for news, and for what only time changes once a second."""

    def __init__(self) -> None:
        self._shown: object = None
        self._at = 0.0

    def is_due(self, shown: object, now: float) -> bool:
        """`shown`: what the lines are made of; `now`: monotonic seconds. Whoever is told yes draws."""
        if shown == self._shown and now - self._at < SECOND:
            return False
        self._shown, self._at = shown, now
        return True


def in_lines(settings: Where, look: Callable[[], Document]) -> None:
    """A line for each app whose word or message has changed, until Ctrl-C; first one for each."""
    said: dict[str, tuple[str, str]] = {}
    now = SystemClock().now
    for document in _looks(settings, look, threading.Event()):
        apps = {app["name"]: app for app in document["apps"]}
        for name, app in apps.items():
            # Without what only counts seconds.
            still = {**app, "nextTryTime": None, "deadlineTime": None}
            live = bool(document["service"].get("running"))
            told = word(app), message(still, now(), live=live)
            if said.get(name) != told:
                said[name] = told
                _line(name, *told)
        for name in said.keys() - apps.keys():
            del said[name]
            _line(name, "gone", "")


def _line(name: str, told: str, text: str) -> None:
    click.echo(clean(f"{rfc3339(SystemClock().now())}  {name}  {told}  {text}".rstrip()))
    sys.stdout.flush()


def _looks(settings: Where, look: Callable[[], Document], pause: threading.Event) -> Iterator[Document]:
    """What was looked at last, at each glance. `pause` is set when the terminal changes its size."""
    monotonic = SystemClock().monotonic
    looked, seen, document = 0.0, -1, None
    with _Written(settings) as written:
        while True:
            now = written.changes()
            moving = document is not None and any(app.get("activity") for app in document["apps"])
            due = monotonic() - looked
            if document is None or now != seen or due >= (EVERY * 2 if moving else AT_LEAST):
                document, seen, looked = look(), now, monotonic()
            yield document
            pause.wait(EVERY)
            pause.clear()


class _Written:
    """Notices that somebody has written into the state."""

    def __init__(self, settings: Where) -> None:
        self._state = Path(settings.state)
        self._store: Any = None

    def __enter__(self) -> _Written:
        from controller.status.store import SqliteStore

        self._store = SqliteStore.open_readonly(self._state)
        return self

    def changes(self) -> int:
        """A number that is another one then; 0 where that cannot be seen."""
        try:
            return int(self._store.changes())
        except HomeportError:
            return 0

    def __exit__(self, *_: object) -> None:
        self._store.close()


@contextmanager
def _resized() -> Iterator[threading.Event]:
    """An event that is set whenever the terminal changes its size."""
    changed = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        changed.set()

    before = signal.signal(signal.SIGWINCH, note)
    try:
        yield changed
    finally:
        signal.signal(signal.SIGWINCH, before)
