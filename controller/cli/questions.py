"""Questions: the commands that tell what is, was and would be. They change nothing and work while no service runs.

What the documents hold is the control room's, how things look is in `printing`.
Imports that cost time are inside the functions.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.options import APP_WRONG, FINE, Common, common, output

if TYPE_CHECKING:
    from controller.settings import Settings

EVERY = 1.0
"""Seconds between looks of `status --watch` and `events -f`."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@click.command()
@click.argument("names", metavar="[APP]...", nargs=-1)
@output("text", "json")
@common
def plan(options: Common, names: tuple[str, ...], form: str) -> int:
    """Say what would be done and why; touch nothing.

    \b
    Example: homeport plan zigbee2mqtt
    """
    from controller.cli import offline, printing, serve

    settings = options.settings()
    client = offline.running(settings)
    if client is not None:
        plans = client.plan(names)
    else:
        offline.check_known(settings, names)
        plans = [
            {"app": app, "actions": offline.documents(p.actions)} for app, p in serve.plans(settings, names)
        ]
    if form == "json":
        printing.as_json({"plans": plans})
    else:
        _print_plans(plans)
    return APP_WRONG if any(a["kind"] == "error" for p in plans for a in p["actions"]) else FINE


def _print_plans(plans: Iterable[Mapping[str, Any]]) -> None:
    from controller.cli import printing

    due = [entry for entry in plans if entry["actions"]]
    for entry in due:
        click.echo(f"{printing.clean(entry['app'])}:")
        for action in entry["actions"]:
            cause = f" - {action['cause']}" if action["cause"] else ""
            click.echo("  " + printing.clean(action["line"] + cause))
    if not due:
        click.echo("Nothing to do.")


@click.command()
@click.argument("app", required=False)
@output("table", "wide", "json")
@click.option("--watch", "-w", is_flag=True, help="again whenever something changes, until Ctrl-C")
@common
def status(options: Common, app: str | None, form: str, watch: bool) -> int:
    """Show what is desired against what is observed. Works while the service is down, and says so.

    \b
    Example: homeport status -o wide
    """
    settings = options.settings()
    before = None
    for _ in _ticks(watch):
        document, now = _status_document(settings, app)
        if not watch or document != before:
            _show_status(document, now, form, clear=watch)
        before = document
    return FINE


def _status_document(settings: Settings, app: str | None) -> tuple[dict[str, Any], datetime]:
    from controller.cli.offline import known_names, service_now
    from controller.clock import SystemClock
    from controller.control.queries import status_document
    from controller.control.verbs import check_among
    from controller.status.store import SqliteStore

    now = SystemClock().now()
    store = SqliteStore.open_readonly(Path(settings.state))
    try:
        document = status_document(store, service_now(settings, store), now, 2 * settings.resync)
        if app is not None:
            document["apps"] = [entry for entry in document["apps"] if entry["name"] == app]
            if not document["apps"]:
                check_among((app,), known_names(settings, store))
    finally:
        store.close()
    return document, now


def _show_status(document: Mapping[str, Any], now: datetime, form: str, *, clear: bool) -> None:
    from controller.cli import printing

    if form == "json":
        if not document["service"].get("running"):
            click.echo("The service is not running; this is what it last recorded.", err=True)
        printing.as_json(document)
        return
    if clear and sys.stdout.isatty():
        click.clear()
    printing.status_table(document, now, wide=form == "wide")


@click.command()
@click.argument("app", required=False)
@click.option("-f", "--follow", is_flag=True, help="go on with what happens, until Ctrl-C")
@click.option("--since", help="only what is newer: 30s, 10m, 1h, 2d, or a time like 2026-01-31T12:00:00Z")
@output("text", "json")
@common
def events(options: Common, app: str | None, follow: bool, since: str | None, form: str) -> int:
    """Tell what happened, oldest first. With -f, json is one object a line.

    \b
    Example: homeport events zigbee2mqtt --since 1h -f
    """
    from controller.cli.offline import known_names, service_now
    from controller.clock import SystemClock
    from controller.control.queries import events_list
    from controller.control.verbs import check_among
    from controller.status.store import SqliteStore

    settings = options.settings()
    start = since_time(since, SystemClock().now()) if since else None
    last = 0
    for turn in _ticks(follow):
        store = SqliteStore.open_readonly(Path(settings.state))
        try:
            found = events_list(store, app, start, last)
            if turn == 0:
                if app is not None and not found:
                    check_among((app,), known_names(settings, store))
                if not service_now(settings, store)["running"]:
                    click.echo("The service is not running; this is what it last recorded.", err=True)
        finally:
            store.close()
        last = max([last, *(event["id"] for event in found)])
        _show_events(found, form, follow=follow)
    return FINE


def _show_events(found: list[dict[str, Any]], form: str, *, follow: bool) -> None:
    import json

    from controller.cli import printing

    if form == "json" and not follow:
        printing.as_json({"events": found})
        return
    for event in found:
        if form == "json":
            click.echo(json.dumps(event, default=str, ensure_ascii=False))
        else:
            click.echo(printing.event_line(event))


def since_time(text: str, now: datetime) -> datetime:
    """`1h`, `30m`, or a time of day with a date. Raises `click.BadParameter`."""
    from controller.control.queries import parse_time

    match = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if match:
        return now - timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    moment = parse_time(text.strip())
    if moment is None:
        raise click.BadParameter(
            f"{text!r} is neither like 1h nor a time like 2026-01-31T12:00:00Z", param_hint="--since"
        )
    return moment


def _ticks(again: bool) -> Iterable[int]:
    """Once; or with `again` every so often until Ctrl-C."""
    turn = 0
    yield turn
    pause = threading.Event()
    try:
        while again:
            pause.wait(EVERY)
            turn += 1
            yield turn
    except KeyboardInterrupt:
        return


COMMANDS = (plan, status, events)
