"""Places: where the apps tree, the state and the socket are, found with the standard library alone.

Most commands need no more of the settings than this, and pydantic takes longer to load than they take to answer.
Where anything else is set all of it has to be checked, by `settings`, which stands on this module.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from controller.model.errors import HomeportError

DEFAULT_CONFIG = Path("/etc/homeport/homeport.toml")
DEFAULT_APPS = Path("/var/lib/homeport/apps")
DEFAULT_STATE = Path("/var/lib/homeport/state")
DEFAULT_RESYNC = 300.0
PREFIX = "HOMEPORT_"
FURTKA_APPS = "FURTKA_APPS_DIR"
"""Where a Furtka box says its apps are; counts when HOMEPORT_APPS is not set."""
_NAMES = frozenset({"config", "apps", "state", "listen"})


class SettingsInvalid(HomeportError):
    """A setting has a value that cannot be; the message names it, where it comes from, and the rule."""


class Where(Protocol):
    """What of the settings a command needs that asks, and does nothing by itself."""

    @property
    def apps(self) -> Path:
        """The apps tree."""

    @property
    def state(self) -> Path:
        """The folder of the recorded state."""

    @property
    def resync(self) -> float:
        """Seconds between two looks at everything."""

    @property
    def socket(self) -> Path:
        """Where the service listens."""


@dataclass(frozen=True)
class Places:
    """Where things are when nothing else is set. Paths are absolute."""

    apps: Path
    state: Path
    listen: Path | None = None
    resync: float = DEFAULT_RESYNC

    @property
    def socket(self) -> Path:
        """Where the service listens."""
        return self.listen or self.state / "homeport.sock"


def find(flags: Mapping[str, Any], names: Iterable[str]) -> Places | None:
    """The places, when of all settings (`names`) only they are set, or none; else None: all is to be checked then.

    `flags`: values of the command line by field name. Raises `SettingsInvalid` for a file that cannot be read.
    """
    values = _values(flags, names)
    try:
        places = _places(values) if values.keys() <= _NAMES else None
        if places is not None:
            check_apart(places.apps, places.state)
    except (TypeError, ValueError):
        return None  # said as the settings say it
    return places


def guess(flags: Mapping[str, Any]) -> Places | None:
    """The places, whatever else is set and whether it is right; None where that cannot be said."""
    try:
        return _places(_values(flags, _NAMES))
    except (SettingsInvalid, TypeError, ValueError):
        return None


def _values(flags: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    given = {name: value for name, value in flags.items() if value is not None}
    file = config_file(given)
    return {**(read_file(file) if file is not None else {}), **from_environment(names), **given}


def _places(values: Mapping[str, Any]) -> Places:
    found = {name: absolute(Path(values[name])) for name in ("apps", "state", "listen") if name in values}
    return Places(found.get("apps", DEFAULT_APPS), found.get("state", DEFAULT_STATE), found.get("listen"))


def absolute(path: Path) -> Path:
    """A path that stays what it is when the working directory changes; links in it are kept as people wrote them."""
    try:
        path = path.expanduser().absolute()
        return path.resolve() if ".." in path.parts else path
    except RuntimeError as error:  # a home that nobody has, or links that lead in a circle
        raise ValueError(f"cannot be followed: {error}") from error


def check_apart(apps: Path, state: Path) -> None:
    """Raise `ValueError` when one lies in the other."""
    if state.is_relative_to(apps) or apps.is_relative_to(state):
        raise ValueError(f"apps ({apps}) and state ({state}) must not lie in each other")


def from_environment(names: Iterable[str]) -> dict[str, str]:
    """What is set there and not empty, by field name."""
    found = {name: value for name in names if (value := os.environ.get(PREFIX + name.upper()))}
    if furtka := os.environ.get(FURTKA_APPS):
        found.setdefault("apps", furtka)
    return found


def config_file(flags: Mapping[str, Any]) -> Path | None:
    """The settings file to read: the one that is named, else the default one when it is there and may be read: it may
    hold addresses with passwords, and who only checks a folder needs none of it."""
    named = flags.get("config") or os.environ.get(PREFIX + "CONFIG")
    if named:
        return Path(named)
    try:
        return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() and not is_closed(DEFAULT_CONFIG) else None
    except OSError:
        return None


def is_closed(path: Path) -> bool:
    """Whether it is there, and not for us to read."""
    return path.exists() and not os.access(path, os.R_OK)


def read_file(path: Path) -> dict[str, Any]:
    """The values in a settings file, by the names of fields: its keys may be written as the flags are (`settle-new`).

    Raises `SettingsInvalid` when it cannot be read or is not TOML.
    """
    import tomllib

    try:
        if not path.is_file() and path.exists():
            raise SettingsInvalid(
                f"settings file {path}: is not a regular file; name another one with --config"
            )
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsInvalid(
            f"settings file {path}: {error.strerror}; name another one with --config"
        ) from error
    except (ValueError, RecursionError) as error:  # not TOML, or not UTF-8; nested without end
        raise SettingsInvalid(f"settings file {path}: {error}") from error
    return {key.replace("-", "_"): value for key, value in document.items()}
