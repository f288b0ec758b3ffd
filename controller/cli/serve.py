"""Serve: the one way from the command line to the parts that do the work.

Everything heavy (docker, watchdog) is imported here and inside functions, so that a command pays only for
what it uses. No parsing and no printing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from controller.model.errors import HomeportError

if TYPE_CHECKING:
    from controller.model.activity import Activity
    from controller.model.desired import Invalid, Present, Problem
    from controller.model.observed import EngineInfo, Rendered
    from controller.model.plan import Action, Plan
    from controller.model.ports import Store
    from controller.places import Where
    from controller.settings import Settings
    from controller.source.checking import Checked


def run(
    settings: Settings, once: bool, activity: Activity | None = None, stream: TextIO | None = None
) -> int:
    """Log as the settings say (to `stream` for standard error) and run the service; answers with the exit code.

    `activity`: where it is noted what is done at this moment.
    """
    from controller import manager
    from controller.telemetry.logging import logging_to

    with logging_to(settings.log_format, settings.log_level, settings.log_file, stream):
        return manager.serve(settings, once, activity)


def sweep(
    settings: Settings,
    apps: tuple[str, ...],
    dry_run: bool,
    *,
    lift: bool = False,
    new_engine: bool = False,
    activity: Activity | None = None,
) -> list[Action]:
    """One sweep by ourselves; what it did is told by its actions, not by a log."""
    from controller import manager

    return manager.sweep(
        settings,
        apps,
        dry_run,
        listen=lambda _event: None,
        note=_note,
        lift=lift,
        new_engine=new_engine,
        activity=activity,
    )


def plans(settings: Settings, apps: tuple[str, ...]) -> list[tuple[str, Plan]]:
    """What a sweep by ourselves would do."""
    from controller import dryrun

    return dryrun.plans(settings, apps, note=_note)


def engine_info(settings: Settings) -> EngineInfo:
    """Which engine answers. Raises `EngineUnreachable`."""
    from controller import dryrun

    return dryrun.engine_info(settings)


def purge(settings: Settings, app: str, volumes: tuple[str, ...]) -> tuple[str, ...]:
    """Delete volumes by ourselves; raises as `controller.control.verbs.purge`, and `StateLocked`."""
    from controller.control import verbs
    from controller.manager import Manager

    with closing(Manager(settings, listen=lambda _event: None, service=False)) as manager:
        return verbs.purge(manager, verbs.Purge(app, volumes))


def set_env(
    settings: Settings, app: str, values: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Merge pairs into the app's `.env` as a person would edit it; answers with the keys that changed, and with what is
    to be said of those that nothing names.

    Raises `HomeportError` when the folder is no valid app or a value breaks the rule of its setting.
    """
    from controller.clock import SystemClock
    from controller.model.desired import Present
    from controller.parts import tree_of
    from controller.source import environment, uses
    from controller.status.store import SqliteStore

    with closing(SqliteStore.open_readonly(settings.state)) as store:
        tree = tree_of(settings, store, SystemClock(), None)
        found = tree.load(app)
        if not isinstance(found, Present):
            why = getattr(found, "message", "") or f"there is no folder of that name in {settings.apps}"
            raise HomeportError(f"{app}: {why}. Nothing was changed")
        wrong = environment.unset(found.manifest, {**found.env, **values}, settings.state)
        broken = "; ".join(str(problem) for problem in wrong if problem.field in values)
        if broken:
            raise HomeportError(f"{app}: {broken}. Nothing was changed")
        return tree.merge_env(found, values), tuple(uses.unnamed(found, values, (settings.apps,)))


def has_containers(settings: Settings, app: str) -> bool:
    """Whether there are any of the app, running or not. Raises `EngineUnreachable`."""
    from controller import dryrun

    return dryrun.has_containers(settings, app)


def show_logs(app: str, service: str | None, *, follow: bool, tail: int | None, colour: bool) -> int:
    """Print what the app's containers wrote; answers with Compose's exit code. Raises `EngineUnreachable`."""
    from controller.engine.endpoint import resolve_endpoint
    from controller.engine.logs import show_logs as show

    return show(resolve_endpoint(), app, service, follow=follow, tail=tail, colour=colour)


def try_addresses(settings: Settings, *, send: bool) -> list[tuple[str, bool]]:
    """The addresses that a person is told at: the name of each, and whether it took a message, if one is to be sent.
    Raises `NotifyUnusable`."""
    from controller.notify.digest import Message
    from controller.notify.sender import open_addresses

    test = Message("info", "this is a test", "Homeport can tell you of trouble here, and when it is over.")
    return [(address.name, send and address.send(test)) for address in open_addresses(settings.notify)]


def load_folder(path: Path) -> Present | Invalid:
    """One folder as an app, read with no engine."""
    from controller.source.reading import load_folder as load

    return load(path)


def check_folder(path: Path, settings: Settings) -> Checked:
    """All that is wrong with one folder, as far as it can be read with no engine."""
    from controller.source.checking import check_folder as check

    return check(path, settings.trust)


