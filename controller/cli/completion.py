"""Completion: names of apps for the shell, as fast as a key is pressed, and the command that prints its script.

Names come from two listings of folders, the tree's and the state's: no record is read, and nothing heavy is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.options import FINE, Common, common

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_HOMEPORT_COMPLETE"
"""By which the script asks us, as click has it."""
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def complete_app(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Apps that begin like that: those with a folder in the tree, and those that were applied."""
    from click.shell_completion import CompletionItem

    from controller import places

    where = places.guess({name: context.params.get(name) for name in ("config", "apps", "state")})
    if where is None:
        return []
    names = {*_folders(where.apps), *_folders(where.state / "models")}
    said = context.params.get("names") or ()
    return [
        CompletionItem(name) for name in sorted(names) if name.startswith(incomplete) and name not in said
    ]


def _folders(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []


def an_app(*, required: bool = True) -> Decorator:
    """The argument APP."""
    return click.argument("app", required=required, shell_complete=complete_app)


def some_apps() -> Decorator:
    """The argument [APP]..."""
    return click.argument("names", metavar="[APP]...", nargs=-1, shell_complete=complete_app)


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@common
def completion(_options: Common, shell: str) -> int:
    """Print the script with which a shell completes what you type.

    Commands, options and names of apps.

    \b
    Example: homeport completion bash > /etc/bash_completion.d/homeport
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    group = click.get_current_context().find_root().command
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    # Without the look of click's at the version of bash on this machine: the script may be for another one.
    script = kind(group, {}, "homeport", VARIABLE)
    click.echo(script.source_template % script.source_vars())
    return FINE


COMMANDS = (completion,)
