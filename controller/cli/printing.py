"""Printing: tables, ages and lines. rich on a terminal, aligned text without colour anywhere else.

It prints documents of the control room; where they come from does not belong here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

COLOURS = {
    "Ready": "green", "Progressing": "cyan", "Waiting": "cyan", "Removing": "cyan",
    "Suspended": "dim", "Stopped": "dim",
    "Orphaned": "yellow", "Unknown": "yellow", "Held": "yellow", "RemovalBlocked": "yellow",
    "NeedsConfiguration": "yellow", "RolledBack": "yellow",
    "Invalid": "red", "Failed": "red", "Degraded": "red",
    "ok": "green", "warn": "yellow", "fail": "red", "error": "red", "warning": "yellow",
}  # fmt: skip
"""Words that stand out on a terminal."""


def wants_colour() -> bool:
    """Whether what is printed is looked at on a terminal whose owner did not say no."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def as_json(document: object) -> None:
    """For programs."""
    click.echo(json_text(document, indent=2))


def json_text(document: object, indent: int | None = None) -> str:
    """JSON as people can read it, for it may go to a terminal as well: what is not printable is written out."""
    text = json.dumps(document, indent=indent, default=str, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else _written_out(c) for c in text)


def _written_out(char: str) -> str:
    # json leaves DEL as it is.
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


def clean(text: object) -> str:
    """One line without control characters: names and messages come from files that others wrote."""
    return "".join(c if c.isprintable() else " " for c in str(text).replace("\n", "; "))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for people, the last column as wide as it needs."""
    texts = [[clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(head, texts)
        return
    for line in aligned([list(head), *texts]):
        click.echo(line)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _rich_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for title in head:
        drawn.add_column(title, no_wrap=title != head[-1], overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell, style=COLOURS.get(cell.partition(" ")[0], "")) for cell in row))
    Console().print(drawn)


def age(since: datetime | None, now: datetime) -> str:
    """How long ago, in one or two units."""
    if since is None:
        return "-"
    seconds = max(0, int((now - since).total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    if seconds < 7200:
        return f"{seconds // 60}m"
    if seconds < 172800:
        return f"{seconds // 3600}h"
    return f"{seconds // 86400}d"


def status_table(document: Mapping[str, Any], now: datetime, *, wide: bool = False) -> None:
    """The status for people: what is wrong with the service first, then one line an app."""
    service = document["service"]
    if not service.get("running"):
        click.echo("The service is not running; this is what it last recorded. Start it with `homeport run`.")
    elif (service.get("engine") or {}).get("reachable") is False:
        strange = clean((service.get("engine") or {}).get("message") or "")
        away = "The engine cannot be reached; what runs goes on running. See `homeport doctor`."
        click.echo(f"{strange[:1].upper()}{strange[1:]}." if strange else away)
    elif (state := service.get("state") or {}).get("writable") is False:
        click.echo(
            f"Nothing can be remembered, so nothing is begun; what runs goes on running: {clean(state['message'])}"
        )
    for trouble in service.get("trouble") or ():
        click.echo(f"Apps tree: {clean(trouble)}.")
    if service.get("held"):
        click.echo(f"Removals held: {', '.join(map(clean, service['held']))}. See `homeport prune`.")
    if not document["apps"]:
        click.echo(
            f"No apps yet in {service.get('appsRoot') or 'the apps tree'}. Put a folder with a manifest.json there, "
            "or name another tree: --apps and --state, or HOMEPORT_APPS and HOMEPORT_STATE."
        )
        return
    head = ["APP", "STATUS", "GENERATION", "SINCE", "MESSAGE"]
    if wide:
        head[4:4] = ["VERSION", "REVISION", "SERVICES", "REQUIRES", "RETRIES", "NEXT TRY"]
    table(head, [_row(app, now, wide=wide) for app in document["apps"]])


def _row(app: Mapping[str, Any], now: datetime, *, wide: bool) -> list[object]:
    from controller.control.queries import parse_time

    ready: Mapping[str, Any] = next((c for c in app["conditions"] if c["type"] == "Ready"), {})
    word = app["summary"] + (f" (was {app['lastSummary']})" if app.get("lastSummary") else "")
    generation = str(app["generation"])
    if app["observedGeneration"] != app["generation"]:
        generation += (
            f" (seen {app['observedGeneration']})" if app["observedGeneration"] >= 0 else " (not seen)"
        )
    row: list[object] = [app["name"], word, generation, age(parse_time(ready.get("lastTransitionTime")), now)]
    if wide:
        running = sum(1 for s in app["observed"]["services"].values() if s.get("state") == "running")
        next_try = parse_time(app["nextTryTime"])
        row += [
            app["version"] or "-",
            (app["target"] or {"revision": "-"})["revision"].removeprefix("sha256:")[:12] or "-",
            f"{running}/{len(app['desired']['services'])}",
            ",".join(app["requires"]) or "-",
            app["retries"],
            f"{max(0, int((next_try - now).total_seconds()))}s" if next_try else "-",
        ]
    return [*row, _message(app, ready, now)]


def _message(app: Mapping[str, Any], ready: Mapping[str, Any], now: datetime) -> str:
    """What a person reads first: of a suspended app that it is, of a failed one when it is tried again."""
    from controller.control.queries import parse_time

    if app["summary"] == "Suspended":
        return str(next((c["message"] for c in app["conditions"] if c["type"] == "Suspended"), ""))
    next_try = parse_time(app["nextTryTime"])
    message = str(ready.get("message", ""))
    if app["summary"] == "Failed" and next_try is not None:
        message += f" (next try in {max(0, int((next_try - now).total_seconds()))} s)"
    return message


def left_line(app: str, volumes: Sequence[str]) -> str:
    """What a removed app left, and how to get rid of it."""
    names = clean(" ".join(volumes))
    return (
        f"{clean(app)} is not installed; its volumes are kept: {names}. "
        f"To delete them with all that is in them: `homeport purge {clean(app)} {names}`"
    )


def history_table(document: Mapping[str, Any]) -> None:
    """The revisions of an app for people; `*` is the one that is kept running."""
    from controller.control.history import short

    if not document["revisions"]:
        click.echo(f"{clean(document['app'])} was never applied.")
    else:
        rows = [
            ("*" if known["current"] else "", known["generation"], short(known["revision"]), known["version"] or "-",
             known["appliedTime"], "good" if known["good"] else "-")
            for known in document["revisions"]
        ]  # fmt: skip
        table(["", "GENERATION", "REVISION", "VERSION", "APPLIED", "GOOD"], rows)
    kept_out = document["quarantine"]
    if kept_out is not None:
        click.echo(
            clean(
                f"Generation {kept_out['generation']} is not tried again ({kept_out['reason']}): {kept_out['message']}"
            )
        )


def event_line(event: Mapping[str, Any]) -> str:
    """One event for people."""
    return clean(f"{event['time']}  {event['app'] or '-':<16} {event['event']:<24} {event['message']}")
