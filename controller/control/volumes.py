"""Volumes: which ones an app has or left behind, and which of them a person means by a name.

Only what is named here can be deleted. Deleting is the engine's, the wish for it is among the verbs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from controller.control.errors import Refused
from controller.model.facts import LEFT
from controller.model.ports import Store
from controller.model.record import Record


def left_by(store: Store, app: str) -> tuple[str, ...]:
    """Full names of the volumes that the app left when it was removed, but for those that it has again."""
    record = store.record(app)
    has = _of(record) if record is not None else ()
    return tuple(volume for volume in json.loads(store.get(LEFT + app) or "[]") if volume not in has)


def left(store: Store) -> Mapping[str, tuple[str, ...]]:
    """All apps that left volumes, with these."""
    apps = {app: left_by(store, app) for app in sorted(store.facts(LEFT))}
    return {app: volumes for app, volumes in apps.items() if volumes}


def forget_left(store: Store, app: str, volume: str) -> None:
    """The volume is gone: the app no longer leaves it."""
    rest = [other for other in left_by(store, app) if other != volume]
    store.put(LEFT + app, json.dumps(rest) if rest else None)


def choose(store: Store, app: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """Full names of the volumes that are meant: by their full names, or by the short ones of the manifest.

    Raises `Refused` for a name that is not the app's own, listing those that are.
    """
    record = store.record(app)
    return choose_among((*(_of(record) if record is not None else ()), *left_by(store, app)), app, wanted)


def choose_among(own: Sequence[str], app: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """The same, of an app whose own volumes are known."""
    if not own:
        raise Refused(f"{app} has no volumes and left none; there is nothing to purge")
    chosen = []
    for name in wanted:
        meant = [volume for volume in own if name in (volume, _short(volume, app))]
        if len(meant) != 1:
            what = "may be several volumes" if meant else "is no volume"
            raise Refused(f"{name} {what} of {app}. What can be purged: {', '.join(own)}")
        chosen += meant
    return tuple(dict.fromkeys(chosen))


def _of(record: Record) -> tuple[str, ...]:
    return (*record.volumes, *record.own_volumes)


def _short(volume: str, app: str) -> str:
    """The name in the manifest or the compose file. Taken from where the app's name comes first: one full name has
    one short name, and no other (`x` must not mean `p_app_app_x`)."""
    return volume.removeprefix(f"{app}_") if volume.startswith(f"{app}_") else volume.partition(f"_{app}_")[2]
