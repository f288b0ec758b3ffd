"""Verbs: the commands that have something done: by the service when it runs, else by ourselves or at its next start.

Each parses, asks, prints and ends with a code. What a verb means is the control room's.
Imports that cost time are inside the functions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TextIO

import click

from controller.cli.completion import an_app, some_apps
from controller.cli.options import APP_WRONG, FINE, Common, common, output
from controller.cli.plain import clean

if TYPE_CHECKING:
    from controller.api.client import ApiClient
    from controller.control.service import Service
    from controller.control.verbs import Wish
    from controller.settings import Settings


@click.command()
@some_apps()
@click.option("--dry-run", is_flag=True, help="do nothing; say what would be done")
@click.option(
    "--new-engine", is_flag=True, help="install anew on an engine that has nothing of what is on record"
)
@output("text", "json")
@common
def reconcile(options: Common, names: tuple[str, ...], dry_run: bool, new_engine: bool, form: str) -> int:
    """Bring apps to what their folders say, once.

    All of them when none is named.

    \b
    Example: homeport reconcile zigbee2mqtt --dry-run
    """
    from controller.cli import offline, serve

    settings = options.settings()
    client = offline.awaited(settings)
    if dry_run:
        if client is not None:
            return _show_actions(client.reconcile(names, dry_run=True), form)
        offline.check_known(settings, names)
        return _show_actions(offline.documents(serve.sweep(settings, names, True)), form)
    if client is None:
        offline.check_known(settings, names)
        actions = _sweep(settings, names, lift=bool(names), new_engine=new_engine)
    else:
        with _progress(settings, names, client):
            actions = client.reconcile(names, new_engine=new_engine)
    code = _show_actions(actions, form)
    if form == "text":
        say_words(settings, names, client)
    return code


def bring_up(settings: Settings, client: ApiClient, names: tuple[str, ...]) -> int:
    """Have the service look at these apps at once, and show what becomes of them until they are at rest."""
    with _progress(settings, names, client):
        actions = client.reconcile(names)
    code = _show_actions(actions, "text")
    say_words(settings, names, client)
    return code


def say_words(
    settings: Settings, names: Sequence[str], client: ApiClient | None, *, why: bool = True
) -> None:
    """What became of these apps, a line each; of all when none is named: one line, with those that are not Ready.

    `client`: the service that did it, and says so itself; None: it was done here. `why`: with what is behind the word.
    """
    from controller.cli import offline, printing, screens
    from controller.clock import SystemClock
    from controller.model.errors import HomeportError

    try:
        apps = (offline.looked_at_now(settings) if client is None else client.status())["apps"]
    except HomeportError as problem:  # what was asked for is done: that counts
        printing.note(f"what became of it cannot be said: {problem}")
        return
    if names:
        for app in (app for app in apps if app["name"] in names):
            told = screens.message(app, SystemClock().now()) if why else ""
            printing.note(f"{app['name']} is {app['summary']}" + (f": {told}" if told else ""))
        return
    others = [f"{app['name']} is {app['summary']}" for app in apps if app["summary"] != "Ready"]
    ready = len(apps) - len(others)
    printing.note(
        f"{ready} of {len(apps)} apps are Ready" + (f"; {', '.join(others)}" if others else "") + "."
    )


def _progress(
    settings: Settings, names: Sequence[str], client: ApiClient
) -> AbstractContextManager[TextIO | None]:
    """What the service does for these apps, shown while the block waits for it."""
    from controller.cli import progress

    return progress.shown(settings, names, progress.of_service(client))


def _sweep(settings: Settings, names: tuple[str, ...], **how: bool) -> list[dict[str, Any]]:
    """One sweep by ourselves, and what it does shown while it does it."""
    from controller.cli import offline, progress, serve
    from controller.model.activity import Activity

    activity = Activity()
    with progress.shown(settings, names, progress.of_ourselves(settings, activity)):
        return offline.documents(serve.sweep(settings, names, False, activity=activity, **how))


def _show_actions(actions: Sequence[Mapping[str, Any]], form: str) -> int:
    from controller.cli import printing

    if form == "json":
        printing.as_json({"actions": actions})
    else:
        page = printing.page()
        printing.show(row for action in actions for row in page.wrap(clean(action["line"]), "", " " * 15))
    return APP_WRONG if any(action["kind"] == "error" for action in actions) else FINE


@click.command()
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
    client = offline.awaited(settings)
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
        click.echo(f"{clean(name)}: {'let go' if approve else 'removal held'}")
    if not held:
        click.echo("No removal is held.")
    elif not approve:
        click.echo("Put their folders back, or let them go: `homeport prune --approve`.", err=True)
    return FINE


@click.command()
@an_app()
@common
def suspend(options: Common, app: str) -> int:
    """Stop reconciling an app; its containers are left as they are.

    Until `homeport resume` the app is not stopped, started, restarted, updated or rolled back, by command either.

    \b
    Example: homeport suspend zigbee2mqtt
    """
    from controller.control import verbs

    def alone(service: Service) -> None:
        verbs.suspend(service, verbs.Suspend(app))

    _either(options, lambda client: client.suspend(app), alone)
    click.echo(f"{app} is suspended. `homeport resume {app}` takes it up again.")
    return FINE


@click.command()
@an_app()
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
    client = offline.awaited(settings)
    if client is not None:
        ask(client)
        return
    with offline.offline(settings) as service:
        alone(service)
    _say_offline()


def _say_offline() -> None:
    click.echo("The service is not running; this takes effect at its next start.", err=True)


# -- wishes: remembered, and done by the app's next reconcile -------------------------------------------------


@click.command()
@an_app()
@output("text", "json")
@common
def stop(options: Common, app: str, form: str) -> int:
    """Stop an app until it is started by command.

    It stays stopped, whatever happens to its files.

    Apps that require it run on and are told of; `homeport status` shows them Degraded.

    \b
    Example: homeport stop zigbee2mqtt
    """
    from controller.control.verbs import Stop

    return _act(options, Stop(app), form)


@click.command()
@an_app()
@output("text", "json")
@common
def start(options: Common, app: str, form: str) -> int:
    """Start an app that was stopped by command.

    \b
    Example: homeport start zigbee2mqtt
    """
    from controller.control.verbs import Start

    return _act(options, Start(app), form)


@click.command()
@an_app()
@output("text", "json")
@common
def restart(options: Common, app: str, form: str) -> int:
    """Stop and start all containers of an app.

    \b
    Example: homeport restart zigbee2mqtt
    """
    from controller.control.verbs import Restart

    return _act(options, Restart(app), form)


@click.command()
@an_app()
@output("text", "json")
@common
def update(options: Common, app: str, form: str) -> int:
    """Pull the images of an app, and apply those that differ.

    Re-created is what runs another image than the one that its tag names now.

    \b
    Example: homeport update zigbee2mqtt
    """
    from controller.control.verbs import Update

    return _act(options, Update(app), form)


@click.command()
@an_app()
@output("text", "json")
@common
def adopt(options: Common, app: str, form: str) -> int:
    """Take over a running project of the app's name.

    It was started from another folder, by hand or by another program; its volumes and data stay.

    \b
    Example: homeport adopt zigbee2mqtt
    """
    from controller.control.verbs import Adopt

    return _act(options, Adopt(app), form)


@click.command()
@an_app()
@click.argument("revision", default="")
@output("text", "json")
@common
def rollback(options: Common, app: str, revision: str, form: str) -> int:
    """Go back to an earlier revision; data is not put back.

    It holds until the app's files change.

    REVISION is a generation, or the first digits of a revision, as `homeport history` shows them; without it
    the last good one before the present.

    \b
    Example: homeport rollback zigbee2mqtt 3
    """
    from controller.control.verbs import Rollback

    return _act(options, Rollback(app, revision), form)


@click.command()
@an_app()
@click.option("--yes", is_flag=True, help="do not ask")
@output("text", "json")
@common
def remove(options: Common, app: str, yes: bool, form: str) -> int:
    """Remove an app. Its folder is kept in .removed/ beside the apps, its volumes stay.

    \b
    Example: homeport remove zigbee2mqtt --yes
    """
    from controller.cli import standing
    from controller.control.verbs import Remove, check_among

    if not yes:
        # Nobody is asked about an app that there is not; who does it knows best which there are.
        known = standing.status_now(options.settings(), (app,))["apps"]
        check_among((app,), (entry["name"] for entry in known))
        _check_terminal()
        click.confirm(f"Remove {app}? Its folder goes to .removed/, its volumes stay", abort=True, err=True)
    return _act(options, Remove(app), form)


def _act(options: Common, wish: Wish, form: str) -> int:
    """Have it done and print what was done; by ourselves when no service runs."""
    from controller.cli import offline, printing, standing
    from controller.control.verbs import remember, shaken

    settings = options.settings()
    client = offline.awaited(settings)
    if others := shaken(standing.status_now(settings, (wish.app,))["apps"], wish):
        printing.note(others)
    if client is not None:
        with _progress(settings, (wish.app,), client):
            actions = client.act(wish)
        return _show_outcome(settings, wish.app, client, actions, form)
    with offline.offline(settings) as service:
        remember(service, wish)
    click.echo("No service runs; this command does it by itself.", err=True)
    return _show_outcome(settings, wish.app, None, _sweep(settings, (wish.app,)), form)


def _show_outcome(
    settings: Settings, app: str, client: ApiClient | None, actions: Sequence[Mapping[str, Any]], form: str
) -> int:
    """What was done, and what the app is now: a person who reads nothing does not know whether nothing was to be done."""
    code = _show_actions(actions, form)
    last = actions[-1]["kind"] if actions else ""
    if form == "text" and last != "error":
        # Why it is so has been said where the last line is not of something that was done.
        say_words(settings, (app,), client, why=last not in ("skip", "wait"))
    return code


def _check_terminal() -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("This asks first, and there is no terminal to ask at. Add --yes to go ahead.")


# -- data and settings ----------------------------------------------------------------------------------------


@click.command()
@an_app()
@click.argument("volumes", metavar="VOLUME...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="do not ask")
@output("text", "json")
@common
def purge(options: Common, app: str, volumes: tuple[str, ...], yes: bool, form: str) -> int:
    """Delete volumes of an app and all that is in them, for good.

    It is the only command that deletes data.

    VOLUME is a full name, or the short one of the manifest.

    \b
    Example: homeport purge zigbee2mqtt data
    """
    from controller.cli import offline, printing, serve, standing
    from controller.control.verbs import check_among
    from controller.control.volumes import choose_among

    settings = options.settings()
    document = standing.status_now(settings, (app,))
    own = {entry["name"]: entry["volumes"] for entry in document["apps"]}
    check_among((app,), {*own, *document["left"]})
    chosen = choose_among((*own.get(app, ()), *document["left"].get(app, ())), app, volumes)
    if not yes:
        _check_terminal()
        click.echo(f"Deleted for good, with all that is in them: {', '.join(chosen)}", err=True)
        if click.prompt(f"Type the name of the app ({app}) to go ahead", err=True) != app:
            click.echo("homeport: that is not its name; nothing was deleted", err=True)
            return APP_WRONG
    client = offline.awaited(settings)
    purged = client.purge(app, chosen) if client is not None else list(serve.purge(settings, app, chosen))
    if form == "json":
        printing.as_json({"app": app, "purged": purged})
    else:
        for volume in purged:
            click.echo(f"{clean(volume)}: deleted")
    return FINE


@click.command("set")
@an_app()
@click.argument("pairs", metavar="KEY[=VALUE]...", nargs=-1, required=True)
@common
def set_values(options: Common, app: str, pairs: tuple[str, ...]) -> int:
    """Set values in an app's .env; every other line stays as it is. Prints the keys that changed.

    A KEY alone takes its value from standard input, unseen: no secret need be in a command line. A key that neither the
    app's folder nor a hook in a provider of it names is set as well, and you are told.

    \b
    Example: homeport set zigbee2mqtt MQTT_USER=zigbee MQTT_PASSWORD
    """
    from controller.cli import offline, printing, serve

    settings = options.settings()
    offline.check_known(settings, (app,))
    _check_keys([pair.partition("=")[0] for pair in pairs])
    values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    values |= _read_values([pair for pair in pairs if "=" not in pair])
    for key, value in values.items():
        if any(forbidden in value for forbidden in "\n\r\0"):
            raise click.UsageError(
                f"{key}: the value holds a line break or a NUL, which no line of .env can."
            )
    changed, unnamed = serve.set_env(settings, app, values)
    click.echo(f"{app}: changed {', '.join(changed)}" if changed else f"{app}: nothing to change")
    for told in unnamed:
        printing.note(f"{app}: warning: {told}")
    if changed and not offline.service_runs(settings):
        _say_offline()
    return FINE


def _check_keys(keys: Sequence[str]) -> None:
    from controller.model.manifest import SETTING_NAME, steers_tools

    for key in keys:
        if not SETTING_NAME.fullmatch(key):
            raise click.UsageError(f"{key!r} is no key: it must match ^[A-Z_][A-Z0-9_]*$.")
        if steers_tools(key):
            raise click.UsageError(f"{key} steers the tools that run the app, not the app; use another key.")
    if len(set(keys)) < len(keys):
        raise click.UsageError("A key is given twice; keep one.")


def _read_values(keys: Sequence[str]) -> dict[str, str]:
    """The values of these keys from standard input: asked for at a terminal, else one a line."""
    if sys.stdin.isatty():
        return {
            key: click.prompt(key, hide_input=True, default="", show_default=False, err=True) for key in keys
        }
    lines = sys.stdin.read().removesuffix("\n").split("\n") if keys else []
    if len(lines) != len(keys):
        raise click.UsageError(
            f"Standard input has {len(lines)} lines, for {len(keys)} keys without a value ({', '.join(keys)})."
        )
    return dict(zip(keys, lines, strict=True))


COMMANDS = (
    reconcile, prune, suspend, resume, stop, start, restart, update, adopt, rollback, remove, purge, set_values,
)  # fmt: skip