def check_providers(
    path: Path, checked: Checked, settings: Settings
) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """What is wrong with the hooks of its providers, and which of these are nowhere to be had: looked for in the tree,
    and where `install` would look."""
    from controller.source.checking import check_providers as check

    return check(checked.app.name, checked.requires, (settings.apps, path.parent, *settings.catalog))


def check_circles(folders: Sequence[tuple[Path, Checked]], settings: Settings) -> list[tuple[Problem, ...]]:
    """For each folder whether its app comes to require itself: by way of the others, and of providers that are looked for as
    `check_providers` does."""
    from controller.model.desired import Problem
    from controller.planner.gates import describe_cycle, find_cycle
    from controller.source.manifest import FILE
    from controller.source.together import requirements

    # That an app requires itself outright is said of the manifest itself.
    given = {c.app.name: [a.app for a in c.requires if a.app != c.app.name] for _, c in folders}
    places = (settings.apps, *dict.fromkeys(path.parent for path, _ in folders), *settings.catalog)
    requires = requirements(given, places)
    found: list[tuple[Problem, ...]] = []
    for _, checked in folders:
        app = checked.app.name
        own = [asked.app for asked in checked.requires if asked.app != app]
        cycle = find_cycle(app, {**requires, app: own})
        found.append((Problem(FILE, "requires", describe_cycle(cycle)),) if cycle else ())
    return found


def volume_warnings(folder: Path, app: Present, settings: Settings) -> list[str]:
    """Volumes of the manifest that no compose file names, and external ones that nobody makes."""
    from controller.source import files
    from controller.source.sketch import Sketch, sketch

    try:
        found = sketch(folder)
    except files.Unreadable:
        return []
    if not isinstance(found, Sketch) or found.unknown:
        return []  # what is included or comes from elsewhere may name them
    made = {f"{settings.volume_prefix}_{app.name}_{short}": short for short in app.manifest.volumes}
    unused = [
        f"manifest.json: volumes: {short}: no compose file names it; it is made and stays empty. "
        f"Name it there as an external volume, {full}"
        for full, short in made.items()
        if full not in found.external_volumes
    ]
    unmade = [
        f"{Path(app.compose_files[0]).name}: volumes: {full} is external and not among the volumes of manifest.json: "
        "Homeport does not make it, it has to be there"
        for full in found.external_volumes
        if full not in made
    ]
    return unused + unmade


def strangers(folder: Path) -> tuple[Problem, ...]:
    """What of the files that say what is done as root others can write, each with what to do."""
    from controller.source import rights
    from controller.source.reading import FIXED

    return rights.strangers(rights.Reach.of(folder, [folder / name for name in FIXED]))


def lost_tree(settings: Where, store: Store) -> str:
    """Why the apps tree cannot be taken for the one of this state, and what to do; or "". Nothing is written into it."""
    from controller.model.facts import ROOT_ID
    from controller.source.root import RootGuard
    from controller.status.taken_in import TakenIn

    guard = RootGuard(
        Path(settings.apps),
        known=lambda: TakenIn(store),
        root_id=lambda: store.get(ROOT_ID),
        remember=None,
        tree_lock=None,
    )
    return guard.judge()


def find_clashes(models: Sequence[tuple[str, Rendered]]) -> Sequence[Sequence[str]]:
    """What several of these apps want and only one can have."""
    from controller.source.together import find_clashes as find

    return find(models)


def open_folders(apps: Path) -> tuple[Path, ...]:
    """The tree's root and the folders above it, as far as everyone could put other apps there."""
    from controller.source import rights

    return rights.open_folders(apps)


_WHATEVER_THE_VALUES = re.compile(
    r"has no key|additional propert|undefined (?:service|network|volume|config|secret)|must be an? (?:string|array|mapping|list)"
)
"""What Compose says of a file that is wrong whatever `.env` will hold; all else it may say of values that are still to come."""


def check_model(checked: Checked, settings: Settings) -> tuple[str, Rendered | None]:
    """What Compose finds wrong with the files of an app, or "", and what they mean where it takes them. It needs no engine;
    without a Compose nothing is known. What may be mended by what `.env` is still to get is nothing wrong."""
    app = checked.readable
    if app is None:
        return "", None
    import tempfile

    from controller.clock import SystemClock
    from controller.engine.compose import UNUSABLE
    from controller.engine.docker_engine import DockerEngine
    from controller.engine.endpoint import resolve_endpoint
    from controller.model.errors import AppError

    with tempfile.TemporaryDirectory() as folder:
        engine = DockerEngine(resolve_endpoint(), folder, SystemClock(), trust=settings.trust)
        try:
            return "", engine.render(app)
        except AppError as error:
            certain = checked.complete or _WHATEVER_THE_VALUES.search(str(error)) is not None
            return str(error) if certain and error.reason != UNUSABLE else "", None
        finally:
            engine.close()


def _note(text: str) -> None:
    print(f"homeport: {text}", file=sys.stderr)
