"""Main: the `homeport` command: the group, its `run`, and the commands of the modules beside this one.

Imports that cost time are inside the functions: `homeport --help` needs click alone. A command that asks or
has something done belongs in `questions`, `verbs` or `checks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from controller import __version__
from controller.cli import catalog, checks, completion, questions, verbs
from controller.cli.options import Common, common, setting_flags
from controller.cli.why import why

if TYPE_CHECKING:
    from controller.settings import Settings


def main() -> None:
    """The entry point; `python -m controller` comes here as well."""
    cli(prog_name="homeport")


@click.group("homeport", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="homeport", message="%(prog)s %(version)s")
def cli() -> None:
    """Keeps Docker Compose apps on this machine as their folders say.

    \b
    Example: homeport status
    Exit codes: 0 fine, 1 something is wrong with an app, 2 wrong use, 3 service or engine out of reach.
    """


@click.command()
@click.option(
    "--once",
    is_flag=True,
    help="reconcile until every app is Ready or can get no further, then end: 0 if each is Ready, or as you said by command",
)
@setting_flags
@common
def run(options: Common, once: bool, **flags: Any) -> int:
    """Run the service until a signal ends it; the apps run on.

    \b
    Example: homeport run --apps /srv/apps --state /srv/state
    """
    from controller.cli import serve

    settings = options.settings(**flags)
    return _run_once(settings) if once else serve.run(settings, once)


def _run_once(settings: Settings) -> int:
    from controller.cli import progress, serve
    from controller.model.activity import Activity

    activity = Activity()
    # Elsewhere than on a terminal the log says it all.
    with progress.shown(settings, (), progress.of_ourselves(settings, activity), plain=False) as above:
        code = serve.run(settings, True, activity, above)
    _show_once(settings)
    return code


def _show_once(settings: Settings) -> None:
    from controller.cli import offline, printing, screens
    from controller.clock import SystemClock

    # It ran until just now: the table is about the apps, not about a service that is down.
    document = offline.looked_at_now(settings)
    printing.show(screens.status(document, SystemClock().now(), printing.page()))


for command in (
    run,
    *verbs.COMMANDS,
    *questions.COMMANDS,
    why,
    *checks.COMMANDS,
    *catalog.COMMANDS,
    *completion.COMMANDS,
):
    cli.add_command(command)
