"""Homeport: a Kubernetes-style controller loop for Docker Compose apps on one machine.

The library's face is two functions: `reconcile(apps_root, dry_run)` runs one sweep over an apps tree and
returns what was done; `has_errors(actions)` says whether any of it went wrong. Everything else is rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from controller.model.plan import Action

__version__ = "0.1.0"
__all__ = ["__version__", "has_errors", "reconcile"]


def reconcile(
    apps_root: str | Path, dry_run: bool = False, *, state: str | Path | None = None
) -> list[Action]:
    """One sweep over the apps tree; returns the actions in the order in which they were done.

    It drives the same reconcile as the service, with one worker, until each app is Ready or can get no
    further by itself. With `dry_run` nothing is changed and no engine is needed.
    `state` is the folder of recorded state; the default is the service's own.

    Raises `controller.model.errors.StateLocked` when a running service holds that state, and
    `controller.model.errors.EngineUnreachable` when there is no engine to act on.
    """
    from controller.manager import sweep_once  # the sweep needs docker and watchdog: 230 ms of import

    return sweep_once(apps_root, dry_run=dry_run, state=state)


def has_errors(actions: Sequence[Action]) -> bool:
    """Whether any of these actions is an `error`; `skip` and `wait` are not errors."""
    return any(action.kind == "error" for action in actions)
