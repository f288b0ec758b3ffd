"""Questions: the commands that tell what is, was and would be. They change nothing and work while no service runs.

What the documents hold is the control room's, how things look is in `printing`.
Imports that cost time are inside the functions.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.completion import an_app, some_apps
from controller.cli.options import APP_WRONG, FINE, Common, common, output
from controller.cli.plain import clean

if TYPE_CHECKING:
    from controller.cli.layout import Page
    from controller.places import Where

EVERY = 1.0
"""Seconds between looks of `status --watch` and `events -f`."""
FOLLOWED = 10
"""Events that are told first by `events -f`, as `tail -f` and `journalctl -f` have it."""
SOON = 0.2
"""Seconds between looks of `wait`."""
RECORDED = "The service is not running; this is what it last recorded."
"""The note to an answer that may be out of date."""


@click.command()
@some_apps()
@output("text", "json")
@common
def plan(options: Common, names: tuple[str, ...], form: str) -> int:
    """Say what would be done and why; touch nothing.

    \b
    Example: homeport plan zigbee2mqtt
    """
    from controller.cli import offline, printing, screens, serve

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
        printing.show(screens.plans(plans, printing.page()))
    return APP_WRONG if any(a["kind"] == "error" for p in plans for a in p["actions"]) else FINE


@click.command()
@some_apps()
@output("table", "wide", "json")
@click.option("--watch", "-w", is_flag=True, help="again whenever something changes, until Ctrl-C")
@common
def status(options: Common, names: tuple[str, ...], form: str, watch: bool) -> int:
    """Show what is desired against what is observed.

    All apps, or one with all that is known of it.

    Works while the service is down, and says so.

    \b
    Example: homeport status -o wide
    """
    from controller.cli import printing
    from controller.clock import SystemClock

    settings = options.places()
    if form != "json" and watch:
        from controller.cli import watching

        def look() -> dict[str, Any]:
            return _status_document(settings, names, page=form == "table")

        def lines(document: Mapping[str, Any], now: datetime, page: Page) -> list[str]:
            return _status_lines(document, now, form, names, page)

        with suppress(KeyboardInterrupt):
            if sys.stdout.isatty():
                watching.on_terminal(settings, look, lines)
            else:
                watching.in_lines(settings, look)
        return FINE
    if form != "json":
        document = _status_document(settings, names, page=form == "table")
        printing.show(_status_lines(document, SystemClock().now(), form, names, printing.page()))
        return FINE
    before = None
    with suppress(KeyboardInterrupt):
        for turn in _ticks(watch):
            document = _status_document(settings, names, page=False)
            document.pop("words", None)
            if not turn and not document["service"].get("running"):
                printing.note(RECORDED)
            if document != before:
                printing.as_json(document)
            before = document
    return FINE


def _status_document(settings: Where, names: tuple[str, ...], *, page: bool) -> dict[str, Any]:
    """The status of these apps, or of all; with the last events for the `page` of one. Raises `UnknownApp`."""
    from controller.cli import standing

    document = standing.status_now(settings, names)
    if not names:
        return document
    # What the others are is told beside what one of them requires.
    document["words"] = [{"name": a["name"], "summary": a["summary"]} for a in document["apps"]]
    document["apps"] = [entry for entry in document["apps"] if entry["name"] in names]
    document["left"] = {name: left for name, left in document["left"].items() if name in names}
    found = {*document["left"], *(entry["name"] for entry in document["apps"])}
    if not found.issuperset(names):
        from controller.control.verbs import check_among

        check_among(names, {*found, *(entry["name"] for entry in document["words"])})
    if page and len(names) == 1 and document["apps"]:
        from controller.cli import offline, screens
        from controller.control.queries import events_list

        with offline.looking(settings) as store:
            document["events"] = events_list(store, names[0])[-screens.LAST_EVENTS :]
    return document


def _status_lines(
    document: Mapping[str, Any], now: datetime, form: str, names: tuple[str, ...], page: Page
) -> list[str]:
    from controller.cli import screens

    gone = [name for name in document["left"] if name in names]
    lines = [line for app in gone for line in page.wrap(screens.left_volumes(app, document["left"][app]))]
    if "events" in document:
        return lines + screens.app_page(document["apps"][0], document, document["events"], now, page)
    if document["apps"] or not gone:
        lines += screens.status(document, now, page, wide=form == "wide")
    return lines


@click.command()
@an_app()
@click.option("--for", "wanted", metavar="WORD", default="Ready", show_default=True, help="several: A,B")
@click.option("--timeout", metavar="TIME", default="5m", show_default=True, help="like 30s, 5m or 1h")
@common
def wait(options: Common, app: str, wanted: str, timeout: str) -> int:
    """Wait until the status of an app is one of these words.

    What was recorded before the app's files changed does not count. While no service runs, that is said, and one is
    waited for.

    1: that was not so in time.

    \b
    Example: homeport wait zigbee2mqtt --for Ready,Degraded --timeout 10m
    """
    from controller.cli import offline, printing
    from controller.clock import SystemClock

    settings = options.places()
    words = _words(wanted)
    patience = duration(timeout).total_seconds()
    offline.check_known(settings, (app,))
    clock = SystemClock()
    deadline = clock.monotonic() + patience
    told = None
    for _ in _ticks(True, SOON):
        running = offline.service_runs(settings)
        word, message = _word_now(settings, app, clock.now(), running=running)
        if word in words and not _is_behind(settings, app):
            if not running:
                printing.note(RECORDED)
            click.echo(f"{app} is {word}.")
            return FINE
        if word in words:
            message = "that was before its files changed, which nobody has taken in yet"
        text = clean(f"{app} is {word}" + (f": {message}" if message else ""))
        text += "" if running else " (the service is not running)"
        if clock.monotonic() >= deadline:
            printing.note(f"homeport: not {wanted} in {timeout}: {text}")
            return APP_WRONG
        if text != told:
            printing.note(text)
        told = text
    return APP_WRONG


def _is_behind(settings: Where, app: str) -> bool:
    """Whether what is on record is of other files than there are in the app's folder at this moment."""
    from controller.cli import offline, serve

    folder = Path(settings.apps) / app
    if not folder.is_dir():
        return False
    with offline.looking(settings) as store:
        record = store.record(app)
    return record is not None and record.revision != serve.load_folder(folder).revision


