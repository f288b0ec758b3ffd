"""Checks: the commands about folders and about the machine, which need no app on record.

What is wrong with a folder is found by the source room, with the machine in `doctor`; here it is told.
Imports that cost time are inside the functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.options import APP_WRONG, FINE, WRONG_USE, Common, common, notify_flag, output
from controller.cli.plain import clean

if TYPE_CHECKING:
    from controller.model.desired import Problem
    from controller.model.observed import Rendered
    from controller.settings import Settings
    from controller.source.checking import Checked


def _folders(
    _context: click.Context, _parameter: click.Parameter, paths: tuple[Path, ...]
) -> tuple[Path, ...]:
    """The folders that are meant: of a manifest, the one that it is in."""
    for path in paths:
        if not path.is_dir() and path.name != "manifest.json":
            raise click.BadParameter(f"{path} is neither an app's folder nor its manifest.json")
    return tuple(path if path.is_dir() else path.absolute().parent for path in paths)


@click.command()
@click.argument(
    "paths", metavar="[PATH]...", nargs=-1, type=click.Path(exists=True, path_type=Path), callback=_folders
)
@output("text", "json")
@common
def validate(options: Common, paths: tuple[Path, ...], form: str) -> int:
    """Check app folders; no engine is needed.

    Every error of all their files is told, with file, line, field and rule.

    What its providers have to bring is looked for in the apps tree, beside the folder and in the catalogs. Several
    folders are held against each other, too: apps that require each other in a circle, and host ports and container names
    that only one of them can have.

    \b
    Example: homeport validate ./zigbee2mqtt
    """
    from controller.cli import offline, printing, serve

    settings = options.settings()
    wanted = [path.absolute() for path in paths or offline.folders(Path(settings.apps))]
    checked = [(path, serve.check_folder(path, settings)) for path in wanted]
    circles = serve.check_circles(checked, settings)
    validated = [
        _validated(path, one, circle, settings) for (path, one), circle in zip(checked, circles, strict=True)
    ]
    results = [result for result, _ in validated]
    understood = [(result, model) for result, model in validated if model is not None]
    clashes = serve.find_clashes([(result["name"], model) for result, model in understood])
    for (result, _), texts in zip(understood, clashes, strict=True):
        result["warnings"] += texts
    if form == "json":
        printing.as_json({"apps": results})
    else:
        for result in results:
            _show_validated(result)
        if not results:
            click.echo("No app folders there.")
    return APP_WRONG if any(not result["valid"] for result in results) else FINE


def _validated(
    path: Path, checked: Checked, circle: tuple[Problem, ...], settings: Settings
) -> tuple[dict[str, Any], Rendered | None]:
    """All that is wrong with one folder: one file that is wrong keeps none of the others from being looked at. And what
    its files mean, as far as Compose takes them."""
    from controller.cli import serve
    from controller.model.desired import Present, Problem

    app = checked.app
    problems = list(getattr(app, "problems", ()))
    text, model = serve.check_model(checked, settings)
    if text and checked.readable is not None:
        problems.append(Problem(Path(checked.readable.compose_files[0]).name, "", text))
    hooks, missing = serve.check_providers(path, checked, settings)
    problems += [*hooks, *circle]
    problems += serve.strangers(path) if settings.check_rights else ()
    warnings = [*checked.warnings, *checked.reaches, *missing]
    if isinstance(app, Present):
        warnings += serve.volume_warnings(path, app, settings)
    result = {
        "name": app.name,
        "folder": str(path),
        "valid": not problems,
        "problems": [
            {"file": p.file, "line": p.line, "field": p.field, "rule": p.rule, "text": str(p)}
            for p in problems
        ],
        "toConfigure": [str(p) for p in checked.unset],
        "warnings": warnings,
    }
    return result, model


def _show_validated(result: Mapping[str, Any]) -> None:
    from controller.cli import printing

    page = printing.page()
    name = clean(result["name"])
    for problem in result["problems"]:
        printing.note(f"{name}: {problem['text']}")
    lines = [f"{name}: fine"] if result["valid"] else []
    lines += [f"{name}: to be configured: {clean(text)}" for text in result["toConfigure"]]
    lines += [f"{name}: warning: {clean(text)}" for text in result["warnings"]]
    printing.show(shown for line in lines for shown in page.wrap(line, "", "  "))


@click.command()
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
        printing.note(f"homeport: {problem}")
    if form == "json":
        printing.as_json({"homeport": __version__, "compose": compose or None, "engine": engine})
    else:
        click.echo(
            f"homeport {__version__}\ncompose  {compose or 'unknown'}\nengine   {engine or 'out of reach'}"
        )
    return FINE


@click.command()
@output("text", "json")
@common
def doctor(options: Common, form: str) -> int:
    """Check what the service stands on, and say how to mend it.

    Engine, Compose, inotify, disk, rights, clock.

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
            text = clean(f"{finding.what}: {finding.message.rstrip('.')}{fix}")
            page = printing.page()
            first, *more = page.wrap(text, " " * 5, " " * 5)
            printing.show([page.paint(f"{finding.level:<5}", finding.level) + first[5:], *more])
    if form == "json":
        printing.as_json({"checks": [vars(finding) for finding in findings]})
    return APP_WRONG if any(finding.level == "fail" for finding in findings) else FINE


@click.command()
@click.option("--test", is_flag=True, help="send a message to each address, now")
@notify_flag
@common
def notify(options: Common, test: bool, notify: tuple[str, ...] | None) -> int:
    """Say where a person is told of trouble, and try the way there.

    The addresses are those of `--notify`.

    \b
    Example: homeport notify --test
    """
    from controller.cli import serve

    settings = options.settings(notify=notify)
    if not settings.notify:
        click.echo("homeport: no address is set: HOMEPORT_NOTIFY, or `notify` in the settings file", err=True)
        return WRONG_USE
    code = FINE
    for name, sent in serve.try_addresses(settings, send=test):
        if not test:
            click.echo(f"address {name}: understood; `homeport notify --test` sends a message there")
        elif sent:
            click.echo(f"address {name}: sent")
        else:
            click.echo(
                f"address {name}: did not take it: is it right, and can this machine reach it?", err=True
            )
            code = APP_WRONG
    return code


@click.command()
@output("text", "json")
@common
def health(options: Common, form: str) -> int:
    """Ask the running service whether all its parts do their work.

    1: one does not, and a restart helps.

    \b
    Example: homeport health
    """
    from controller.api.client import ApiClient
    from controller.cli import printing

    healthy, found = ApiClient(options.places().socket).health()
    if form == "json":
        printing.as_json({"healthy": healthy, **found})
        return FINE if healthy else APP_WRONG
    page = printing.page()
    for check in found["checks"]:
        level = "ok" if check["ok"] else "fail"
        to_do = f". To mend it: {check['toDo']}" if check["toDo"] else ""
        text = clean(f"{check['name']}: {check['message'].rstrip('.') or 'fine'}{to_do}")
        first, *more = page.wrap(text, " " * 5, " " * 5)
        printing.show([page.paint(f"{level:<5}", level) + first[5:], *more])
    return FINE if healthy else APP_WRONG


COMMANDS = (validate, version, doctor, health, notify)
