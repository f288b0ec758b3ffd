"""What the engine's answers mean as values. Pure: inspected dictionaries in, `Container` and events out.

Asking the engine is `docker_engine`'s; whether what is seen is good is the planner's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from controller.model.observed import Container, EngineEvent

PROJECT = "com.docker.compose.project"
FOLDER = "com.docker.compose.project.working_dir"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
HASH = "com.docker.compose.config-hash"
ONEOFF = "com.docker.compose.oneoff"

# What Compose calls the successor of a container until the old one is gone; after a crash it stays so.
TEMPORARY = re.compile(r"[0-9a-f]{12}_")

# Their ids change with each start of the engine (bridge) or mean nothing (host, none); nothing can lose them.
_PREDEFINED = frozenset({"bridge", "host", "none"})
_NEVER = "0001-01-01"

Json = Mapping[str, Any]


def labels_of(summary: Json) -> Mapping[str, str]:
    """Labels of a container in a list."""
    return summary.get("Labels") or {}


def is_oneoff(labels: Mapping[str, str]) -> bool:
    """Whether a container was run by hand, beside those of its service."""
    return labels.get(ONEOFF) == "True"


def name_of(summary: Json) -> str:
    """A container's own name in a list (its others are links)."""
    names = [str(name).lstrip("/") for name in summary.get("Names") or ()]
    return next((name for name in names if "/" not in name), names[0] if names else str(summary["Id"])[:12])


def is_in(folder: str, folders: Sequence[str]) -> bool:
    """Whether a project's folder is one of ours, through whatever links it was reached."""
    return bool(folder) and os.path.realpath(folder) in {os.path.realpath(ours) for ours in folders}


def container(inspected: Json, *, ended_by_itself: bool = False) -> Container:
    """A container from `GET /containers/ID/json`."""
    config, state = inspected["Config"], inspected["State"]
    labels = config.get("Labels") or {}
    health = str((state.get("Health") or {}).get("Status") or "")
    number = str(labels.get(NUMBER, ""))
    return Container(
        id=str(inspected["Id"]),
        name=str(inspected["Name"]).lstrip("/"),
        service=str(labels.get(SERVICE, "")),
        number=int(number) if number.isdigit() else 0,
        config_hash=str(labels.get(HASH, "")),
        image=str(config.get("Image") or ""),
        image_id=str(inspected.get("Image") or ""),
        state=str(state["Status"]),
        health="" if health == "none" else health,
        exit_code=int(state.get("ExitCode") or 0),
        started_at=stamp(str(state.get("StartedAt") or "")),
        finished_at=stamp(str(state.get("FinishedAt") or "")),
        restarts=int(inspected.get("RestartCount") or 0),
        networks=networks_of(inspected),
        shares_with=_shares_with(inspected.get("HostConfig") or {}),
        ended_by_itself=ended_by_itself,
        oneoff=is_oneoff(labels),
    )


def stamp(text: str) -> str:
    """An engine's time with nine digits, so that text order is time order; "" for never.

    The engine leaves out zeros at the end: `…05.1Z` sorts after `…05.12Z`, though it is earlier.
    """
    if not text or text.startswith(_NEVER):
        return ""
    head, _, fraction = text.removesuffix("Z").partition(".")
    return f"{head}.{fraction:0<9}Z" if text.endswith("Z") else text


def seconds(text: str) -> float:
    """Unix time of a `stamp`."""
    return datetime.fromisoformat(text).timestamp()


def stop_timeout(inspected: Json) -> int:
    """Seconds that the container gets to end by itself, one at least.

    With none the engine sends both signals at once, and when the container ends by the first while the second is
    on its way, engine 20.10 cleans up after it twice, the second time after the restart: its root's mount point is
    gone then, and no exec (nor health check, nor hook) works in it any more.
    """
    given = inspected["Config"].get("StopTimeout")
    return 10 if given is None else max(1, int(given))


def event(message: Json) -> EngineEvent:
    """A container's event."""
    attributes = (message.get("Actor") or {}).get("Attributes") or {}
    return EngineEvent(
        app=str(attributes.get(PROJECT, "")),
        folder=str(attributes.get(FOLDER, "")),
        action=str(message.get("Action") or message.get("status") or ""),
        at=datetime.fromtimestamp(at(message), UTC),
    )


def at(message: Json) -> float:
    """Unix time of an event."""
    nanoseconds = message.get("timeNano")
    return nanoseconds / 1e9 if nanoseconds else float(message.get("time") or 0)


def networks_of(container: Json) -> tuple[str, ...]:
    """Ids of the networks of a container, in a list or inspected."""
    attached = (container.get("NetworkSettings") or {}).get("Networks") or {}
    ids = (
        str((net or {}).get("NetworkID") or "") for name, net in attached.items() if name not in _PREDEFINED
    )
    return tuple(sorted(i for i in ids if i))


def _shares_with(host: Json) -> str:
    for kind in ("NetworkMode", "IpcMode", "PidMode"):
        mode = str(host.get(kind) or "")
        if mode.startswith("container:"):
            return mode.removeprefix("container:")
    return ""