def _words(wanted: str) -> set[str]:
    from controller.status.summary import WORDS

    words = {word.strip() for word in wanted.split(",")}
    for word in sorted(words - set(WORDS)):
        raise click.BadParameter(f"{word!r} is none of {', '.join(WORDS)}", param_hint="--for")
    return words


def _word_now(settings: Where, app: str, now: datetime, *, running: bool) -> tuple[str, str]:
    """The word and the message of one app, as far as the store tells. `running`: whether the service does."""
    from controller.cli import offline
    from controller.control.queries import summary_of
    from controller.control.reading import never_looked_at

    with offline.looking(settings) as store:
        record = store.record(app)
        if record is None:
            return "Unknown", never_looked_at(app)
        service = offline.describe(settings, store, running=running)
        word = summary_of(record, service, now, 2 * settings.resync)
    if service["engine"]["reachable"] is False:
        return word, str(service["engine"].get("message") or "the container engine does not answer")
    ready = record.condition("Ready")
    return word, ready.message if ready is not None else ""


@click.command()
@an_app(required=False)
@click.option("-f", "--follow", is_flag=True, help="go on with what happens, until Ctrl-C")
@click.option("--since", help="only what is newer: 30s, 10m, 1h, 2d, or a time like 2026-01-31T12:00:00Z")
@click.option(
    "--tail",
    metavar="N",
    help="the last N of it, or all  [default: all; with -f and without --since the last 10]",
)
@output("text", "json")
@common
def events(
    options: Common, app: str | None, follow: bool, since: str | None, tail: str | None, form: str
) -> int:
    """Tell what happened, oldest first. With -f, json is one object a line.

    \b
    Example: homeport events zigbee2mqtt --tail 20 -f
    """
    from controller.cli import offline, printing
    from controller.clock import SystemClock
    from controller.control.queries import events_list
    from controller.control.verbs import check_among

    settings = options.places()
    start = since_time(since, SystemClock().now()) if since else None
    most = _most(tail or (str(FOLLOWED) if follow and not since else "all"))
    last = 0
    with suppress(KeyboardInterrupt):
        for turn in _ticks(follow):
            with offline.looking(settings) as store:
                found = events_list(store, app, start, last)
                if turn == 0 and app is not None and not found:
                    check_among((app,), offline.known_names(settings, store))
            if turn == 0 and not offline.service_runs(settings):
                printing.note(RECORDED)
            last = max([last, *(event["id"] for event in found)])
            if turn == 0 and most is not None:
                found = found[-most:] if most else []
            _show_events(found, form, follow=follow)
    return FINE


