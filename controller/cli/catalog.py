"""Catalog: the commands that put apps into the tree or help to write one. Parse, show, ask, print.

What they do is the catalog room's, which is imported inside the functions: it costs pydantic and yaml.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.options import APP_WRONG, FINE, Common, catalog_flag, common, output
from controller.cli.plain import clean

if TYPE_CHECKING:
    from controller.catalog.install import Installation


@click.command()
@common
def schema(_options: Common) -> int:
    """Print the JSON Schema of manifest.json, for editors.

    \b
    Example: homeport schema > manifest.schema.json
    """
    from controller.catalog.schema import text

    click.echo(text(), nl=False)
    return FINE


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", help="the app's name  [default: the folder's, made valid]")
@output("text", "json")
@common
def init(options: Common, folder: Path, name: str | None, form: str) -> int:
    """Write a manifest.json for a folder with only a compose file.

    \b
    Example: homeport init ./zigbee2mqtt
    """
    from controller.catalog.draft import draft, write
    from controller.cli import printing

    prefix = options.settings().volume_prefix
    with _refusals() as refused:
        drafted = draft(folder, name, volume_prefix=prefix)
        write(drafted)
    if refused:
        return APP_WRONG
    if form == "json":
        printing.as_json({"file": str(drafted.path), "manifest": drafted.manifest, "check": drafted.check})
        return FINE
    click.echo(drafted.text, nl=False)
    click.echo(f"Wrote {clean(drafted.path)}. To check:", err=True)
    for line in drafted.check:
        click.echo(f"  {clean(line)}", err=True)
    click.echo(f"Then: homeport validate {clean(folder)}", err=True)
    return FINE


@click.command()
@click.argument("app", metavar="NAME|PATH")
@click.option(
    "--set", "values", metavar="KEY=VALUE", multiple=True, help="into its .env; APP.KEY=VALUE for a provider"
)
@click.option("--yes", "-y", is_flag=True, help="do not ask")
@click.option(
    "--wait/--no-wait",
    default=None,
    help="until a running service has brought it up  [default: on a terminal]",
)
@catalog_flag
@common
def install(
    options: Common,
    app: str,
    values: tuple[str, ...],
    yes: bool,
    wait: bool | None,
    catalog: tuple[Path, ...] | None,
) -> int:
    """Copy an app and the providers that it needs into the tree.

    A name is looked up in the catalogs; whatever has a slash in it is a folder. Values on a command line
    can be seen by other users of this machine: secrets are better filled in afterwards, with `homeport set`.

    \b
    Example: homeport install zigbee2mqtt --set SERIAL_PORT=/dev/ttyUSB0
    """
    from controller.catalog.install import install as carry_out
    from controller.catalog.install import parse_values, prepare
    from controller.cli import offline
    from controller.cli.verbs import bring_up

    settings = options.settings(catalog=catalog)
    with _refusals() as refused:
        prepared = prepare(
            app,
            settings.apps,
            settings.catalog,
            parse_values(values),
            state=settings.state,
            trust=settings.trust,
        )
        _show(prepared)
        _ask(len(prepared.steps), yes)
        carry_out(prepared)
    if refused:
        return APP_WRONG
    waits = sys.stdout.isatty() if wait is None else wait
    client = offline.running(settings) if waits else None
    if client is None:
        _show_next(prepared)
        return FINE
    return bring_up(settings, client, tuple(step.name for step in prepared.steps))


@contextmanager
def _refusals() -> Iterator[list[str]]:
    """Tell a refusal line by line; the list is not empty afterwards when there was one. Wrong use is click's."""
    from controller.catalog.errors import Refused, WrongUse
    from controller.cli import printing

    lines: list[str] = []
    try:
        yield lines
    except WrongUse as error:
        raise click.UsageError(str(error)) from error
    except Refused as error:
        lines += error.lines
        for line in lines:
            printing.note(f"homeport: {line}")


def _show(prepared: Installation) -> None:
    from controller.cli import printing
    from controller.cli.layout import aligned

    click.echo(f"To be installed into {prepared.root}, in this order:")
    rows = [
        [
            "  " + step.name,
            clean(step.app.manifest.version),
            f"from {clean(step.app.folder)}",
        ]
        for step in prepared.steps
    ]
    printing.show(aligned(rows))
    if prepared.there:
        click.echo(f"In the tree already: {', '.join(prepared.there)}")
    for step in prepared.steps:
        if step.filled:
            click.echo(f"Filled in for {step.name}: {', '.join(step.filled)}")
        hooks = [r.app for r in step.app.manifest.requires if r.on_install]
        for problem in step.unset:
            may = f" (unless {' or '.join(hooks)} fills it in)" if hooks else ""
            click.echo(f"To be filled in for {step.name}: {clean(problem.field)} {problem.rule}{may}")
    for note in prepared.notes:
        click.echo(f"Note: {clean(note)}")


def _ask(count: int, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on; say --yes")
    click.confirm("Install it?" if count == 1 else f"Install these {count} apps?", abort=True)


def _show_next(prepared: Installation) -> None:
    names = [step.name for step in prepared.steps]
    click.echo(f"Installed {_and(names)}. A running service starts what it finds: `homeport status`.")
    for step in prepared.steps:
        if step.unset:
            keys = _and(problem.field for problem in step.unset)
            click.echo(
                f"{step.name} waits for {keys} in {prepared.root / step.name / '.env'}: "
                f"`homeport set {step.name} {step.unset[0].field}=…`"
            )
    click.echo(f"Until it runs: `homeport wait {names[-1]} --for Ready`")


def _and(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


COMMANDS = (install, init, schema)
