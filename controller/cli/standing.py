"""Standing: the status document, the service's own where one answers: then no record need be read here.

What is done where none does is in `offline`, which is loaded then alone. No printing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.model.errors import HomeportError

if TYPE_CHECKING:
    from controller.places import Where


def status_now(settings: Where, names: Sequence[str] = ()) -> dict[str, Any]:
    """How the apps stand, as the service says it, or as the store and the lock tell when it does not answer.

    Folders that are apps and were never looked at are in it, and those that are named whatever is in them.
    """
    unseen = {name for name in names if _is_folder(settings.apps / name)} or _new_apps(settings)
    document = _of_service(settings)
    if document is None:
        from controller.cli import offline

        return offline.status_recorded(settings, unseen)
    _add(document, unseen - {app["name"] for app in document["apps"]})
    return document


def _of_service(settings: Where) -> dict[str, Any] | None:
    if not settings.socket.exists():
        return None
    from controller.api.client import ApiClient

    try:
        client = ApiClient(settings.socket)
        return client.status() if client.answers() else None
    except HomeportError:
        return None  # no right to the socket, or no answer: the store knows enough


def _add(document: dict[str, Any], names: Iterable[str]) -> None:
    """Apps that the service has not looked at yet."""
    more = sorted(names)
    if more:
        from controller.control.queries import unseen_app

        document["apps"] += [unseen_app(name) for name in more]
        document["apps"].sort(key=lambda app: str(app["name"]))


def _is_folder(path: Path) -> bool:
    """Whether it is one, as far as this person may look: who may ask the service need not be able to read the tree."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _new_apps(settings: Where) -> set[str]:
    """Folders of the tree that say they are apps, as far as it can be read."""
    try:
        entries = [entry for entry in Path(settings.apps).iterdir() if not entry.name.startswith(".")]
        return {entry.name for entry in entries if (entry / "manifest.json").is_file()}
    except OSError:
        return set()
