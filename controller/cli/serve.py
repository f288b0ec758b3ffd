"""Serve: the one way from the command line to the parts that do the work.

Everything heavy (docker, watchdog) is imported here and inside functions, so that a command pays only for
what it uses. No parsing and no printing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.model.desired import Invalid, Present
    from controller.model.observed import EngineInfo
    from controller.model.plan import Action, Plan
    from controller.settings import Settings


def run(settings: Settings, once: bool) -> int:
    """Log as the settings say and run the service; answers with the exit code."""
    from controller import manager
    from controller.telemetry.logging import logging_to

    with logging_to(settings.log_format, settings.log_level, settings.log_file):
        return manager.serve(settings, once)


def sweep(settings: Settings, apps: tuple[str, ...], dry_run: bool) -> list[Action]:
    """One sweep by ourselves; what it did is told by its actions, not by a log."""
    from controller import manager

    return manager.sweep(settings, apps, dry_run, listen=lambda _event: None, note=_note)


def plans(settings: Settings, apps: tuple[str, ...]) -> list[tuple[str, Plan]]:
    """What a sweep by ourselves would do."""
    from controller import manager

    return manager.plans(settings, apps, note=_note)


def engine_info(settings: Settings) -> EngineInfo:
    """Which engine answers. Raises `EngineUnreachable`."""
    from controller import manager

    return manager.engine_info(settings)


def load_folder(path: Path) -> Present | Invalid:
    """One folder as an app, read with no engine."""
    from controller.source.reading import load_folder as load

    return load(path)


def _note(text: str) -> None:
    print(f"homeport: {text}", file=sys.stderr)
