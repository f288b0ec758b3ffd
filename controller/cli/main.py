"""Main: the `homeport` command: the group, its `run`, and the commands of the modules beside this one.

Imports that cost time are inside the functions: `homeport --help` needs click alone. A command that asks or
has something done belongs in `questions`, `verbs` or `checks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from controller.cli import catalog, checks, questions, verbs
from controller.cli.options import Common, common, setting_flags
from controller.cli.why import why

if TYPE_CHECKING:
    from controller.settings import Settings


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


@click.command()
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
    from controller.cli import offline, printing, screens
    from controller.clock import SystemClock
    from controller.control.queries import status_document

    now = SystemClock().now()
    with offline.looking(settings) as store:
        # It ran until just now: the table is about the apps, not about a service that is down.
        service = offline.describe(settings, store, running=True)
        printing.show(screens.status(status_document(store, service, now, None), now, printing.page()))


for command in (run, *verbs.COMMANDS, *questions.COMMANDS, why, *checks.COMMANDS, *catalog.COMMANDS):
    cli.add_command(command)
