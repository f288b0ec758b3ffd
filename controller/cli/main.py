"""Main: the commands of `homeport`. Each parses, asks the service or the store, prints, and ends with a code.

Imports that cost time are inside the functions: `homeport --help` needs click alone. What a verb means is
the control room's, how things look is in `printing`.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.options import APP_WRONG, FINE, Common, common, output, setting_flags

if TYPE_CHECKING:
    from controller.api import ApiClient
    from controller.control.service import Service
    from controller.model.plan import Action
    from controller.settings import Settings

EVERY = 1.0
"""Seconds between looks of `status --watch` and `events -f`."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def main() -> None:
    """The entry point; `python -m controller` comes here as well."""
    cli(prog_name="homeport")


@click.group("homeport", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Keeps Docker Compose apps on this machine as their folders say.

    \b
    Example: homeport status
    Exit codes: 0 fine, 1 something is wrong with an app, 2 wrong use, 3 service or engine out of reach.
    """


# -- the service --------------------------------------------------------------------------------------------


@cli.command()
@click.option(
    "--once", is_flag=True, help="reconcile until every app is Ready or can get no further, then end"
)
@setting_flags
@common
def run(options: Common, once: bool, **flags: Any) -> int:
    """Run the service until a signal ends it; the apps go on running.

    \b
    Example: homeport run --apps /srv/apps --state /srv/state
    """
    from controller.cli import serve

    settings = options.settings(**flags)
    code = serve.run(settings, once)
    if once:
        _show_once(settings)
    return code


def _show_once(settings: Settings) -> None:
    from controller.cli import printing
    from controller.cli.offline import describe
    from controller.clock import SystemClock
    from controller.control.queries import status_document
    from controller.status.store import SqliteStore

    now = SystemClock().now()
    store = SqliteStore.open_readonly(Path(settings.state))
    try:
        # It ran until just now: the table is about the apps, not about a service that is down.
        printing.status_table(status_document(store, describe(settings, store, running=True), now, None), now)
    finally:
        store.close()


# -- verbs --------------------------------------------------------------------------------------------------


@cli.command()
@click.argument("names", metavar="[APP]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="do nothing; say what would be done")
@output("text", "json")
@common
def reconcile(options: Common, names: tuple[str, ...], dry_run: bool, form: str) -> int:
    """Bring apps to what their folders say, once; all of them when none is named.

    \b
    Example: homeport reconcile zigbee2mqtt --dry-run
    """
    from controller.cli import offline, printing, serve

    settings = options.settings()
    client = offline.running(settings)
    if client is not None:
        actions = client.reconcile(names, dry_run=dry_run)
    else:
        _check_offline(settings, names)
        actions = _documents(serve.sweep(settings, names, dry_run))
    if form == "json":
        printing.as_json({"actions": actions})
    else:
        for action in actions:
            click.echo(printing.clean(action["line"]))
    return APP_WRONG if any(action["kind"] == "error" for action in actions) else FINE


@cli.command()
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
        _check_offline(settings, names)
        plans = [{"app": app, "actions": _documents(p.actions)} for app, p in serve.plans(settings, names)]
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


def _documents(actions: Iterable[Action]) -> list[dict[str, Any]]:
    from controller.api.server import action_document

    return [dict(action_document(action)) for action in actions]


def _check_offline(settings: Settings, names: tuple[str, ...]) -> None:
    from controller.cli.offline import known_names
    from controller.control.verbs import check_among
    from controller.status.store import SqliteStore

    if names:
        store = SqliteStore.open_readonly(Path(settings.state))
        try:
            check_among(names, known_names(settings, store))
        finally:
            store.close()


@cli.command()
@click.option("--approve", is_flag=True, help="let them go")
@output("text", "json")
@common
def prune(options: Common, approve: bool, form: str) -> int:
    """List the removals that the brake holds, or let them go. Volumes stay in any case.

    \b
    Example: homeport prune --approve
    """
    from controller.cli import offline, printing
    from controller.control import verbs

    settings = options.settings()
    client = offline.running(settings)
    if client is not None:
        held = client.prune(approve=approve)
    else:
        with offline.offline(settings) as service:
            held = list(verbs.prune(service, verbs.Prune(approve)))
        _say_offline()
    if form == "json":
        printing.as_json({"held": held, "approved": approve})
        return FINE
    for name in held:
        click.echo(f"{printing.clean(name)}: {'let go' if approve else 'removal held'}")
    if not held:
        click.echo("No removal is held.")
    elif not approve:
        click.echo("Put their folders back, or let them go: `homeport prune --approve`.", err=True)
    return FINE


@cli.command()
@click.argument("app")
@common
def suspend(options: Common, app: str) -> int:
    """Stop reconciling an app; its containers are left as they are.

    \b
    Example: homeport suspend zigbee2mqtt
    """
    from controller.control import verbs

    def alone(service: Service) -> None:
        verbs.suspend(service, verbs.Suspend(app))

    _either(options, lambda client: client.suspend(app), alone)
    click.echo(f"{app} is suspended. `homeport resume {app}` takes it up again.")
    return FINE


@cli.command()
@click.argument("app")
@common
def resume(options: Common, app: str) -> int:
    """Reconcile a suspended app again.

    \b
    Example: homeport resume zigbee2mqtt
    """
    from controller.control import verbs

    def alone(service: Service) -> None:
        verbs.resume(service, verbs.Resume(app))

    _either(options, lambda client: client.resume(app), alone)
    click.echo(f"{app} is reconciled again.")
    return FINE


def _either(options: Common, ask: Callable[[ApiClient], None], alone: Callable[[Service], None]) -> None:
    from controller.cli import offline

    settings = options.settings()
    client = offline.running(settings)
    if client is not None:
        ask(client)
        return
    with offline.offline(settings) as service:
        alone(service)
    _say_offline()


def _say_offline() -> None:
    click.echo("The service is not running; this takes effect at its next start.", err=True)


# -- questions ----------------------------------------------------------------------------------------------


@cli.command()
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


@cli.command()
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


@cli.command()
@click.argument(
    "paths", metavar="[PATH]...", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@output("text", "json")
@common
def validate(options: Common, paths: tuple[Path, ...], form: str) -> int:
    """Check app folders with no engine: every error with its file, line, field and rule.

    \b
    Example: homeport validate ./zigbee2mqtt
    """
    from controller.cli import offline, printing, serve

    wanted = paths or offline.folders(Path(options.settings().apps))
    results = [_validated(path.absolute(), serve.load_folder(path.absolute())) for path in wanted]
    if form == "json":
        printing.as_json({"apps": results})
    else:
        for result in results:
            _show_validated(result)
        if not results:
            click.echo("No app folders there.")
    return APP_WRONG if any(not result["valid"] for result in results) else FINE


def _validated(path: Path, found: Any) -> dict[str, Any]:
    problems = getattr(found, "problems", ())
    return {
        "name": found.name,
        "folder": str(path),
        "valid": not hasattr(found, "problems"),
        "problems": [
            {"file": p.file, "line": p.line, "field": p.field, "rule": p.rule, "text": str(p)}
            for p in problems
        ],
        "toConfigure": [str(p) for p in getattr(found, "unset", ())],
        "warnings": list(getattr(found, "warnings", ())),
    }


def _show_validated(result: Mapping[str, Any]) -> None:
    from controller.cli import printing

    name = printing.clean(result["name"])
    for problem in result["problems"]:
        click.echo(f"{name}: {printing.clean(problem['text'])}", err=True)
    if result["valid"]:
        click.echo(f"{name}: fine")
    for text in result["toConfigure"]:
        click.echo(f"{name}: to be configured: {printing.clean(text)}")
    for text in result["warnings"]:
        click.echo(f"{name}: warning: {printing.clean(text)}")


@cli.command()
@output("text", "json")
@common
def version(options: Common, form: str) -> int:
    """Say the versions of Homeport, Compose and the engine.

    \b
    Example: homeport version -o json
    """
    from controller import __version__
    from controller.cli import printing, serve
    from controller.model.errors import EngineUnreachable

    compose = engine = None
    try:
        info = serve.engine_info(options.settings())
        compose, engine = info.compose, info.version
    except EngineUnreachable as problem:
        click.echo(f"homeport: {problem}", err=True)
    if form == "json":
        printing.as_json({"homeport": __version__, "compose": compose or None, "engine": engine})
    else:
        click.echo(
            f"homeport {__version__}\ncompose  {compose or 'unknown'}\nengine   {engine or 'out of reach'}"
        )
    return FINE


@cli.command()
@output("text", "json")
@common
def doctor(options: Common, form: str) -> int:
    """Check what the service stands on: engine, compose, inotify, disk, rights, clock; each with the fix.

    \b
    Example: homeport doctor
    """
    from controller.cli import printing
    from controller.cli.doctor import examine

    findings = []
    for finding in examine(options.settings()):
        findings.append(finding)
        if form == "text":
            fix = f". To mend it: {finding.fix}" if finding.fix else ""
            level = finding.level
            shown = click.style(f"{level:<5}", fg=printing.COLOURS[level]) if _colour() else f"{level:<5}"
            click.echo(shown + printing.clean(f"{finding.what}: {finding.message.rstrip('.')}{fix}"))
    if form == "json":
        printing.as_json({"checks": [vars(finding) for finding in findings]})
    return APP_WRONG if any(finding.level == "fail" for finding in findings) else FINE


def _colour() -> bool:
    import os

    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