def _most(tail: str) -> int | None:
    """How many events are told at first; None: all. Raises `click.BadParameter`."""
    if tail == "all":
        return None
    if not (tail.isascii() and tail.isdigit()):
        raise click.BadParameter(f"{tail!r} is neither a number nor all", param_hint="--tail")
    return int(tail)


def _show_events(found: list[dict[str, Any]], form: str, *, follow: bool) -> None:
    from controller.cli import printing, screens
    from controller.clock import SystemClock

    if form == "json" and not follow:
        printing.as_json({"events": found})
    elif form == "json":
        printing.show(printing.json_text(event) for event in found)
    else:
        printing.show(screens.event_lines(found, SystemClock().now(), printing.page()))


def since_time(text: str, now: datetime) -> datetime:
    """`1h`, `30m`, or a time of day with a date. Raises `click.BadParameter`."""
    from controller.control.queries import parse_since

    moment = parse_since(text, now)
    if moment is None:
        raise click.BadParameter(
            f"{text!r} is neither like 1h nor a time like 2026-01-31T12:00:00Z", param_hint="--since"
        )
    return moment


def duration(text: str) -> timedelta:
    """`30s`, `5m` or `1h`. Raises `click.BadParameter`."""
    from controller.control.queries import parse_span

    span = parse_span(text)
    if span is None:
        raise click.BadParameter(f"{text!r} is not like 30s, 5m or 1h", param_hint="--timeout")
    return span


def _ticks(again: bool, every: float = EVERY) -> Iterable[int]:
    """Once; or with `again` every so many seconds until Ctrl-C."""
    turn = 0
    yield turn
    pause = threading.Event()
    try:
        while again:
            pause.wait(every)
            turn += 1
            yield turn
    except KeyboardInterrupt:
        return


@click.command()
@an_app()
@output("text", "json")
@common
def history(options: Common, app: str, form: str) -> int:
    """List the revisions of an app that were applied, newest first.

    `homeport rollback` goes back to one.

    \b
    Example: homeport history zigbee2mqtt
    """
    from controller.cli import offline, printing, screens
    from controller.clock import SystemClock
    from controller.control.queries import history_document
    from controller.model.record import Record

    settings = options.places()
    with offline.looking(settings) as store:
        record = store.record(app)
    if record is None:
        offline.check_known(settings, (app,))
    document = history_document(record or Record(app))
    if form == "json":
        printing.as_json(document)
    else:
        printing.show(screens.history(document, SystemClock().now(), printing.page()))
    return FINE


@click.command()
@an_app()
@click.argument("service", required=False)
@click.option("-f", "--follow", is_flag=True, help="go on with what is written, until Ctrl-C")
@click.option("--tail", metavar="N", type=click.IntRange(min=0), help="the last N lines of each container")
@common
def logs(options: Common, app: str, service: str | None, follow: bool, tail: int | None) -> int:
    """Print what an app's containers wrote, as Compose prints it.

    \b
    Example: homeport logs zigbee2mqtt --tail 100 -f
    """
    from controller.cli import offline, printing, serve

    settings = options.settings()
    offline.check_known(settings, (app,))
    if service is not None:
        _check_service(settings, app, service)
    if not serve.has_containers(settings, app):
        printing.note(f"{app} has no containers. `homeport why {app}` says how it stands.")
        return FINE
    colour = printing.wants_colour()
    try:
        code = serve.show_logs(app, service, follow=follow, tail=tail, colour=colour)
    except KeyboardInterrupt:
        return FINE
    return APP_WRONG if code else FINE


def _check_service(settings: Where, app: str, service: str) -> None:
    """Compose prints nothing for a service that there is not, and calls it fine."""
    from controller.cli import offline

    with offline.looking(settings) as store:
        record = store.record(app)
    known = sorted({*record.desired_services, *record.observed_services}) if record is not None else []
    if known and service not in known:
        raise click.UsageError(f"{app} has no service {service!r}; it has {', '.join(known)}.")


COMMANDS = (plan, status, events, wait, history, logs)
