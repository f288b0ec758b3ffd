"""Verbs: the commands that have something done: by the service when it runs, else by ourselves or at its next start.

Each parses, asks, prints and ends with a code. What a verb means is the control room's.
Imports that cost time are inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from controller.cli.options import APP_WRONG, FINE, Common, common, output

if TYPE_CHECKING:
    from controller.api import ApiClient
    from controller.control.service import Service


@click.command()
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
        offline.check_known(settings, names)
        actions = offline.documents(serve.sweep(settings, names, dry_run))
    if form == "json":
        printing.as_json({"actions": actions})
    else:
        for action in actions:
            click.echo(printing.clean(action["line"]))
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


@click.command()
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


@click.command()
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


COMMANDS = (reconcile, prune, suspend, resume)
