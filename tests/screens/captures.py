"""Each screen at each width, as a terminal shows it. What is kept in docs/screens is exactly this."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyte

from controller.cli import progress, screens
from controller.cli.layout import Page
from controller.control.queries import action_document, events_list, history_document, status_document
from controller.control.why import explain
from controller.model.plan import Action
from controller.status.store import SqliteStore
from screens.fleet import NOW, SERVICE, fleet

FOLDER = Path(__file__).parents[2] / "docs" / "screens"
WIDTHS = (80, 140)
Show = Callable[[SqliteStore, Page], list[str]]


def _document(store: SqliteStore) -> dict[str, Any]:
    return status_document(store, SERVICE, NOW, 600)


def _app(name: str) -> Show:
    def show(store: SqliteStore, page: Page) -> list[str]:
        document = _document(store)
        (app,) = (app for app in document["apps"] if app["name"] == name)
        return screens.app_page(app, document, events_list(store, name)[-screens.LAST_EVENTS :], NOW, page)

    return show


def _why(name: str) -> Show:
    def show(store: SqliteStore, page: Page) -> list[str]:
        records = {record.name: record for record in store.records()}
        return screens.why(explain(records, name, NOW, SERVICE, 600), page)

    return show


def _history(store: SqliteStore, page: Page) -> list[str]:
    record = store.record("paperless")
    assert record is not None
    return screens.history(history_document(record), NOW, page)


def _status(*, wide: bool) -> Show:
    return lambda store, page: screens.status(_document(store), NOW, page, wide=wide)


def _plan(_store: SqliteStore, page: Page) -> list[str]:
    change = "service main: config hash differs (environment LOG_LEVEL changed; image zigbee2mqtt:2.0 becomes zigbee2mqtt:2.1)"
    actions = (
        Action("hook", "zigbee2mqtt:mosquitto:on_start", "scripts/ensure-client.sh", "before the start"),
        Action("compose_up", "zigbee2mqtt", cause=change),
    )
    waiting = Action("wait", "reports", "waits for invoices: it is Failed")
    documents = [
        {"app": "reports", "actions": [action_document(waiting)]},
        {"app": "zigbee2mqtt", "actions": [action_document(action) for action in actions]},
    ]
    return screens.plans(documents, page)


def _live(store: SqliteStore, page: Page) -> list[str]:
    return [line for app in _document(store)["apps"] for line in progress.rows(app, NOW, page)]


SCREENS: Mapping[str, Show] = {
    "status": _status(wide=False),
    "status -o wide": _status(wide=True),
    "status zigbee2mqtt": _app("zigbee2mqtt"),
    "status invoices": _app("invoices"),
    "status wiki": _app("wiki"),
    "status paperless": _app("paperless"),
    "why reports": _why("reports"),
    "why guestbook": _why("guestbook"),
    "why paperless": _why("paperless"),
    "events": lambda store, page: screens.event_lines(events_list(store), NOW, page),
    "history paperless": _history,
    "plan": _plan,
    "reconcile   (live, while it runs)": _live,
}
"""What is typed after `homeport`, and what is shown then."""


def lines(name: str, width: int) -> list[str]:
    """The lines of that screen, in colour."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    with fleet() as store:
        return SCREENS[name](store, Page(width, colour=True))


def on_terminal(text: Iterable[str], width: int) -> pyte.Screen:
    """A terminal of that width, after these lines were printed on it."""
    told = list(text)
    screen = pyte.Screen(width, 4 * len(told) + 2)
    pyte.Stream(screen).feed("".join(line + "\r\n" for line in told))
    return screen


def capture(width: int) -> str:
    """All screens of that width, as text."""
    parts = []
    for name in SCREENS:
        shown = [row.rstrip() for row in on_terminal(lines(name, width), width).display]
        parts.append("\n".join([f"$ homeport {name}", *shown]).rstrip() + "\n")
    return "\n\n".join(parts)


def path_of(width: int) -> Path:
    """Where the captures of that width are kept."""
    return FOLDER / f"{width}-columns.txt"
