"""Doctor: looks at what the service stands on, and says of each thing whether it is fine, and how to mend it.

It changes nothing. Trouble of a single app is the status's.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from controller.cli import serve
from controller.cli.offline import folders, looking
from controller.cli.screens import left_volumes
from controller.clock import SystemClock
from controller.control.reading import parse_time
from controller.control.volumes import left
from controller.model.errors import HomeportError
from controller.model.facts import LAST_RESYNC

if TYPE_CHECKING:
    from controller.settings import Settings

INOTIFY = Path("/proc/sys/fs/inotify")
LIMITS = {"max_user_watches": 8192, "max_user_instances": 128}
"""Below these the watcher of a larger tree may find no room."""
LITTLE, NEXT_TO_NOTHING = 2 * 1024**3, 200 * 1024**2
"""Bytes left on a disk: a warning, a failure."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Literal["ok", "warn", "fail"]
    what: str
    message: str
    fix: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, one after another."""
    yield from _engine(settings)
    yield from _inotify()
    yield from _disk(settings)
    yield from _tree(settings)
    yield from _state(Path(settings.state))
    yield from _clock(settings)
    yield from _left(settings)


def _engine(settings: Settings) -> Iterator[Finding]:
    try:
        info = serve.engine_info(settings)
    except HomeportError as problem:
        yield Finding("fail", "engine", str(problem), "start Docker, or point DOCKER_HOST at it")
        return
    yield Finding("ok", "engine", f"Docker {info.version}")
    if info.compose:
        yield Finding("ok", "compose", f"Compose {info.compose}")
    else:
        yield Finding("fail", "compose", "no Compose was found", "install the docker-compose plugin")


def _inotify() -> Iterator[Finding]:
    for name, least in LIMITS.items():
        try:
            value = int((INOTIFY / name).read_text())
        except (OSError, ValueError):
            yield Finding("warn", "inotify", f"{name} cannot be read", "changes are found by the scan alone")
            continue
        if value < least:
            fix = f"sysctl -w fs.inotify.{name}={least * 4}"
            yield Finding(
                "warn", "inotify", f"{name} is {value}; changes may be found by the scan alone", fix
            )
        else:
            yield Finding("ok", "inotify", f"{name} is {value}")


def _disk(settings: Settings) -> Iterator[Finding]:
    for what, folder in (("apps", Path(settings.apps)), ("state", Path(settings.state))):
        free = shutil.disk_usage(_existing(folder)).free
        message = f"{free / 1024**3:.1f} GiB free where {folder} is"
        fix = "make room: `docker system df` shows what the engine holds"
        if free < NEXT_TO_NOTHING:
            yield Finding("fail", f"disk ({what})", message, fix)
        elif free < LITTLE:
            yield Finding("warn", f"disk ({what})", message, fix)
        else:
            yield Finding("ok", f"disk ({what})", message)


def _tree(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the tree as a whole is found and said as the service does: one advice, whoever gives it."""
    apps = Path(settings.apps)
    try:
        with looking(settings) as store:
            lost = serve.lost_tree(settings, store)
    except HomeportError:  # `_clock` says so; one that may have held apps must not be made anew
        there = "is not a folder" if os.path.lexists(apps) else "is not there"
        unknown = f"{there}, and whether it held apps cannot be known: mount it, or make it if it never was"
        lost = "" if apps.is_dir() else unknown
    if lost:
        yield Finding("fail", "apps", f"the apps tree {apps} {lost}")
        return
    try:
        found = folders(apps)
    except HomeportError as problem:
        yield Finding("fail", "apps", str(problem), "check its owner and mode")
        return
    yield from _apps(apps, found)


def _apps(apps: Path, found: Sequence[Path]) -> Iterator[Finding]:
    if not os.access(apps, os.W_OK):
        yield Finding(
            "warn", "apps", f"{apps} is not writable for you", "run as the user that the service runs as"
        )
    else:
        yield Finding("ok", "apps", f"{apps} holds {len(found)} folders")
    for place in serve.open_folders(apps):
        message = f"everyone on this machine can write to {place}, and so become root by an app of their own"
        yield Finding("fail", "apps", message, f"chmod o-w {place}")
    for folder in found:
        if not os.access(folder, os.R_OK | os.X_OK):
            yield Finding("fail", "apps", f"{folder} cannot be read", f"chmod u+rx {folder}")
        env = folder / ".env"
        try:
            mode = stat.S_IMODE(env.lstat().st_mode)
        except OSError:
            continue
        if mode & 0o077:
            yield Finding("warn", "apps", f"{env} is open to others (mode {mode:04o})", f"chmod 600 {env}")


def _state(state: Path) -> Iterator[Finding]:
    place = _existing(state)
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding(
            "fail", "state", f"{place} is not writable for you", "run as the service's user, or give --state"
        )
    elif place == state and stat.S_IMODE(state.stat().st_mode) & 0o007:
        yield Finding("warn", "state", f"{state} is open to everyone", f"chmod o-rwx {state}")
    else:
        yield Finding(
            "ok", "state", f"{state} is " + ("fine" if place == state else "made at the first start")
        )


def _clock(settings: Settings) -> Iterator[Finding]:
    from controller.status.store import SqliteStore

    now = SystemClock().now()
    fix = "set the clock: timedatectl set-ntp true"
    if now.year < 2025:
        yield Finding("fail", "clock", f"it says {now:%Y-%m-%d}: pulls and certificates will fail", fix)
        return
    try:
        store = SqliteStore.open_readonly(Path(settings.state))
    except HomeportError as problem:
        yield Finding("warn", "state", str(problem))
        return
    try:
        last = parse_time(store.get(LAST_RESYNC))
    finally:
        store.close()
    if last is not None and last > now + timedelta(minutes=1):
        yield Finding(
            "warn", "clock", f"it was put back: the last look at everything was at {last:%Y-%m-%d %H:%M}", fix
        )
    else:
        yield Finding("ok", "clock", f"{now:%Y-%m-%d %H:%M} UTC")


def _left(settings: Settings) -> Iterator[Finding]:
    try:
        with looking(settings) as store:
            found = left(store)
    except HomeportError:
        return  # `_clock` has said so
    for app, volumes in found.items():
        yield Finding("ok", "volumes", left_volumes(app, volumes))


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
