"""Checking: all that is wrong with one folder, as far as any of its files can be read, and what it asks of its providers.

For a person who wants to mend everything in one go. What is acted on is decided by `reading`, with the first file that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from controller.model.desired import LEAST_TRUST, Invalid, Present, Problem, Trust
from controller.model.manifest import Manifest
from controller.model.names import APP_NAME
from controller.source import environment, files, manifest
from controller.source.reading import Reading, read_folder, revision_of


@dataclass(frozen=True)
class Checked:
    """One folder, looked through."""

    app: Present | Invalid
    """As the service takes it."""
    readable: Present | None
    """The same as far as Compose can be asked about it, with a manifest in place of one that is wrong; None where its
    compose files or its `.env` are wrong themselves."""
    complete: bool
    """Whether its `.env` is what it will be: no hook, no seeding and no person is going to add to it."""
    unset: tuple[Problem, ...]
    warnings: tuple[str, ...]
    reaches: tuple[str, ...]
    requires: tuple[manifest.Asked, ...]
    """What it asks of its providers, whatever else is wrong with the manifest."""


def check_folder(path: Path, trust: Trust = LEAST_TRUST) -> Checked:
    """Look through one folder anywhere; see `reading.load_folder`."""
    reading, app = read_folder(path, trust)
    if reading is None:
        return Checked(app, None, False, (), (), (), ())
    described = reading.described
    unset = environment.unset(described, reading.env, Path("/nonexistent")) if described is not None else ()
    requires = manifest.asked(reading.manifest)
    hooks = any("on_install" in asked.scripts for asked in requires)
    seeded = isinstance(app, Present) and not app.seeds
    return Checked(
        app,
        app if isinstance(app, Present) else _readable(reading, app),
        complete=seeded and not unset and not hooks,
        unset=unset,
        warnings=app.warnings if isinstance(app, Present) else tuple(reading.warnings),
        reaches=tuple(reading.reaches),
        requires=requires,
    )


def _readable(reading: Reading, app: Invalid) -> Present | None:
    wrong = {problem.file for problem in (*reading.problems, *reading.missing)}
    if reading.denied or not reading.compose or wrong - {manifest.FILE}:
        return None  # it is said already, or it is not for Compose to see
    name = app.name if APP_NAME.fullmatch(app.name) else "checked"
    described = reading.described or Manifest(
        name=name, display_name=name, version="", description="", volumes=[], ports=[], icon=""
    )
    return Present(
        name,
        app.folder,
        described,
        revision_of(reading.inputs),
        tuple(reading.compose),
        reading.env,
    )


def folder_of(provider: str, places: Iterable[Path]) -> Path | None:
    """The folder of a provider in the first of these places that has it."""
    return next((place / provider for place in places if (place / provider).is_dir()), None)


def check_providers(
    app: str, requires: Iterable[manifest.Asked], places: Sequence[Path]
) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """What is wrong with the hooks that it asks for, and which providers are in none of these places, in which they are
    looked for in this order: without a provider an app waits, without a script of it it fails."""
    problems: list[Problem] = []
    warnings: list[str] = []
    for asked in islice(requires, manifest.MOST):
        if asked.app == app or not APP_NAME.fullmatch(asked.app):
            continue  # that is said of the manifest itself
        folder = folder_of(asked.app, places)
        if folder is not None:
            problems += _check_scripts(asked.app, folder, asked.scripts, asked.field)
        else:
            warnings.append(
                f"{manifest.FILE}: {asked.field}.app: {asked.app} is not in the apps tree: until it is, {app} waits for it; "
                "put its folder there too, or take it out of `requires`"
            )
    return tuple(problems), tuple(warnings)


def _check_scripts(provider: str, folder: Path, scripts: Mapping[str, str], field: str) -> list[Problem]:
    problems = []
    for hook, path in scripts.items():
        try:
            there, rule = files.read_inside(folder, path) is not None, ""
        except (files.Unfit, ValueError) as error:
            there, rule = False, str(error)
        if not there:
            rule = f"{path} {rule}" if rule else f"{provider} has no {path}"
            text = f"{rule}: the hook would fail; put the script into {folder}, or take it out of `requires`"
            problems.append(Problem(manifest.FILE, f"{field}.{hook}", text))
    return problems
