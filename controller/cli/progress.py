"""Progress: what happens while a command waits for it: live on a terminal, a plain line for each change elsewhere.

All of it goes to standard error: standard output is for what was done. The looks are this command's own; the service is
asked, and does nothing by itself for it.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO, cast

from controller.cli.layout import Page
from controller.cli.screens import event_lines, message, step_line

if TYPE_CHECKING:
    from rich.console import Console

    from controller.api.client import ApiClient
    from controller.model.activity import Activity
    from controller.places import Where

Look = Callable[[], Sequence[Mapping[str, Any]]]
"""The apps as the status document has them, with what is being done for each."""
EVERY = 0.25
"""Seconds between two looks."""
AT_REST = (
    "Ready", "Suspended", "Stopped", "Orphaned", "Held", "RemovalBlocked", "Invalid", "NeedsConfiguration", "RolledBack",
)  # fmt: skip
"""Words of apps that come no further by themselves; what they are is told at the end."""


def of_service(client: ApiClient) -> Look:
    """What the service says."""

    def look() -> Sequence[Mapping[str, Any]]:
        apps: Sequence[Mapping[str, Any]] = client.status()["apps"]
        return apps

    return look


def of_ourselves(settings: Where, activity: Activity) -> Look:
    """What a sweep in this process has recorded so far, and what it is at."""
    from controller.cli import offline
    from controller.clock import SystemClock
    from controller.control.queries import activity_document, status_document

    def look() -> Sequence[Mapping[str, Any]]:
        with offline.looking(settings) as store:
            service = {"running": True, "activity": activity_document(activity.steps())}
            apps: Sequence[Mapping[str, Any]] = status_document(store, service, SystemClock().now(), None)[
                "apps"
            ]
        return apps

    return look


@contextmanager
def shown(
    settings: Where, names: Sequence[str], look: Look, *, plain: bool = True
) -> Iterator[TextIO | None]:
    """While the block runs, show what becomes of these apps, or of all when none is named.

    Gives a stream for lines that are to stay, above what is live; None where nothing is. `plain`: whether there are lines
    for what happens where no terminal is.
    """
    over = threading.Event()
    above: TextIO | None = None
    if sys.stderr.isatty():
        console = _console()
        above = cast("TextIO", _Above(console))
        follow = partial(_live, names, look, over, console)
    elif plain:
        follow = partial(_plain, settings, names, over)
    else:
        yield None
        return
    thread = threading.Thread(target=follow, name="homeport-progress", daemon=True)
    thread.start()
    try:
        yield above
    finally:
        over.set()
        thread.join()


class _Above(io.TextIOBase):
    """Lines that stay, above what is live."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        from rich.text import Text

        self._console.print(Text.from_ansi(text.rstrip("\n")), soft_wrap=True)
        return len(text)


def _plain(settings: Where, names: Sequence[str], over: threading.Event) -> None:
    """One line for each event, as it comes."""
    import click

    from controller.cli import offline
    from controller.clock import SystemClock
    from controller.control.queries import events_list
    from controller.model.errors import HomeportError

    clock = SystemClock()
    began, last, ended = clock.now(), 0, False
    while True:
        try:
            with offline.looking(settings) as store:
                while True:
                    for event in events_list(store, None, began, last):
                        last = event["id"]
                        if event["app"] and (not names or event["app"] in names):
                            click.echo("\n".join(event_lines([event], clock.now(), Page())), err=True)
                    if ended:
                        return
                    ended = over.wait(EVERY)
        except HomeportError:  # the state is not there yet, or not any more
            if over.wait(EVERY):
                return


def _live(names: Sequence[str], look: Look, over: threading.Event, console: Console) -> None:
    """A line for each app that is on its way; nothing of it is left at the end."""
    from rich.live import Live
    from rich.text import Text

    from controller.clock import SystemClock
    from controller.model.errors import HomeportError

    clock = SystemClock()
    pause = EVERY
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not over.wait(pause):
            began = clock.monotonic()
            try:
                apps = look()
            except HomeportError:
                continue
            # Of many apps an answer takes a while; who makes it has something else to do meanwhile.
            pause = max(EVERY, 5 * (clock.monotonic() - began))
            page = Page(console.width - 1, colour=not console.no_color)
            told = [
                line
                for app in apps
                if not names or app["name"] in names
                for line in rows(app, clock.now(), page)
            ]
            room = max(1, console.height - 2)
            if len(told) > room:
                told = [*told[: room - 1], f"and {len(told) - room + 1} more"]
            live.update(Text.from_ansi("\n".join(told)), refresh=True)


def _console() -> Console:
    """The terminal behind standard error. rich honours NO_COLOR by itself."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def rows(app: Mapping[str, Any], now: datetime, page: Page) -> list[str]:
    """What is being done for an app, or what it waits for; nothing for one that is at rest."""
    if not app.get("activity") and app["summary"] in AT_REST:
        return []
    return page.wrap(f"{app['name']}: {step_line(app, now) or message(app, now)}", "", "    ")[:2]
