"""Why: the command that says what keeps an app from being Ready. It reads the store and prints.

What the answer is belongs to the control room.
"""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.completion import an_app
from controller.cli.options import FINE, Common, common, output


@click.command()
@an_app()
@output("text", "json")
@common
def why(options: Common, app: str, form: str) -> int:
    """Say why an app is not Ready, and what helps.

    The chain of causes, what runs meanwhile, what comes next.

    \b
    Example: homeport why zigbee2mqtt
    """
    from controller.cli import printing, screens
    from controller.cli.offline import known_names, service_now
    from controller.clock import SystemClock
    from controller.control.verbs import check_among, held_among
    from controller.control.why import explain, to_document
    from controller.status.store import SqliteStore

    settings = options.places()
    store = SqliteStore.open_readonly(Path(settings.state))
    try:
        records = {record.name: record for record in store.records()}
        if app not in records:
            check_among((app,), known_names(settings, store))
        service = {**service_now(settings, store), "held": list(held_among(records.values()))}
    finally:
        store.close()
    answer = explain(records, app, SystemClock().now(), service, 2 * settings.resync)
    if form == "json":
        printing.as_json(to_document(answer))
        return FINE
    printing.show(screens.why(answer, printing.page()))
    return FINE
